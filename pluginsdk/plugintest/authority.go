package plugintest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Authority signs certificates as one of the cloud's own would, for Core.OnSign. Each is
// another one.
func Authority(t testing.TB) func(context.Context, *pluginv1.SignRequest) (*pluginv1.SignResponse, error) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	self := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a test's authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(20, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, self, self, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	usages := map[pluginv1.Usage]x509.ExtKeyUsage{pluginv1.Usage_USAGE_SERVER: x509.ExtKeyUsageServerAuth, pluginv1.Usage_USAGE_CLIENT: x509.ExtKeyUsageClientAuth}
	return func(_ context.Context, r *pluginv1.SignRequest) (*pluginv1.SignResponse, error) {
		asked, err := x509.ParseCertificateRequest(r.GetRequest())
		usage, known := usages[r.GetUsage()]
		if err != nil || !known || r.GetDays() < 1 {
			return nil, errs.New(errs.Invalid, "certificate", "its request is wrong: %v, usage %v, %d days", err, r.GetUsage(), r.GetDays())
		}
		leaf := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: asked.Subject, DNSNames: asked.DNSNames, IPAddresses: asked.IPAddresses,
			URIs: asked.URIs, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 0, int(r.GetDays()))}
		signed, err := x509.CreateCertificate(rand.Reader, leaf, self, asked.PublicKey, key)
		return &pluginv1.SignResponse{Certificate: signed, Authority: der}, err
	}
}

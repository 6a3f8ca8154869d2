package trust

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// request asks for a certificate for a key of its own.
func request(t *testing.T, authority string) *pluginv1.SignRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "host-1"}, DNSNames: []string{"h1.host.kumo"},
		IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return &pluginv1.SignRequest{Authority: authority, Request: der, Usage: pluginv1.Usage_USAGE_SERVER, Days: 30}
}

func sign(t *testing.T, s *Service, r *pluginv1.SignRequest) (leaf, ca *x509.Certificate) {
	t.Helper()
	answer, err := s.Sign(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err = x509.ParseCertificate(answer.Certificate)
	if err == nil {
		ca, err = x509.ParseCertificate(answer.Authority)
	}
	if err != nil {
		t.Fatal(err)
	}
	return leaf, ca
}

// verify tells whether a certificate is good for something in the eyes of who trusts ca.
func verify(leaf, ca *x509.Certificate, name string, usage x509.ExtKeyUsage) error {
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool, KeyUsages: []x509.ExtKeyUsage{usage}})
	return err
}

// A certificate has the names that were asked for, serves for what it was asked for, and
// is of its authority alone; the authority is the same after a restart, and on other nodes.
func TestSign(t *testing.T) {
	st := storetest.Open(t, Types()...)
	s := New(st)
	leaf, ca := sign(t, s, request(t, "hosts"))
	if err := verify(leaf, ca, "h1.host.kumo", x509.ExtKeyUsageServerAuth); err != nil {
		t.Error(err)
	}
	if leaf.Subject.CommonName != "host-1" || len(leaf.IPAddresses) != 1 || leaf.IsCA || time.Until(leaf.NotAfter) > 31*24*time.Hour || time.Until(leaf.NotAfter) < 29*24*time.Hour {
		t.Errorf("the certificate is %+v, of %v, until %s", leaf.Subject, leaf.IPAddresses, leaf.NotAfter)
	}
	if verify(leaf, ca, "h2.host.kumo", x509.ExtKeyUsageServerAuth) == nil || verify(leaf, ca, "h1.host.kumo", x509.ExtKeyUsageClientAuth) == nil {
		t.Error("it serves for what it was not asked for")
	}
	again, same := sign(t, New(st), request(t, "hosts"))
	if !same.Equal(ca) || verify(again, ca, "h1.host.kumo", x509.ExtKeyUsageServerAuth) != nil || again.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
		t.Error("after a restart it is another authority")
	}
	_, other := sign(t, s, request(t, "appliances"))
	if other.Equal(ca) || verify(leaf, other, "h1.host.kumo", x509.ExtKeyUsageServerAuth) == nil {
		t.Error("two authorities are one")
	}
	var all sync.WaitGroup
	found := make([]*x509.Certificate, 8)
	for i := range found {
		node, r := New(st), request(t, "nodes")
		all.Go(func() {
			if answer, err := node.Sign(t.Context(), r); err != nil {
				t.Error(err)
			} else {
				found[i], _ = x509.ParseCertificate(answer.Authority)
			}
		})
	}
	all.Wait()
	for _, f := range found {
		if f == nil || !f.Equal(found[0]) {
			t.Fatal("nodes that make it at once have several")
		}
	}
}

func TestSignRefuses(t *testing.T) {
	s := New(storetest.Open(t, Types()...))
	for want, change := range map[string]func(r *pluginv1.SignRequest){
		"cannot be read":            func(r *pluginv1.SignRequest) { r.Request = r.Request[1:] },
		"is not signed by its key":  func(r *pluginv1.SignRequest) { r.Request[len(r.Request)-1] ^= 1 },
		"it is for nothing":         func(r *pluginv1.SignRequest) { r.Usage = 0 },
		"valid for 1831 days":       func(r *pluginv1.SignRequest) { r.Days = 1831 },
		"valid for 0 days":          func(r *pluginv1.SignRequest) { r.Days = 0 },
		"valid for -2147483648 day": func(r *pluginv1.SignRequest) { r.Days = -1 << 31 },
	} {
		r := request(t, "hosts")
		change(r)
		if _, err := s.Sign(t.Context(), r); errs.ClassOf(err) != errs.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// What plugins keep, and the authorities' keys, cannot be read in the database.
func TestSecrets(t *testing.T) {
	st := storetest.Open(t, Types()...)
	s := New(st)
	sign(t, s, request(t, "hosts"))
	keep := func(plugin, name, value string) {
		t.Helper()
		for range 2 {
			if err := s.PutSecret(t.Context(), plugin, name, []byte(value)); err != nil {
				t.Fatal(err)
			}
		}
	}
	keep("one", "token", "first")
	keep("one", "token", "se\x00cond")
	keep("two", "token", "other")
	if v, err := s.Secret(t.Context(), "one", "token"); err != nil || !bytes.Equal(v, []byte("se\x00cond")) {
		t.Errorf("kept %q, %v", v, err)
	}
	if _, err := s.Secret(t.Context(), "one", "tokens"); errs.ClassOf(err) != errs.NotFound {
		t.Errorf("another name: %v", err)
	}
	sealed, err := store.Texts(t.Context(), st, "SELECT `secretValue` FROM `PluginSecret` UNION ALL SELECT `privateKey` FROM `TrustAuthority`")
	if err != nil || len(sealed) != 3 {
		t.Fatal(sealed, err)
	}
	for _, text := range sealed {
		if !strings.HasPrefix(text, "kumo-sealed:") {
			t.Errorf("it can be read: %.20q", text)
		}
	}
	keep("two", "token", "")
	if err := s.ForgetPlugin(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	for _, plugin := range []string{"one", "two"} {
		if _, err := s.Secret(context.Background(), plugin, "token"); errs.ClassOf(err) != errs.NotFound {
			t.Errorf("plugin %s still keeps it: %v", plugin, err)
		}
	}
}

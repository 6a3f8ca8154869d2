package trust

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"sync"
	"time"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	authorityYears = 20
	// maxDays is how long a certificate is valid at most: five years.
	maxDays = 1830
	// early is how long before its making a certificate begins to be valid, for machines
	// whose clocks are late.
	early = time.Hour
)

// Service signs and keeps. It is safe for concurrent use.
type Service struct {
	store *store.Store

	mu   sync.Mutex
	open map[string]*authority // by name
}

// authority is one that can sign.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// New makes the service.
func New(st *store.Store) *Service { return &Service{store: st, open: map[string]*authority{}} }

// Sign signs a certificate for the key and the names of a request. The authority is made
// when it signs first; of several nodes that make it at once one does. Errors: Invalid for
// what is wrong with the request, Internal for a key that cannot be opened.
func (s *Service) Sign(ctx context.Context, r *pluginv1.SignRequest) (*pluginv1.SignResponse, error) {
	object := "certificate of authority " + r.GetAuthority()
	csr, err := x509.ParseCertificateRequest(r.GetRequest())
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, object, err, "its request cannot be read")
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, errs.Wrap(errs.Invalid, object, err, "its request is not signed by its key")
	}
	usage, known := map[pluginv1.Usage]x509.ExtKeyUsage{pluginv1.Usage_USAGE_SERVER: x509.ExtKeyUsageServerAuth,
		pluginv1.Usage_USAGE_CLIENT: x509.ExtKeyUsageClientAuth}[r.GetUsage()]
	if !known {
		return nil, errs.New(errs.Invalid, object, "it is for nothing").WithAdvice("say for what it is: a server or a client")
	}
	if r.GetDays() < 1 || r.GetDays() > maxDays {
		return nil, errs.New(errs.Invalid, object, "it is to be valid for %d days, which may be 1 to %d", r.GetDays(), maxDays)
	}
	a, err := s.authority(ctx, r.GetAuthority())
	if err != nil {
		return nil, err
	}
	t, err := template(csr.Subject.CommonName, time.Now().AddDate(0, 0, int(r.GetDays())))
	if err != nil {
		return nil, errs.Wrap(errs.Internal, object, err, "")
	}
	if t.NotAfter.After(a.cert.NotAfter) {
		t.NotAfter = a.cert.NotAfter
	}
	t.DNSNames, t.IPAddresses, t.URIs = csr.DNSNames, csr.IPAddresses, csr.URIs
	t.KeyUsage, t.ExtKeyUsage, t.BasicConstraintsValid = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{usage}, true
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, csr.PublicKey, a.key)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, object, err, "it cannot be signed")
	}
	return &pluginv1.SignResponse{Certificate: der, Authority: a.cert.Raw}, nil
}

// authority opens an authority, and makes it the first time.
func (s *Service) authority(ctx context.Context, name string) (*authority, error) {
	s.mu.Lock()
	a := s.open[name]
	s.mu.Unlock()
	if a != nil {
		return a, nil
	}
	row, found, err := store.First(ctx, s.store, authorityType, "`name` = ?", name)
	if err == nil && !found {
		row, err = s.found(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	if a, err = read(row); err != nil {
		return nil, errs.Wrap(errs.Internal, "authority "+name, err, "it cannot be used")
	}
	s.mu.Lock()
	s.open[name] = a
	s.mu.Unlock()
	return a, nil
}

// found makes an authority, unless somebody else has.
func (s *Service) found(ctx context.Context, name string) (*Authority, error) {
	made, err := makeAuthority(name)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "authority "+name, err, "it cannot be made")
	}
	var row *Authority
	err = s.store.Update(ctx, func(tx *store.Tx) error {
		have, found, err := store.First(ctx, tx, authorityType, "`name` = ?", name)
		if row = have; err != nil || found {
			return err
		}
		row = made
		return store.Insert(ctx, tx, authorityType, row)
	})
	if errs.ClassOf(err) != errs.Exists {
		return row, err
	}
	row, found, err := store.First(ctx, s.store, authorityType, "`name` = ?", name)
	if err == nil && !found {
		err = errs.New(errs.Unavailable, "authority "+name, "another node was making it").WithAdvice("repeat the call")
	}
	return row, err
}

func makeAuthority(name string) (*Authority, error) {
	t, err := template("Kumo "+name, time.Now().AddDate(authorityYears, 0, 0))
	if err != nil {
		return nil, err
	}
	t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero, t.KeyUsage = true, true, true, x509.KeyUsageCertSign
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return &Authority{UUID: resource.NewUUID(), Name: name, Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		Key: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))}, nil
}

// template is what all certificates have.
func template(name string, until time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-early), NotAfter: until}, nil
}

func read(row *Authority) (*authority, error) {
	cert, _ := pem.Decode([]byte(row.Certificate))
	key, _ := pem.Decode([]byte(row.Key))
	if cert == nil || key == nil {
		return nil, errs.New(errs.Internal, "authority "+row.Name, "its row holds no certificate with a key")
	}
	c, err := x509.ParseCertificate(cert.Bytes)
	if err != nil {
		return nil, err
	}
	k, err := x509.ParsePKCS8PrivateKey(key.Bytes)
	if err != nil {
		return nil, err
	}
	signer, can := k.(crypto.Signer)
	if !can {
		return nil, errs.New(errs.Internal, "authority "+row.Name, "its key cannot sign")
	}
	return &authority{c, signer}, nil
}

package hostlink

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	caYears   = 20
	leafYears = 5
	// renewBefore leaves time for hosts that are away for long.
	renewBefore = 180 * 24 * time.Hour
)

// authority signs the certificates of agents and of this plugin. A host's says
// "server" only, so that a host which was taken over cannot call others.
type authority struct {
	folder string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
}

// serverName is what a host's certificate is for: its UUID, because addresses
// can be changed.
func serverName(hostUUID string) string { return hostUUID + ".host.kumo" }

// openAuthority reads the CA from the folder and makes one the first time.
func openAuthority(folder string) (*authority, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of certificates: %w", err)
	}
	unlock, err := lockFolder(folder)
	if err != nil {
		return nil, err
	}
	defer unlock()
	a := &authority{folder: folder}
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "ca.pem"), filepath.Join(folder, "ca.key"))
	if errors.Is(err, os.ErrNotExist) {
		if err := a.makeCA(); err != nil {
			return nil, err
		}
		return a, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the CA: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the CA's key is of another kind")
	}
	a.cert, a.key = pair.Leaf, key
	return a, nil
}

func lockFolder(folder string) (func(), error) {
	f, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // closing gives the lock back
}

func (a *authority) makeCA() error {
	template, err := template("Kumo hosts", caYears)
	if err != nil {
		return err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		return err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	return a.save("ca", der, a.key)
}

func template(name string, years int) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(years, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}, nil
}

// save writes the key first: a certificate without its key would be used.
func (a *authority) save(name string, der []byte, key *ecdsa.PrivateKey) error {
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writeSecret(filepath.Join(a.folder, name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})); err != nil {
		return err
	}
	return writeSecret(filepath.Join(a.folder, name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func writeSecret(path string, data []byte) error {
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// leafFiles are where the certificate and key of a host, or of this plugin (""),
// are kept.
func leafFiles(folder, hostUUID string) (certFile, keyFile string) {
	name := "client"
	if hostUUID != "" {
		name = "host-" + hostUUID
	}
	return filepath.Join(folder, name+".pem"), filepath.Join(folder, name+".key")
}

// leaf returns a certificate for a host (its UUID) or for this plugin (""), the
// saved one while it is valid for long enough.
func (a *authority) leaf(hostUUID string) (certFile, keyFile string, err error) {
	certFile, keyFile = leafFiles(a.folder, hostUUID)
	name := strings.TrimSuffix(filepath.Base(certFile), ".pem")
	unlock, err := lockFolder(a.folder)
	if err != nil {
		return "", "", err
	}
	defer unlock()
	if pair, err := tls.LoadX509KeyPair(certFile, keyFile); err == nil &&
		time.Until(pair.Leaf.NotAfter) > renewBefore && pair.Leaf.CheckSignatureFrom(a.cert) == nil {
		return certFile, keyFile, nil
	}
	leaf, err := template(name, leafYears)
	if err != nil {
		return "", "", err
	}
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if hostUUID != "" {
		leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		leaf.DNSNames = []string{serverName(hostUUID)}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.cert, key.Public(), a.key)
	if err != nil {
		return "", "", err
	}
	return certFile, keyFile, a.save(name, der, key)
}

// clientTLS is how this plugin calls the agent of one host.
func (a *authority) clientTLS(hostUUID string) (*tls.Config, error) {
	certFile, keyFile, err := a.leaf("")
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, RootCAs: pool, ServerName: serverName(hostUUID)}, nil
}

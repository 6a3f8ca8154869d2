package hostlink

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Authority is the name of the cloud's authority that signs the certificates of agents
// on hosts and of this plugin. A host's says "server" only, so that a host which was
// taken over cannot call others.
const Authority = "kvm-hosts"

const (
	leafDays = 1826
	// renewBefore leaves time for hosts that are away for long.
	renewBefore = 180 * 24 * time.Hour
)

// Signer has an authority of the cloud sign a certificate (pluginsdk.Core).
type Signer func(context.Context, *pluginv1.SignRequest) (*pluginv1.SignResponse, error)

// keyring keeps keys, their certificates and that of the authority in a folder. They can
// be made anew at any time: a host is given its own when its agent does not answer.
type keyring struct {
	folder string
	sign   Signer
}

// serverName is what a host's certificate is for: its UUID, because addresses
// can be changed.
func serverName(hostUUID string) string { return hostUUID + ".host.kumo" }

func (k *keyring) caFile() string { return filepath.Join(k.folder, "ca.pem") }

// openKeyring makes the folder the first time. Keys of a time when this plugin signed by
// itself go, with what they signed: hosts get new certificates as they connect.
func openKeyring(folder string, sign Signer) (*keyring, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of certificates: %w", err)
	}
	k := &keyring{folder, sign}
	old := filepath.Join(folder, "ca.key")
	if _, err := os.Stat(old); err == nil {
		if err := errors.Join(os.RemoveAll(k.caFile()), os.Remove(old)); err != nil {
			return nil, fmt.Errorf("remove the former authority: %w", err)
		}
	}
	return k, nil
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

// leaf returns a certificate for a host (its UUID) or for this plugin (""): the saved one
// while it is valid for long enough, unless a fresh one is asked for.
func (k *keyring) leaf(ctx context.Context, hostUUID string, fresh bool) (certFile, keyFile string, err error) {
	certFile, keyFile = leafFiles(k.folder, hostUUID)
	if !fresh && k.holds(certFile, keyFile) {
		return certFile, keyFile, nil
	}
	request := &pluginv1.SignRequest{Authority: Authority, Usage: pluginv1.Usage_USAGE_CLIENT, Days: leafDays}
	asked := &x509.CertificateRequest{Subject: pkix.Name{CommonName: strings.TrimSuffix(filepath.Base(certFile), ".pem")}}
	if hostUUID != "" {
		request.Usage, asked.DNSNames = pluginv1.Usage_USAGE_SERVER, []string{serverName(hostUUID)}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	if request.Request, err = x509.CreateCertificateRequest(rand.Reader, asked, key); err != nil {
		return "", "", err
	}
	signed, err := k.sign(ctx, request)
	if err != nil {
		return "", "", err
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	unlock, err := lockFolder(k.folder)
	if err != nil {
		return "", "", err
	}
	defer unlock()
	// The key is written first: a certificate without its key would be used.
	return certFile, keyFile, errors.Join(
		writeSecret(k.caFile(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed.GetAuthority()})),
		writeSecret(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})),
		writeSecret(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed.GetCertificate()})))
}

// holds tells whether a saved certificate can go on being used.
func (k *keyring) holds(certFile, keyFile string) bool {
	unlock, err := lockFolder(k.folder)
	if err != nil {
		return false
	}
	defer unlock()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil || time.Until(pair.Leaf.NotAfter) < renewBefore {
		return false
	}
	ca, err := k.authority()
	return err == nil && pair.Leaf.CheckSignatureFrom(ca) == nil
}

// authority is the certificate of who signed last.
func (k *keyring) authority() (*x509.Certificate, error) {
	text, err := os.ReadFile(k.caFile())
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s has no certificate", k.caFile())
	}
	return x509.ParseCertificate(block.Bytes)
}

// clientTLS is how this plugin calls the agent of one host.
func (k *keyring) clientTLS(ctx context.Context, hostUUID string, fresh bool) (*tls.Config, error) {
	certFile, keyFile, err := k.leaf(ctx, "", fresh)
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	ca, err := k.authority()
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, RootCAs: pool, ServerName: serverName(hostUUID)}, nil
}

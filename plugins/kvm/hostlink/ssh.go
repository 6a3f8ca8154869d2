package hostlink

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	keepaliveEvery   = 15 * time.Second
	keepaliveTimeout = 10 * time.Second
	commandTimeout   = 2 * time.Minute
	uploadTimeout    = 5 * time.Minute
)

// sshHost is an SSH connection to a host.
type sshHost struct {
	client *ssh.Client
	object string
	user   string
	lost   chan struct{}
	once   sync.Once
}

// dialSSH connects with this plugin's own key, if the host knows it, or the
// host's password. The host's key is remembered at the first connection, and
// another one is refused later.
func dialSSH(ctx context.Context, cfg Config, host *pluginv1.Host, ip netip.Addr) (*sshHost, error) {
	port, err := sshPort(host)
	if err != nil {
		return nil, err
	}
	signer, err := ownKey(filepath.Join(cfg.DataDir, "ssh"))
	if err != nil {
		return nil, errs.Wrap(errs.Internal, object(host), err, "this plugin's SSH key cannot be used")
	}
	user, password := host.GetFields()["username"], host.GetFields()["password"]
	known := &knownKey{file: knownKeyFile(cfg, host), object: object(host)}
	config := &ssh.ClientConfig{
		User: user, Timeout: dialTimeout, HostKeyCallback: known.check,
		Auth: []ssh.AuthMethod{
			ssh.PublicKeys(signer), ssh.Password(password),
			ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
				answers := make([]string, len(questions))
				for i := range answers {
					answers[i] = password
				}
				return answers, nil
			}),
		},
	}
	if config.HostKeyAlgorithms, err = known.algorithms(); err != nil {
		return nil, errs.Wrap(errs.Internal, object(host), err, "its remembered SSH key cannot be read")
	}
	address := net.JoinHostPort(ip.String(), strconv.Itoa(port))
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, errs.Wrap(errs.Unavailable, object(host), err, "SSH at %s cannot be reached", address)
	}
	// The deadline covers the handshake; a host that accepts and is silent
	// would hold the caller for ever.
	if err := conn.SetDeadline(time.Now().Add(2 * dialTimeout)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	c, channels, requests, err := ssh.NewClientConn(conn, address, config)
	if err != nil {
		return nil, errors.Join(handshakeError(object(host), user, address, err), ignoreClosed(conn.Close()))
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	h := &sshHost{client: ssh.NewClient(c, channels, requests), object: object(host), user: user, lost: make(chan struct{})}
	go h.watch()
	go h.keepalive()
	return h, nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func handshakeError(object, user, address string, err error) error {
	var known *errs.Error
	if errors.As(err, &known) {
		return known
	}
	// The library has no type for it. Type 51 is SSH's own word for "failed"
	// (RFC 4252 section 6), where a server offers keyboard-interactive but asks
	// nothing.
	if text := err.Error(); strings.Contains(text, "unable to authenticate") || strings.Contains(text, "unexpected message type 51 ") {
		return errs.New(errs.Invalid, object, "user %q cannot sign in by SSH at %s: wrong user name or password", user, address)
	}
	return errs.Wrap(errs.Unavailable, object, err, "SSH at %s does not answer", address)
}

func (h *sshHost) watch() {
	// The reason does not matter: the connection has ended.
	_ = h.client.Wait()
	close(h.lost)
}

// keepalive finds a host that vanished without a word.
func (h *sshHost) keepalive() {
	tick := time.NewTicker(keepaliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-h.lost:
			return
		case <-tick.C:
		}
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			// Any answer, also a refusal, shows that the host is there.
			_, _, _ = h.client.SendRequest("keepalive@openssh.com", true, nil)
		}()
		select {
		case <-answered:
		case <-time.After(keepaliveTimeout):
			h.close()
			return
		}
	}
}

func (h *sshHost) close() {
	h.once.Do(func() { _ = h.client.Close() }) // it can only have been closed before
}

func (h *sshHost) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return h.client.DialContext(ctx, network, address)
}

// run runs a program with arguments on the host. Arguments are quoted for the
// user's shell, which SSH puts between.
func (h *sshHost) run(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	session, err := h.client.NewSession()
	if err != nil {
		return "", errs.Wrap(errs.Unavailable, h.object, err, "SSH gives no session")
	}
	defer func() { _ = session.Close() }() // it has ended, or is given up
	var out, text bytes.Buffer
	session.Stdout, session.Stderr = &out, &text
	ended := make(chan error, 1)
	go func() { ended <- session.Run(commandLine(h.user, args)) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		return "", errs.Wrap(errs.ClassOf(ctx.Err()), h.object, ctx.Err(), "%s did not end", path.Base(args[0]))
	}
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return strings.TrimSpace(out.String()), nil
	case errors.As(err, &exit):
		return "", errs.New(errs.Refused, h.object, "%s ended with code %d: %s", path.Base(args[0]), exit.ExitStatus(), strings.TrimSpace(text.String()))
	}
	return "", errs.Wrap(errs.Unavailable, h.object, err, "%s could not be run", path.Base(args[0]))
}

// commandLine quotes each argument; users other than root act through sudo.
func commandLine(user string, args []string) string {
	if user != "root" {
		args = append([]string{"sudo", "-n", "--"}, args...)
	}
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}

// upload puts local files at paths on the host, through a folder of the user's
// own, so that a file with its final name is always whole and has its mode.
func (h *sshHost) upload(ctx context.Context, files []upload) error {
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	client, err := sftp.NewClient(h.client)
	if err != nil {
		return errs.Wrap(errs.Refused, h.object, err, "SFTP does not work").WithAdvice("enable the sftp subsystem of the host's SSH server")
	}
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer func() {
		stop()
		_ = client.Close() // all writes have been confirmed
	}()
	for _, f := range files {
		if err := h.uploadOne(ctx, client, f); err != nil {
			return err
		}
	}
	return nil
}

type upload struct {
	local, remote string
	mode          os.FileMode
}

func (h *sshHost) uploadOne(ctx context.Context, client *sftp.Client, f upload) error {
	source, err := os.Open(f.local)
	if err != nil {
		return errs.Wrap(errs.Internal, h.object, err, "%s cannot be read", f.local)
	}
	defer func() { _ = source.Close() }() // only read
	home, err := client.Getwd()
	if err != nil {
		return errs.Wrap(errs.Unavailable, h.object, err, "SFTP does not answer")
	}
	temporary := path.Join(home, ".kumo-upload-"+rand.Text())
	target, err := client.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return errs.Wrap(errs.Refused, h.object, err, "user %q cannot write to %s", h.user, home)
	}
	defer func() { _ = client.Remove(temporary) }() // a leftover holds nothing that the host has not
	if err := target.Chmod(0o600); err != nil {
		return errors.Join(errs.Wrap(errs.Refused, h.object, err, "%s cannot be closed to others", temporary), target.Close())
	}
	if _, err := io.Copy(target, source); err != nil {
		return errors.Join(errs.Wrap(errs.Unavailable, h.object, err, "upload broke off"), target.Close())
	}
	if err := target.Close(); err != nil {
		return errs.Wrap(errs.Unavailable, h.object, err, "upload broke off")
	}
	_, err = h.run(ctx, "install", "-D", "-T", "-m", fmt.Sprintf("%04o", f.mode), temporary, f.remote)
	return err
}

// ownKey is this plugin's SSH key, made the first time. Its public half is in
// id_ed25519.pub, for operators who want hosts without passwords.
func ownKey(folder string) (ssh.Signer, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	unlock, err := lockFolder(folder)
	if err != nil {
		return nil, err
	}
	defer unlock()
	file := filepath.Join(folder, "id_ed25519")
	text, err := os.ReadFile(file)
	if err == nil {
		return ssh.ParsePrivateKey(text)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, "kumo")
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, err
	}
	if err := writeSecret(file+".pub", ssh.MarshalAuthorizedKey(signer.PublicKey())); err != nil {
		return nil, err
	}
	return signer, writeSecret(file, pem.EncodeToMemory(block))
}

// knownKey is the SSH key that a host showed first.
type knownKey struct{ file, object string }

func knownKeyFile(cfg Config, host *pluginv1.Host) string {
	return filepath.Join(cfg.DataDir, "hosts", host.GetUuid()+".key")
}

func (k *knownKey) read() (ssh.PublicKey, error) {
	text, err := os.ReadFile(k.file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(text)
	return key, err
}

// algorithms makes the host show the kind of key that is remembered.
func (k *knownKey) algorithms() ([]string, error) {
	key, err := k.read()
	if err != nil || key == nil {
		return nil, err
	}
	if key.Type() == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSA}, nil
	}
	return []string{key.Type()}, nil
}

func (k *knownKey) check(_ string, _ net.Addr, shown ssh.PublicKey) error {
	known, err := k.read()
	if err != nil {
		return errs.Wrap(errs.Internal, k.object, err, "its remembered SSH key cannot be read")
	}
	if known == nil {
		if err := os.MkdirAll(filepath.Dir(k.file), 0o700); err != nil {
			return errs.Wrap(errs.Internal, k.object, err, "its SSH key cannot be remembered")
		}
		return writeSecret(k.file, ssh.MarshalAuthorizedKey(shown))
	}
	if !bytes.Equal(known.Marshal(), shown.Marshal()) {
		return errs.New(errs.Refused, k.object, "its SSH key is %s and was %s: it is another machine, or somebody is in between",
			ssh.FingerprintSHA256(shown), ssh.FingerprintSHA256(known)).
			WithAdvice("if the host was installed anew, remove %s on the management node", k.file)
	}
	return nil
}

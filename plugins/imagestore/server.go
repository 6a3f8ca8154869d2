package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/netutil"
	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Purposes keep a link of one kind from being used as the other.
const (
	purposeExport = "export"
	purposeUpload = "upload"
)

const (
	maxConnections = 512
	keyBytes       = 32
	// deadPeer ends a connection whose peer takes no bytes: a server-wide
	// write timeout would also end honest downloads that take hours.
	deadPeer = 60 * time.Second
	// closeWait lets running downloads end when the process is replaced.
	closeWait = 4 * time.Second
)

// checkHostname wants an address or a DNS name, as it becomes part of URLs.
func checkHostname(object, name string) error {
	host, _ := kinds.Of("host")
	if _, err := host.Parse(name); err != nil {
		return errs.Wrap(errs.Invalid, object, err, "hostname").
			WithAdvice("give the name or address at which hosts reach the management node")
	}
	return nil
}

// server serves signed links.
type server struct {
	listen  string
	key     []byte
	uploads *uploads
	log     hclog.Logger
	http    *http.Server

	mu      sync.Mutex
	address *net.TCPAddr
}

// newServer begins to listen. An address that is in use is no failure yet: the
// process which this one replaces may still have it. Errors: Invalid for one
// that can never be listened on.
func newServer(listen string, key []byte, uploads *uploads, log hclog.Logger) (*server, error) {
	if a, err := netip.ParseAddrPort(listen); err != nil {
		return nil, errs.New(errs.Invalid, "setting "+settingListen, "%q is not an IP address and a port", listen).
			WithAdvice("use one such as 0.0.0.0:7172")
	} else if a.Port() == 0 && !a.Addr().IsLoopback() {
		return nil, errs.New(errs.Invalid, "setting "+settingListen, "%q needs a port that a firewall can be opened for", listen)
	}
	s := &server{listen: listen, key: key, uploads: uploads, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /"+purposeExport+"/{image}", s.export)
	mux.HandleFunc("PUT /"+purposeUpload+"/{image}", s.upload)
	mux.HandleFunc("POST /"+purposeUpload+"/{image}", s.upload)
	mux.HandleFunc("OPTIONS /"+purposeUpload+"/{image}", s.preflight)
	s.http = &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	_, err := s.listening()
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		log.Warn("the address for images is in use, it is tried again when needed", "listen", listen)
	case err != nil:
		return nil, err
	}
	return s, nil
}

// listening returns the address that is listened on, and listens first when
// that failed before.
func (s *server) listening() (*net.TCPAddr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.address != nil {
		return s.address, nil
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadPeer.Milliseconds()))
		})
		return errors.Join(err, set)
	}}
	l, err := lc.Listen(context.Background(), "tcp", s.listen)
	if err != nil {
		class := errs.Invalid
		if errors.Is(err, unix.EADDRINUSE) {
			class = errs.Unavailable
		}
		return nil, errs.Wrap(class, "setting "+settingListen, err, "serve images on %s", s.listen).
			WithAdvice("choose a free address and port of the management node")
	}
	s.address = l.Addr().(*net.TCPAddr)
	go func() {
		if err := s.http.Serve(netutil.LimitListener(l, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("images are not served any more", "listen", s.listen, "error", err)
		}
	}()
	return s.address, nil
}

func (s *server) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}

// baseURL tells how a reader reaches the listener; an empty reader is anyone.
func (s *server) baseURL(object, hostname, readerIP string) (string, error) {
	address, err := s.listening()
	if err != nil {
		return "", err
	}
	host := address.IP.String()
	local := readerIP == "" || isLocal(readerIP)
	switch {
	case address.IP.IsLoopback() && !local:
		return "", errs.New(errs.Refused, object, "host %s cannot read it: images are served on %s only", readerIP, address).
			WithAdvice("set the plugin's setting %s to an address that hosts reach, such as 0.0.0.0:7172", settingListen)
	case address.IP.IsUnspecified() && readerIP != "" && local:
		host = "127.0.0.1"
	case address.IP.IsUnspecified():
		if err := checkHostname(object, hostname); err != nil {
			return "", err
		}
		host = hostname
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(address.Port)), nil
}

// isLocal tells whether an address is one of this machine's.
func isLocal(text string) bool {
	ip := net.ParseIP(text)
	if ip == nil || ip.IsLoopback() {
		return ip != nil
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
			return true
		}
	}
	return false
}

func (s *server) sign(purpose, image, root, expires string) string {
	m := hmac.New(sha256.New, s.key)
	m.Write([]byte(strings.Join([]string{purpose, image, root, expires}, "\n")))
	return hex.EncodeToString(m.Sum(nil))
}

// opened returns the folder that a link is for, when it is genuine and has
// not expired.
func (s *server) opened(r *http.Request, purpose string) (f folder, image string, ok bool) {
	q := r.URL.Query()
	image, expires := r.PathValue("image"), q.Get("expires")
	root, err := base64.RawURLEncoding.DecodeString(q.Get("folder"))
	if err != nil || !hmac.Equal([]byte(s.sign(purpose, image, string(root), expires)), []byte(q.Get("sign"))) {
		return folder{}, "", false
	}
	until, err := strconv.ParseInt(expires, 10, 64)
	if err != nil || time.Now().Unix() > until {
		return folder{}, "", false
	}
	f, err = folderOf(&pluginv1.Storage{Url: string(root)})
	return f, image, err == nil
}

// export serves an image; ranges, so that a broken download can go on.
func (s *server) export(w http.ResponseWriter, r *http.Request) {
	f, image, ok := s.opened(r, purposeExport)
	if !ok {
		http.Error(w, "the link is not genuine or has expired", http.StatusForbidden)
		return
	}
	rec, err := f.read(image)
	if err != nil {
		http.Error(w, "the image is gone", http.StatusNotFound)
		return
	}
	file, err := os.Open(filepath.Join(f.image(image), rec.File))
	if err != nil {
		http.Error(w, "the image is gone", http.StatusNotFound)
		return
	}
	defer file.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", `"`+rec.MD5+`"`)
	http.ServeContent(w, r, "", rec.Added, file)
}

func (s *server) upload(w http.ResponseWriter, r *http.Request) {
	allowBrowsers(w)
	_, image, ok := s.opened(r, purposeUpload)
	if !ok {
		http.Error(w, "the link is not genuine or has expired", http.StatusForbidden)
		return
	}
	s.uploads.serve(w, r, image)
}

func (s *server) preflight(w http.ResponseWriter, _ *http.Request) {
	allowBrowsers(w)
	w.WriteHeader(http.StatusNoContent)
}

// allowBrowsers lets pages of any origin upload: the link is the only right
// that counts, and no cookie is involved.
func allowBrowsers(w http.ResponseWriter) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Allow-Methods", "PUT, POST")
	w.Header().Set("Access-Control-Allow-Headers", "Content-Type, Content-Range, X-IMAGE-UUID, "+sizeHeader)
	w.Header().Set("Access-Control-Expose-Headers", "Range")
}

// signingKey reads the key, or makes it at the first start. Processes that
// start at once agree on one: only the first can create the name.
func signingKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, "signing.key")
	failed := func(err error) ([]byte, error) {
		return nil, errs.Wrap(errs.Internal, "signing key "+path, err, "read or make it")
	}
	if key, err := os.ReadFile(path); err == nil && len(key) == keyBytes {
		return key, nil
	} else if err == nil {
		return nil, errs.New(errs.Internal, "signing key "+path, "it has %d bytes, not %d", len(key), keyBytes).
			WithAdvice("delete it; links that were given out stop working")
	} else if !errors.Is(err, fs.ErrNotExist) {
		return failed(err)
	}
	fresh := make([]byte, keyBytes)
	rand.Read(fresh) // never fails (package crypto/rand)
	draft, err := os.CreateTemp(dir, "signing-")
	if err != nil {
		return failed(err)
	}
	_, err = draft.Write(fresh)
	err = errors.Join(err, draft.Sync(), draft.Close())
	if err == nil {
		err = os.Link(draft.Name(), path)
	}
	err = errors.Join(ignoreExists(err), os.Remove(draft.Name()))
	if err != nil {
		return failed(err)
	}
	key, err := os.ReadFile(path)
	if err != nil {
		return failed(err)
	}
	return key, nil
}

func ignoreExists(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

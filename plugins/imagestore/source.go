package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// source is where an image's bytes come from.
type source struct {
	io.Reader
	// size in bytes, -1 when nobody said it.
	size int64
	// name is for messages: a URL without its secrets.
	name string
	// abort makes a Read that is blocked return; nil when Read never blocks.
	abort func()
	// done is called once and tells the other side how it ended.
	done func(error)
}

// openSource opens a URL that is no upload. Errors: Invalid for a URL that can
// never work, Unavailable for a server that may answer later.
func (s *store) openSource(ctx context.Context, object, text string) (*source, error) {
	u, err := parseImageURL(object, text)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "file" {
		return s.openFile(object, u.Path)
	}
	return openHTTP(ctx, object, u, s.limits.idle)
}

// parseImageURL checks all that can be checked without opening it. The text
// may hold a password or a signature, so messages do not repeat it.
func parseImageURL(object, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errs.New(errs.Invalid, object, "its URL cannot be parsed")
	}
	switch u.Scheme {
	case "http", "https":
		if u.Hostname() == "" || u.Opaque != "" {
			return nil, errs.New(errs.Invalid, object, "its URL names no server")
		}
	case "file":
		if (u.Host != "" && u.Host != "localhost") || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return nil, errs.New(errs.Invalid, object, "its URL is not file:/// and a path on the management node")
		}
		if err := checkSourcePath(object, u.Path); err != nil {
			return nil, err
		}
	case "upload":
	default:
		return nil, errs.New(errs.Invalid, object, "its URL begins with %q", u.Scheme+":").
			WithAdvice("use http, https, file or upload")
	}
	return u, nil
}

// sourceForbidden are the folders of the specification's black list
// (global setting image/download.localPath.blacklist) and others that hold
// secrets of the machine or of Kumo. Hidden folders are refused too.
var sourceForbidden = []string{
	"/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/usr/local/zstack",
	"/var/lib/kumo", "/var/lib/mysql", "/var/log", "/var/spool",
}

// keptDisk matches the files in which Kumo's stores keep images and volumes:
// they belong to accounts, and a path must not give one account another's disk.
var keptDisk = regexp.MustCompile(`/[0-9a-f]{32}(/image)?\.[a-z0-9]+$`)

// checkSourcePath refuses what is not a clean absolute path, and paths in
// forbidden or hidden folders.
func checkSourcePath(object, path string) error {
	if !strings.HasPrefix(path, "/") || filepath.Clean(path) != path || strings.ContainsRune(path, 0) || path == "/" {
		return errs.New(errs.Invalid, object, "%q is not the clean absolute path of a file", path)
	}
	if in := within(path, sourceForbidden); in != "" {
		return forbiddenPath(object, path, "it lies in "+in)
	}
	for _, element := range strings.Split(path[1:], "/") {
		if strings.HasPrefix(element, ".") || strings.HasPrefix(element, "~") {
			return forbiddenPath(object, path, "it is hidden")
		}
	}
	if keptDisk.MatchString(path) {
		return forbiddenPath(object, path, "it is named like a disk of Kumo's")
	}
	return nil
}

func forbiddenPath(object, path, why string) error {
	return errs.New(errs.Invalid, object, "file %s cannot be added: %s", path, why).
		WithAdvice("copy the image to another folder of the management node, or use http or upload")
}

// openFile opens a regular file. The rules are checked on the path that was
// really opened, so that neither a symbolic link nor one that is changed in
// the meantime leads elsewhere.
func (s *store) openFile(object, path string) (*source, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, object, unwrapPath(err), "open file %s of the management node", path)
	}
	info, err := f.Stat()
	if err == nil {
		err = s.checkOpened(object, f, info)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &source{
		Reader: f, size: info.Size(), name: "file " + path,
		done: func(error) {
			if err := f.Close(); err != nil {
				s.log.Warn("image source not closed", "file", path, "error", err)
			}
		},
	}, nil
}

func (s *store) checkOpened(object string, f *os.File, info os.FileInfo) error {
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return errs.Wrap(errs.Internal, object, err, "learn where file %s is", f.Name())
	}
	if !info.Mode().IsRegular() {
		return errs.New(errs.Invalid, object, "%s is not a regular file", path)
	}
	if err := checkSourcePath(object, path); err != nil {
		return err
	}
	if s.dataDir != "" && within(path, []string{s.dataDir}) != "" {
		return forbiddenPath(object, path, "it belongs to Kumo")
	}
	if len(s.fileFolders) > 0 && within(path, s.fileFolders) == "" {
		return forbiddenPath(object, path, "the setting "+settingFileFolders+" allows only "+strings.Join(s.fileFolders, ", "))
	}
	return nil
}

// httpClient follows few redirects, keeps the length that the server says
// (no transparent decompression) and reaches no link-local address.
var httpClient = &http.Client{
	Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, Control: refuseLinkLocal}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		DisableCompression:    true,
		DisableKeepAlives:     true,
	},
	CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) > 5 {
			return errors.New("more than 5 redirects")
		}
		return nil
	},
}

// refuseLinkLocal keeps an image's URL from reading the metadata service of a
// cloud that the management node may run in (RFC 3927 addresses).
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if ip := a.Addr().Unmap(); ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() {
		return fmt.Errorf("address %s is not allowed for images", ip)
	}
	return nil
}

func openHTTP(ctx context.Context, object string, u *url.URL, idle time.Duration) (*source, error) {
	name := u.Scheme + "://" + u.Host + u.EscapedPath()
	caller := ctx
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		cancel()
		return nil, errs.New(errs.Invalid, object, "its URL cannot be requested")
	}
	silent := time.AfterFunc(idle, cancel)
	resp, err := httpClient.Do(req)
	if !silent.Stop() && err != nil && caller.Err() == nil {
		err = fmt.Errorf("no answer within %s", idle)
	}
	if err != nil {
		cancel()
		return nil, errs.Wrap(errs.Unavailable, object, unwrapURL(err), "download %s", name)
	}
	if resp.StatusCode != http.StatusOK {
		cancel()
		class := errs.Unavailable
		if resp.StatusCode >= 400 && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
			class = errs.Invalid
		}
		return nil, errors.Join(errs.New(class, object, "download %s: the server answers %q", name, resp.Status), resp.Body.Close())
	}
	return &source{
		Reader: resp.Body, size: resp.ContentLength, name: name, abort: cancel,
		done: func(error) {
			cancel()
			_ = resp.Body.Close() // the download is over; nothing depends on it
		},
	}, nil
}

// unwrapURL leaves out the URL that net/http puts into its errors: its query
// may be a signature.
func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func unwrapPath(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// watched reads a source and gives up when nothing comes for a while or ctx
// ends. The clock runs only while a Read waits, so a slow disk on this side is
// not taken for a slow sender.
type watched struct {
	src     *source
	ctx     context.Context
	idle    time.Duration
	stalled atomic.Bool
}

func (w *watched) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	if w.src.abort != nil {
		t := time.AfterFunc(w.idle, func() {
			w.stalled.Store(true)
			w.src.abort()
		})
		defer t.Stop()
	}
	n, err := w.src.Read(p)
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return n, err
	case w.ctx.Err() != nil:
		return n, w.ctx.Err()
	case w.stalled.Load():
		return n, fmt.Errorf("no byte came for %s", w.idle)
	}
	return n, unwrapURL(err)
}

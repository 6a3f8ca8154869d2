package hostd

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

const (
	// progressEvery bounds the messages of a download.
	progressEvery = 500 * time.Millisecond
	// stallTimeout ends a download from which nothing comes.
	stallTimeout = time.Minute
	fetchBuffer  = 1 << 20
	// maxFetches bounds the downloads of a host at one time.
	maxFetches = 8
)

var md5Pattern = regexp.MustCompile(`^[0-9a-f]{32}$`)

// fetcher downloads files. Requests for one path share one download, which
// goes on as long as one of them waits.
type fetcher struct {
	client *http.Client
	paths  *pathLocks
	slots  chan struct{}
	mu     sync.Mutex // guards running and waiters, held for map work only
	// running has the download of each path.
	running map[string]*download
}

func newFetcher(paths *pathLocks) *fetcher {
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: stallTimeout,
		// The bytes must be those that the checksum is of.
		DisableCompression: true,
	}
	return &fetcher{client: &http.Client{Transport: transport}, paths: paths, slots: make(chan struct{}, maxFetches), running: map[string]*download{}}
}

// download is one file on its way.
type download struct {
	request *hostv1.FetchFileRequest
	cancel  context.CancelFunc
	waiters int
	done    chan struct{}
	err     error // readable when done is closed
	mu      sync.Mutex
	bytes   int64
}

func (d *download) add(n int) {
	d.mu.Lock()
	d.bytes += int64(n)
	d.mu.Unlock()
}

func (d *download) progress() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bytes
}

func checkFetch(r *hostv1.FetchFileRequest) (*url.URL, error) {
	object := "file " + r.GetPath()
	if err := checkBelow(r.GetPath(), r.GetRoot()); err != nil {
		return nil, err
	}
	if r.GetMd5() != "" && !md5Pattern.MatchString(r.GetMd5()) {
		return nil, errs.New(errs.Invalid, object, "%q is no MD5 sum of 32 lower-case hex digits", r.GetMd5())
	}
	if r.GetSizeBytes() < 0 {
		return nil, errs.New(errs.Invalid, object, "its size is negative")
	}
	u, err := url.Parse(r.GetUrl())
	// The URL may be signed, so neither it nor the parser's error is shown.
	if err != nil {
		return nil, errs.New(errs.Invalid, object, "its source is no URL")
	}
	switch u.Scheme {
	case "http", "https":
		if u.Host == "" {
			return nil, errs.New(errs.Invalid, object, "its source has no host")
		}
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return nil, errs.New(errs.Invalid, object, "file://%s is not on this host", u.Host)
		}
		if err := checkPath(u.Path); err != nil {
			return nil, err
		}
	default:
		return nil, errs.New(errs.Invalid, object, "scheme %q is not http, https or file", u.Scheme)
	}
	return u, nil
}

// fetch downloads the file unless it is there already with the right size, and
// calls emit with the bytes so far, at most twice a second.
func (f *fetcher) fetch(ctx context.Context, r *hostv1.FetchFileRequest, emit func(int64) error) (int64, error) {
	u, err := checkFetch(r)
	if err != nil {
		return 0, err
	}
	if size, there, err := fetched(r); err != nil || there {
		return size, err
	}
	d, err := f.join(r, u)
	if err != nil {
		return 0, err
	}
	defer f.leave(d)
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-d.done:
			return d.progress(), d.err
		case <-ctx.Done():
			return 0, errs.Wrap(errs.ClassOf(ctx.Err()), "file "+r.GetPath(), ctx.Err(), "download given up")
		case <-tick.C:
			if err := emit(d.progress()); err != nil {
				return 0, err
			}
		}
	}
}

// fetched tells whether the file is there already; Exists for another one.
func fetched(r *hostv1.FetchFileRequest) (size int64, there bool, err error) {
	info, err := os.Stat(r.GetPath())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, false, nil
	case err != nil:
		return 0, false, pathError(r.GetPath(), err, "cannot be looked at")
	case !info.Mode().IsRegular() || r.GetSizeBytes() != 0 && info.Size() != r.GetSizeBytes():
		return 0, false, errs.New(errs.Exists, "file "+r.GetPath(), "something of another size has this name")
	}
	return info.Size(), true, nil
}

// join finds the running download of the path or starts one. One that its last
// waiter has given up must end first: both would write the same file.
func (f *fetcher) join(r *hostv1.FetchFileRequest, u *url.URL) (*download, error) {
	for {
		d, ending, err := f.joinNow(r, u)
		if ending == nil {
			return d, err
		}
		<-ending.done // it is cancelled, so this is soon
	}
}

func (f *fetcher) joinNow(r *hostv1.FetchFileRequest, u *url.URL) (d, ending *download, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d := f.running[r.GetPath()]; d != nil {
		if d.waiters == 0 {
			return nil, d, nil
		}
		if d.request.GetMd5() != r.GetMd5() || d.request.GetSizeBytes() != r.GetSizeBytes() {
			return nil, nil, errs.New(errs.Exists, "file "+r.GetPath(), "another file is being downloaded to this name")
		}
		d.waiters++
		return d, nil, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	d = &download{request: r, cancel: cancel, waiters: 1, done: make(chan struct{})}
	f.running[r.GetPath()] = d
	go func() {
		defer cancel()
		d.err = f.run(ctx, d, u)
		f.mu.Lock()
		delete(f.running, r.GetPath())
		f.mu.Unlock()
		close(d.done)
	}()
	return d, nil, nil
}

// leave gives a download up with its last waiter, and waits until its
// temporary file is gone: the next request starts clean.
func (f *fetcher) leave(d *download) {
	f.mu.Lock()
	d.waiters--
	last := d.waiters == 0
	f.mu.Unlock()
	if last {
		d.cancel()
		<-d.done
	}
}

func (f *fetcher) run(ctx context.Context, d *download, u *url.URL) error {
	r := d.request
	release, err := f.paths.take(ctx, r.GetPath())
	if err != nil {
		return err
	}
	defer release()
	// What the path was waited for may have made the file.
	if size, there, err := fetched(r); err != nil || there {
		d.add(int(size))
		return err
	}
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := os.MkdirAll(filepath.Dir(r.GetPath()), 0o755); err != nil {
		return pathError(r.GetPath(), err, "its folder cannot be made")
	}
	temporary := temporaryName(r.GetPath())
	if err := f.copyTo(ctx, d, u, temporary); err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(temporary)))
	}
	if err := os.Rename(temporary, r.GetPath()); err != nil {
		return errors.Join(pathError(r.GetPath(), err, "cannot take its name"), os.Remove(temporary))
	}
	return nil
}

func (f *fetcher) copyTo(ctx context.Context, d *download, u *url.URL, temporary string) (err error) {
	r := d.request
	object := "file " + r.GetPath()
	ctx, stalled := context.WithCancelCause(ctx)
	defer stalled(nil)
	source, err := f.open(ctx, object, u, r.GetHeaders())
	if err != nil {
		return err
	}
	defer func() {
		// All that was needed has been read, or the error is told already.
		_ = source.Close()
	}()
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return pathError(r.GetPath(), err, "cannot be written")
	}
	sum := md5.New()
	// Each arriving piece winds the timer up again.
	timer := time.AfterFunc(stallTimeout, func() { stalled(errStalled) })
	defer timer.Stop()
	reader := readerFunc(func(p []byte) (int, error) {
		n, err := source.Read(p)
		if n > 0 {
			timer.Reset(stallTimeout)
			d.add(n)
			if r.GetSizeBytes() != 0 && d.progress() > r.GetSizeBytes() {
				return n, errTooLong
			}
		}
		return n, err
	})
	_, err = io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(file, sum)}, reader, make([]byte, fetchBuffer))
	if err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fetchError(ctx, object, r, err)
	}
	return verify(object, r, d.progress(), hex.EncodeToString(sum.Sum(nil)))
}

var (
	errStalled = errors.New("nothing came for " + stallTimeout.String())
	errTooLong = errors.New("the source has more bytes than announced")
)

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func fetchError(ctx context.Context, object string, r *hostv1.FetchFileRequest, err error) error {
	var file *fs.PathError
	switch {
	case errors.Is(context.Cause(ctx), errStalled):
		return errs.Wrap(errs.Unavailable, object, errStalled, "download stopped")
	case errors.Is(err, errTooLong):
		return errs.New(errs.Invalid, object, "the source has more than the announced %d bytes", r.GetSizeBytes())
	case ctx.Err() != nil:
		return errs.Wrap(errs.ClassOf(ctx.Err()), object, ctx.Err(), "download given up")
	case errors.As(err, &file):
		return pathError(r.GetPath(), err, "cannot be written")
	}
	return errs.Wrap(errs.Unavailable, object, hideURL(err), "download broke off")
}

func verify(object string, r *hostv1.FetchFileRequest, size int64, sum string) error {
	if r.GetSizeBytes() != 0 && size != r.GetSizeBytes() {
		return errs.New(errs.Invalid, object, "the source has %d bytes, not %d", size, r.GetSizeBytes())
	}
	if r.GetMd5() != "" && sum != r.GetMd5() {
		return errs.New(errs.Invalid, object, "the source's MD5 sum is %s, not %s", sum, r.GetMd5())
	}
	return nil
}

func (f *fetcher) open(ctx context.Context, object string, u *url.URL, headers map[string]string) (io.ReadCloser, error) {
	if u.Scheme == "file" {
		file, err := os.Open(u.Path)
		if err != nil {
			return nil, pathError(u.Path, err, "cannot be read")
		}
		return file, nil
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, errs.New(errs.Invalid, object, "its source is no URL")
	}
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	response, err := f.client.Do(request)
	if err != nil {
		return nil, errs.Wrap(errs.Unavailable, object, hideURL(err), "its source %s cannot be reached", u.Host)
	}
	if response.StatusCode != http.StatusOK {
		err := errs.New(statusClass(response.StatusCode), object, "its source %s answers %s", u.Host, response.Status)
		return nil, errors.Join(err, response.Body.Close())
	}
	return response.Body, nil
}

func statusClass(code int) errs.Class {
	switch {
	case code == http.StatusNotFound, code == http.StatusGone:
		return errs.NotFound
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return errs.Denied
	case code >= 500, code == http.StatusTooManyRequests:
		return errs.Unavailable
	}
	return errs.Invalid
}

// hideURL takes the URL, which may be signed, out of an error of net/http.
func hideURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	if strings.Contains(err.Error(), "://") {
		return errors.New("transfer error")
	}
	return err
}

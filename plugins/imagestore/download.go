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
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
	"github.com/kumo-cloud/kumo/pluginsdk/outbound"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	// downloadAttempts is how often a download is tried without getting further
	// than before; each byte that is new begins the count anew.
	downloadAttempts = 6
	// downloadRestarts is how often one may begin at its first byte again, because
	// the source has changed or gives no ranges.
	downloadRestarts = 10
	// longestRetry bounds the wait before an attempt, also what a server asks for.
	longestRetry = 30 * time.Second
)

// newClient follows few redirects, keeps the length that the server says (no
// transparent decompression) and reaches what the request allows.
func newClient(object string, reach *pluginv1.Reach) (*http.Client, error) {
	listed, err := kinds.Networks(strings.Join(reach.GetNetworks(), ","))
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, object, err, "the networks that it may come from")
	}
	t := outbound.Policy{Trusted: !reach.GetGuarded(), Listed: func() []netip.Prefix { return listed }}.Transport()
	t.ResponseHeaderTimeout, t.DisableCompression, t.DisableKeepAlives = 30*time.Second, true, true
	return &http.Client{Transport: t, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) > 5 {
			return errors.New("more than 5 redirects")
		}
		return nil
	}}, nil
}

// errRestarted tells the reader of a download that what it has is void: the next
// byte is the first of the image.
var errRestarted = errors.New("the download began anew")

// download reads a URL to its end. When the connection breaks or the server is
// out of order it goes on where it was, by a range of the same representation
// (RFC 9110, 13.1.5 and 14); of one that has changed, or whose server gives no
// ranges, it reads all again. It ends with the context.
type download struct {
	*store
	ctx    context.Context
	client *http.Client
	object string
	url    *url.URL
	src    *source // its size and media type follow what the server says

	body   io.Reader // nil while there is no connection
	hangUp func()
	// validator is what If-Range may say: a strong entity tag or a strong date.
	validator string
	at, best  int64
	failed    int // attempts since best has grown
	restarts  int
	after     time.Duration // what the server asks to wait
}

func (s *store) openHTTP(ctx context.Context, object string, u *url.URL, reach *pluginv1.Reach) (*source, error) {
	client, err := newClient(object, reach)
	if err != nil {
		return nil, err
	}
	d := &download{store: s, ctx: ctx, client: client, object: object, url: u, hangUp: func() {}}
	d.src = &source{Reader: d, size: -1, name: outbound.Shown(u), done: func(error) { d.hangUp() }}
	if err := d.connect(); err != nil {
		return nil, err
	}
	return d.src, nil
}

func (d *download) Read(p []byte) (int, error) {
	for {
		if d.body == nil {
			if err := d.connect(); err != nil {
				return 0, err
			}
		}
		n, err := d.body.Read(p)
		if d.at += int64(n); d.at > d.best {
			d.best, d.failed = d.at, 0
		}
		switch {
		case d.src.size >= 0 && d.at >= d.src.size, d.src.size < 0 && errors.Is(err, io.EOF):
			return n, io.EOF
		case err == nil:
			return n, nil
		case d.ctx.Err() != nil:
			return n, d.ctx.Err()
		case errors.Is(err, io.EOF):
			err = io.ErrUnexpectedEOF
		}
		d.hangUp()
		d.body = nil
		if err := d.failure(err); err != nil || n > 0 {
			return n, err
		}
	}
}

// failure counts an attempt that failed and returns its error when it was the last.
func (d *download) failure(err error) error {
	d.failed++
	if d.failed >= downloadAttempts {
		return fmt.Errorf("%w; given up after %d attempts without progress", err, d.failed)
	}
	d.log.Warn("a download broke off and is tried again", "object", d.object, "source", d.src.name, "bytes", d.at, "failed", d.failed, "error", err)
	return nil
}

// connect asks for what is missing until a server gives it. It returns
// errRestarted when that is the whole and a part had been read.
func (d *download) connect() error {
	for {
		if err := d.pause(); err != nil {
			return err
		}
		had := d.at
		again, err := d.request()
		switch {
		case d.ctx.Err() != nil:
			return d.ctx.Err()
		case err == nil && had > 0 && d.at == 0:
			if d.restarts++; d.restarts > downloadRestarts {
				return errs.New(errs.Unavailable, d.object, "download %s: it changes, or has no ranges, and broke off %d times", d.src.name, d.restarts).
					WithAdvice("take the image from a server that can go on with a broken download")
			}
			return errRestarted
		case err == nil:
			return nil
		case !again:
			return err
		}
		if err := d.failure(err); err != nil {
			return err
		}
	}
}

// pause waits before an attempt, twice as long each time.
func (d *download) pause() error {
	if d.failed == 0 {
		return nil
	}
	wait := max(d.limits.retry<<(d.failed-1), d.after)
	d.after = 0
	t := time.NewTimer(min(wait, longestRetry))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-d.ctx.Done():
		return d.ctx.Err()
	}
}

// request asks once. again tells whether an error may go away.
func (d *download) request() (again bool, err error) {
	ctx, cancel := context.WithCancel(d.ctx)
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url.String(), nil)
	if err != nil {
		return false, errs.New(errs.Invalid, d.object, "its URL cannot be requested")
	}
	ranged := d.at > 0 && d.validator != ""
	if ranged {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.at))
		req.Header.Set("If-Range", d.validator)
	}
	silent := time.AfterFunc(d.limits.idle, cancel)
	resp, err := d.client.Do(req)
	if !silent.Stop() && err != nil && d.ctx.Err() == nil {
		err = errNoAnswer(d.limits.idle)
	}
	if errors.Is(err, errs.Denied) {
		return false, errs.Wrap(errs.Denied, d.object, unwrapURL(err), "download %s", d.src.name)
	}
	if err != nil {
		return d.best > 0 || isBroken(err), errs.Wrap(errs.Unavailable, d.object, unwrapURL(err), "download %s", d.src.name)
	}
	switch again, err = d.accept(resp, ranged); {
	case err != nil:
		return again, errors.Join(err, resp.Body.Close())
	default:
		d.body = &watched{src: &source{Reader: resp.Body, abort: cancel}, ctx: d.ctx, idle: d.limits.idle}
		d.hangUp = func() {
			cancel()
			_ = resp.Body.Close() // what is missing shows by its length
		}
		return false, nil
	}
}

// accept sets the place of the answer's first byte.
func (d *download) accept(resp *http.Response, ranged bool) (again bool, err error) {
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
		d.at, d.validator = 0, validatorOf(resp.Header)
		d.src.size, d.src.mediaType = resp.ContentLength, resp.Header.Get("Content-Type")
		return false, nil
	case code == http.StatusPartialContent && ranged && d.goesOn(resp.Header):
		return false, nil
	case ranged && (code == http.StatusPartialContent || code == http.StatusRequestedRangeNotSatisfiable):
		d.validator = "" // the next request asks for all of it
		return true, errs.New(errs.Unavailable, d.object, "download %s: it has changed", d.src.name)
	}
	class := errs.Unavailable
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		again = true
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
			d.after = min(time.Duration(seconds), longestRetry) * time.Second
		}
	default:
		if resp.StatusCode >= 400 && resp.StatusCode < 500 {
			class = errs.Invalid
		}
	}
	return again, errs.New(class, d.object, "download %s: the server answers %q", d.src.name, resp.Status)
}

var contentRange = regexp.MustCompile(`^bytes (\d+)-\d+/(\d+|\*)$`)

// goesOn tells whether a partial answer is of what came before, and begins with
// the byte that is missing.
func (d *download) goesOn(h http.Header) bool {
	m := contentRange.FindStringSubmatch(h.Get("Content-Range"))
	if m == nil || m[1] != strconv.FormatInt(d.at, 10) {
		return false
	}
	total, err := strconv.ParseInt(m[2], 10, 64)
	if err == nil && d.src.size >= 0 && total != d.src.size {
		return false
	}
	if tag := h.Get("ETag"); tag != "" && strings.HasPrefix(d.validator, `"`) && tag != d.validator {
		return false
	}
	if err == nil {
		d.src.size = total
	}
	return true
}

// validatorOf is what If-Range may say of a representation, or "": its entity
// tag if that is strong (RFC 9110, 8.8.3); without any, the date of its last
// change if that is a second older than the answer, and so strong (8.8.2.2).
func validatorOf(h http.Header) string {
	if tag := h.Get("ETag"); tag != "" {
		if strings.HasPrefix(tag, `"`) {
			return tag
		}
		return ""
	}
	changed, err := http.ParseTime(h.Get("Last-Modified"))
	now, err2 := http.ParseTime(h.Get("Date"))
	if err != nil || err2 != nil || now.Sub(changed) < time.Second {
		return ""
	}
	return h.Get("Last-Modified")
}

// errNoAnswer is an error of a server that says nothing for a while.
type errNoAnswer time.Duration

func (e errNoAnswer) Error() string { return fmt.Sprintf("no answer within %s", time.Duration(e)) }
func (e errNoAnswer) Timeout() bool { return true }

// isBroken tells a connection that broke from one that never was: a name, port
// or certificate that is wrong is told at once.
func isBroken(err error) bool {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return false
	}
	var timeout interface{ Timeout() bool }
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.As(err, &timeout) && timeout.Timeout()
}

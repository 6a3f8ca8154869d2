package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// piece is one request of an upload: the whole image, or a part of it as its
// Content-Range says (RFC 9110, 14.4 and 14.5): "bytes 0-999/5000". A client asks
// how much has come with "bytes */5000" and no body.
type piece struct {
	body     io.Reader
	from, to int64 // what it has, to the byte before to; to is -1 when nobody said it, from when it only asks
	total    int64 // of the image, -1 when nobody said it
	abort    func()
	result   chan error // takes one
}

// partial answers a request when the image is not over with it.
type partial struct {
	have   int64 // bytes that have come, from the first one on
	misfit bool  // the request does not begin there
}

func (p *partial) Error() string { return fmt.Sprintf("%d bytes have come", p.have) }

// tell writes how much has come, as resumable uploads of others do: 308 for a part
// that was taken, 416 for one that does not fit to what has come.
func (p *partial) tell(h http.Header) (status int, err error) {
	if p.have > 0 {
		h.Set("Range", fmt.Sprintf("bytes=0-%d", p.have-1))
	}
	if !p.misfit {
		return http.StatusPermanentRedirect, nil
	}
	return http.StatusRequestedRangeNotSatisfiable, errs.New(errs.Invalid, "upload", "%d bytes have come, and the part begins elsewhere, or is of another image", p.have).
		WithAdvice("go on with byte %d, or begin with byte 0", p.have)
}

// pieceOf reads what a request has. Errors: Invalid.
func pieceOf(r *http.Request) (*piece, error) {
	text := r.Header.Get("Content-Range")
	if text == "" {
		body, size, err := uploadBody(r)
		return &piece{body: body, to: size, total: size}, err
	}
	wrong := errs.New(errs.Invalid, "upload", "Content-Range is %.60q, not such as \"bytes 0-999/5000\" (RFC 9110, 14.4)", text)
	span, size, ok := strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	total, err := strconv.ParseInt(size, 10, 64)
	if !ok || err != nil || total < 1 || !strings.HasPrefix(text, "bytes ") {
		return nil, wrong
	}
	if span == "*" {
		return &piece{from: -1, total: total}, nil
	}
	first, last, _ := strings.Cut(span, "-")
	from, err := strconv.ParseInt(first, 10, 64)
	to, err2 := strconv.ParseInt(last, 10, 64)
	if err != nil || err2 != nil || from < 0 || to < from || to >= total || r.ContentLength >= 0 && r.ContentLength != to-from+1 {
		return nil, wrong
	}
	return &piece{body: io.LimitReader(r.Body, to-from+1), from: from, to: to + 1, total: total}, nil
}

// pieces reads an image from as many requests as it takes. When one breaks off,
// the next may go on where it ended, or begin anew, which Read tells as
// errRestarted.
type pieces struct {
	*uploads
	ctx   context.Context
	image string
	wait  time.Duration // for the next request
	broke func(error)   // is told of each that broke off
	src   *source

	at, most int64 // bytes that were read, and the most there have been
	breaks   int   // since most grew

	mu  sync.Mutex
	cur *piece // nil between two
}

// open waits for the first request.
func (u *uploads) open(ctx context.Context, image string, first, wait time.Duration, broke func(error)) (*source, error) {
	p := &pieces{uploads: u, ctx: ctx, image: image, wait: wait, broke: broke}
	p.src = &source{Reader: p, name: "the upload", abort: p.abort, done: p.leave}
	if err := p.await(first); err != nil && !errors.Is(err, errRestarted) {
		return nil, err
	}
	return p.src, nil
}

// Read implements io.Reader.
func (p *pieces) Read(b []byte) (int, error) {
	for {
		if p.cur == nil {
			if err := p.await(p.wait); err != nil {
				return 0, err
			}
		}
		n, err := p.cur.body.Read(b)
		if p.at += int64(n); p.at > p.most {
			p.most, p.breaks = p.at, 0
		}
		if n > 0 {
			return n, nil
		}
		switch {
		case err == nil:
			continue
		case errors.Is(err, io.EOF) && (p.cur.total < 0 || p.at == p.cur.total):
			return 0, io.EOF // the request waits for what becomes of the image
		case errors.Is(err, io.EOF) && p.at == p.cur.to:
			p.leave(&partial{have: p.at})
			continue
		case p.ctx.Err() != nil: // AddImage was given up, and its client waits for that
			return 0, p.ctx.Err()
		case errors.Is(err, io.EOF):
			err = io.ErrUnexpectedEOF
		}
		if p.breaks++; p.breaks == uploadAttempts {
			return 0, err
		}
		p.broke(err)
		p.leave(errs.Wrap(errs.Unavailable, "upload", err, "it ended after %d of %d bytes", p.at, p.cur.total).
			WithAdvice("go on with the rest in a request with Content-Range, or begin anew"))
	}
}

// await waits for a request that goes on where the last one ended, or begins anew:
// errRestarted. Others are told how much has come.
func (p *pieces) await(wait time.Duration) error {
	for {
		next, err := p.next(p.ctx, p.image, wait)
		if err != nil {
			return err
		}
		if misfit := !p.fits(next); misfit || next.from < 0 {
			next.result <- &partial{have: p.at, misfit: misfit}
			continue
		}
		p.mu.Lock()
		p.cur = next
		p.mu.Unlock()
		if next.from > 0 {
			return nil
		}
		p.at, p.src.size = 0, next.total
		return errRestarted
	}
}

// fits reports whether a request begins the image, goes on with it where the last
// one ended, or asks about it.
func (p *pieces) fits(next *piece) bool {
	switch {
	case next.from == 0, next.from < 0 && p.at == 0:
		return true
	case next.total != p.src.size:
		return false
	}
	return next.from < 0 || next.from == p.at
}

// leave answers the request that is being read; afterwards there is none.
func (p *pieces) leave(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cur != nil {
		p.cur.result <- err
		p.cur = nil
	}
}

// abort ends a Read that waits for the bytes of a request.
func (p *pieces) abort() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cur != nil {
		p.cur.abort()
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// source is where an image's bytes come from.
type source struct {
	io.Reader
	// size in bytes, -1 when nobody said it.
	size int64
	// name is for messages: a URL without its secrets.
	name string
	// mediaType is what the other side says of them; "" when it says nothing.
	mediaType string
	// abort makes a Read that is blocked return; nil when Read never blocks, or
	// ends by itself.
	abort func()
	// done is called once and tells the other side how it ended.
	done func(error)
}

// openSource opens a URL that is no upload. Errors: Invalid for a URL that can
// never work, Unavailable for a server that may answer later.
func (s *store) openSource(ctx context.Context, object, text string, reach *pluginv1.Reach) (*source, error) {
	u, err := parseImageURL(object, text)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "file" {
		return s.openFile(object, u.Path)
	}
	return s.openHTTP(ctx, object, u, reach)
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
		if err := checkCleanPath(object, u.Path); err != nil {
			return nil, err
		}
	case "upload":
	default:
		return nil, errs.New(errs.Invalid, object, "its URL begins with %q", u.Scheme+":").
			WithAdvice("use http, https, file or upload")
	}
	return u, nil
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
	var known *errs.Error
	switch {
	case err == nil || errors.Is(err, io.EOF) || errors.Is(err, errRestarted) || errors.As(err, &known):
		return n, err
	case w.ctx.Err() != nil:
		return n, w.ctx.Err()
	case w.stalled.Load():
		return n, fmt.Errorf("no byte came for %s", w.idle)
	}
	return n, unwrapURL(err)
}

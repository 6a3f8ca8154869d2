package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Headers with which ZStack's clients tell what a form does not: the size of the
// whole image, and of the slice of it that a request has.
const (
	sizeHeader  = "X-IMAGE-SIZE"
	sliceHeader = "X-SLICE-SIZE"
)

// uploads brings a client's request and the AddImage that waits for it
// together. The bytes go straight from the connection to the draft, and the
// client is told whether its image was good.
type uploads struct {
	mu    sync.Mutex
	meets map[string]*meeting
	// patience is how long a client waits for AddImage: longer than AddImage
	// needs to notice that this client's earlier attempt has broken off.
	patience time.Duration
}

// meeting is where both sides of one image meet; the last to leave removes it.
type meeting struct {
	offers  chan *piece
	present int
}

func newUploads() *uploads {
	return &uploads{meets: make(map[string]*meeting), patience: 2 * defaultLimits.idle}
}

func (u *uploads) enter(image string) (m *meeting, leave func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	m = u.meets[image]
	if m == nil {
		m = &meeting{offers: make(chan *piece)}
		u.meets[image] = m
	}
	m.present++
	return m, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if m.present--; m.present == 0 {
			delete(u.meets, image)
		}
	}
}

// next waits for a client's request.
func (u *uploads) next(ctx context.Context, image string, wait time.Duration) (*piece, error) {
	m, leave := u.enter(image)
	defer leave()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case p := <-m.offers:
		return p, nil
	case <-timer.C:
		return nil, errs.New(errs.Timeout, "image "+image, "no upload began, or went on, within %s", wait).
			WithAdvice("add the image again and send it to the new URL")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// take hands a client's request to AddImage and returns how it ended.
func (u *uploads) take(ctx context.Context, image string, p *piece) error {
	m, leave := u.enter(image)
	defer leave()
	p.result = make(chan error, 1)
	timer := time.NewTimer(u.patience)
	defer timer.Stop()
	select {
	case m.offers <- p:
		return <-p.result
	case <-timer.C:
		return errs.New(errs.Refused, "image "+image, "nothing waits for this upload: it has been taken, or given up").
			WithAdvice("add the image again and send it to the new URL")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// serve answers PUT and POST of a link that the server has checked.
func (u *uploads) serve(w http.ResponseWriter, r *http.Request, image string) {
	p, err := pieceOf(r)
	if err == nil {
		conn := http.NewResponseController(w)
		p.abort = func() {
			// Fails only when the connection is gone, and then nothing is blocked.
			_ = conn.SetReadDeadline(time.Now())
		}
		err = u.take(r.Context(), image, p)
	}
	status := uploadStatus(err)
	var part *partial
	if errors.As(err, &part) {
		status, err = part.tell(w.Header())
	}
	answer := map[string]string{"image": image}
	if err != nil {
		answer["error"] = err.Error()
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client may be gone; AddImage has the outcome in any case.
	_ = json.NewEncoder(w).Encode(answer)
}

// uploadBody finds the image in the request: the body, or a form's first file.
func uploadBody(r *http.Request) (io.Reader, int64, error) {
	parts, err := r.MultipartReader()
	if errors.Is(err, http.ErrNotMultipart) {
		return r.Body, r.ContentLength, nil
	}
	if err != nil {
		return nil, 0, errs.Wrap(errs.Invalid, "upload", err, "read the form")
	}
	size, err := formSize(r.Header)
	if err != nil {
		return nil, 0, err
	}
	for {
		part, err := parts.NextPart()
		if err != nil {
			return nil, 0, errs.Wrap(errs.Invalid, "upload", err, "the form has no file")
		}
		if part.FileName() != "" {
			return part, size, nil
		}
	}
}

// formSize is the size that the headers say, or -1. A slice is refused: taken
// for the image it would make one that is cut off.
func formSize(h http.Header) (int64, error) {
	text := h.Get(sizeHeader)
	if slice := h.Get(sliceHeader); slice != "" && slice != text {
		return 0, errs.New(errs.Invalid, "upload", "it has a slice of %.20q bytes, and slices are not taken", slice).
			WithAdvice("send the image in one request")
	}
	if text == "" {
		return -1, nil
	}
	size, err := strconv.ParseInt(text, 10, 64)
	if err != nil || size < 0 {
		return 0, errs.New(errs.Invalid, "upload", "%s is %.20q, which is no size", sizeHeader, text)
	}
	return size, nil
}

func uploadStatus(err error) int {
	switch errs.ClassOf(err) {
	case "":
		return http.StatusOK
	case errs.Invalid:
		return http.StatusBadRequest
	case errs.Refused, errs.Exists, errs.Cancelled:
		return http.StatusConflict
	case errs.Exhausted:
		return http.StatusInsufficientStorage
	case errs.Unavailable, errs.Timeout:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

package api

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
	"sync"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/schema"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Describer makes the schema document.
type Describer interface {
	// Key changes when what Describe would answer may have changed; it is asked
	// for each request and must be quick.
	Key() string
	// Describe makes the document.
	Describe() *schema.Document
}

// document is the schema as it is sent.
type document struct {
	key         string
	plain, gzip []byte
	etag        string
}

// documents keeps the last document. It is made by one request while others
// wait for it.
type documents struct {
	mu   sync.Mutex
	last *document
}

func (d *documents) get(from Describer) (*document, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := from.Key() // before it is made: what changes meanwhile makes it anew
	if d.last != nil && d.last.key == key {
		return d.last, nil
	}
	text, revision, err := from.Describe().Encode()
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(text); err != nil {
		return nil, errs.Wrap(errs.Internal, "schema", err, "cannot be packed")
	}
	if err := z.Close(); err != nil {
		return nil, errs.Wrap(errs.Internal, "schema", err, "cannot be packed")
	}
	d.last = &document{key: key, plain: text, gzip: packed.Bytes(), etag: `"` + revision + `"`}
	return d.last, nil
}

// serveSchema answers GET /schema: the same bytes for any caller who is known.
func (s *Server) serveSchema(w http.ResponseWriter, req *http.Request) {
	if _, err := s.caller(req); err != nil {
		s.writeError(w, req, err)
		return
	}
	if s.opt.Schema == nil {
		s.writeError(w, req, action.HTTPErrorf(http.StatusNotFound, "this server publishes no schema"))
		return
	}
	d, err := s.schema.get(s.opt.Schema)
	if err != nil {
		s.writeError(w, req, err)
		return
	}
	h := w.Header()
	h.Set("ETag", d.etag)
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Vary", "Accept-Encoding")
	if matches(req.Header.Get("If-None-Match"), d.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := d.plain
	if accepts(req.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = d.gzip
	}
	s.writeJSON(w, http.StatusOK, body)
}

// caller tells who sent a request that is no action.
func (s *Server) caller(req *http.Request) (action.Caller, error) {
	c, err := s.Credentials(req)
	if err != nil {
		return action.Caller{}, err
	}
	if c == nil || s.opt.Auth == nil {
		return action.Caller{}, errs.New(errs.Unauthenticated, req.URL.Path, "no session or access key was given").
			WithAdvice("log in and send Authorization: OAuth <session>")
	}
	return s.opt.Auth.Authenticate(req.Context(), *c)
}

// matches compares the tags of If-None-Match (RFC 9110, section 13.1.2), weakly.
func matches(header, etag string) bool {
	for _, tag := range strings.Split(header, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == "*" || tag == etag {
			return true
		}
	}
	return false
}

// accepts reports whether a coding may be sent (RFC 9110, section 12.5.3).
func accepts(header, coding string) bool {
	for _, item := range strings.Split(header, ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(item), ";")
		if strings.EqualFold(strings.TrimSpace(name), coding) {
			q := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(weight), "q="))
			return q == "" || strings.Trim(q, "0.") != ""
		}
	}
	return false
}

package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// write sends a body within the time that slow clients get.
func (s *Server) write(w http.ResponseWriter, status int, contentType string, b []byte) {
	// Only a server that cannot set deadlines fails here (tests); it has none.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.opt.WriteTimeout))
	h := w.Header()
	h["Content-Type"] = []string{contentType}
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	w.WriteHeader(status)
	if _, err := w.Write(b); err != nil {
		s.log.Debug("client went away before the answer was written", "error", err)
	}
}

const (
	typeJSON = "application/json;charset=UTF-8"
	typeText = "text/plain;charset=UTF-8"
)

func (s *Server) writeJSON(w http.ResponseWriter, status int, b []byte) {
	s.write(w, status, typeJSON, b)
}

// writeError sends a failure of HTTP as bare text and any other as an API
// error. It returns the status.
func (s *Server) writeError(w http.ResponseWriter, req *http.Request, err error) int {
	var he *action.HTTPError
	if errors.As(err, &he) {
		s.write(w, he.Status, typeText, []byte(he.Text))
		return he.Status
	}
	if errs.ClassOf(err) == errs.Internal {
		s.log.Error("API call failed", "method", req.Method, "path", req.URL.Path, "error", err)
	}
	s.writeJSON(w, action.StatusAPIError, action.ErrorBody(err))
	return action.StatusAPIError
}

// writeReply sends the answer of an action and returns the status.
func (s *Server) writeReply(w http.ResponseWriter, req *http.Request, r *action.Reply) int {
	if r.Job != "" {
		s.writeJSON(w, http.StatusAccepted, accepted(req, r))
		return http.StatusAccepted
	}
	b := []byte(r.Body)
	if !r.Query && req.Header.Get("X-JSON-Schema") != "" {
		b = withSchema(b, r.Schema)
	}
	s.writeJSON(w, http.StatusOK, b)
	return http.StatusOK
}

// accepted is the body of a 202. The address is the one that the client used,
// so that it works behind any proxy or forwarded port.
func accepted(req *http.Request, r *action.Reply) []byte {
	scheme := "http"
	if req.TLS != nil || req.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	b, err := json.Marshal(struct {
		Location   string `json:"location"`
		APITimeout int64  `json:"apiTimeout"`
	}{scheme + "://" + req.Host + jobsPath + r.Job, r.Timeout.Milliseconds()})
	if err != nil { // strings and numbers always marshal
		return []byte("{}")
	}
	return b
}

// withSchema adds "schema" to a JSON object.
func withSchema(b []byte, schema map[string]string) []byte {
	text := []byte("{}")
	if len(schema) > 0 {
		var err error
		if text, err = json.Marshal(schema); err != nil { // strings always marshal
			text = []byte("{}")
		}
	}
	b = bytes.TrimRight(b, " \n")
	if len(b) < 2 || b[len(b)-1] != '}' {
		return b
	}
	out := make([]byte, 0, len(b)+len(text)+12)
	out = append(out, b[:len(b)-1]...)
	if len(bytes.TrimSpace(b[1:len(b)-1])) > 0 {
		out = append(out, ',')
	}
	out = append(out, `"schema":`...)
	out = append(out, text...)
	return append(out, '}')
}

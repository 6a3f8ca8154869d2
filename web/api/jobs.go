package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// JobStatus is what a poll sees.
type JobStatus struct {
	Done bool
	// Err is the failure of a done job. Body is its result otherwise ({} at
	// least), Schema maps the body's paths to Java classes.
	Err    error
	Body   json.RawMessage
	Schema map[string]string
}

// Jobs lets clients wait for their jobs.
type Jobs interface {
	// Wait returns when the job is done or max has passed. errs.NotFound when
	// the job is unknown or has expired.
	Wait(ctx context.Context, uuid string, max time.Duration) (JobStatus, error)
}

// serveJob answers a poll. Polls are not authenticated: access-key clients
// repeat the signature of their first request, which does not fit.
func (s *Server) serveJob(w http.ResponseWriter, req *http.Request, uuid string) int {
	if req.Method != http.MethodGet {
		return s.writeError(w, req, action.HTTPErrorf(http.StatusMethodNotAllowed, "a job is polled with GET"))
	}
	if s.opt.Jobs == nil || !isJobUUID(uuid) {
		return s.writeError(w, req, action.HTTPErrorf(http.StatusNotFound, "there is no job %q, or it has expired", uuid))
	}
	hold := time.Duration(0)
	select {
	case s.polls <- struct{}{}:
		hold = s.pollHold(req.Context())
		defer func() { <-s.polls }()
	default: // too many wait already: answer at once
	}
	st, err := s.opt.Jobs.Wait(req.Context(), uuid, hold)
	switch {
	case errs.ClassOf(err) == errs.NotFound:
		return s.writeError(w, req, action.HTTPErrorf(http.StatusNotFound, "there is no job %s, or it has expired", uuid))
	case err != nil:
		return s.writeError(w, req, err)
	case !st.Done:
		s.writeJSON(w, http.StatusAccepted, []byte("{}"))
		return http.StatusAccepted
	case st.Err != nil:
		s.writeJSON(w, action.StatusAPIError, action.ErrorBody(st.Err))
		return action.StatusAPIError
	}
	b := []byte(st.Body)
	if len(b) == 0 {
		b = []byte("{}")
	}
	if req.Header.Get("X-JSON-Schema") != "" {
		b = withSchema(b, st.Schema)
	}
	s.writeJSON(w, http.StatusOK, b)
	return http.StatusOK
}

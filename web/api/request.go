package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
)

// The paths under which the API is served; both SDKs have them built in.
const (
	contextPath = "/zstack"
	basePath    = contextPath + "/v1"
	jobsPath    = basePath + "/api-jobs/"
)

// body is a request's JSON object by its top-level keys.
type body map[string]json.RawMessage

// strangerBody bounds the body of who has not proved who it is: a log-in has a
// name and a password.
const strangerBody = 64 << 10

// intake is what is known of a request before it takes a place: who sent it, and
// its body.
type intake struct {
	credentials *action.Credentials
	credErr     error
	caller      *action.Caller // nil for strangers
	body        body
}

// take looks at who sent a request, and then reads its body. A stranger's body
// is small, and no client holds a place of a call while it sends.
func (s *Server) take(w http.ResponseWriter, req *http.Request, r *route) (in intake, err error) {
	known := slices.ContainsFunc(r.entries, func(e entry) bool { return e.action.Access != action.Anonymous })
	if known {
		in.credentials, in.credErr = credentials(req, time.Now(), s.checkZone)
	}
	if req.Method != http.MethodPost && req.Method != http.MethodPut || req.Body == nil || req.Body == http.NoBody || req.ContentLength == 0 {
		return in, nil
	}
	limit := int64(strangerBody)
	if known && in.credErr == nil {
		// One who is not known is told so when it is clear what was called.
		if caller, err := s.opt.Actions.Authenticate(req.Context(), *in.credentials); err == nil {
			in.caller, limit = &caller, s.opt.MaxBody
		}
	}
	in.body, err = s.readBody(w, req, min(limit, s.opt.MaxBody))
	return in, err
}

// readBody reads and parses the body of a POST or PUT. An empty one is an empty
// object.
func (s *Server) readBody(w http.ResponseWriter, req *http.Request, limit int64) (body, error) {
	rc := http.NewResponseController(w)
	// Only a server that cannot set deadlines fails here (tests); it has none.
	_ = rc.SetReadDeadline(time.Now().Add(s.opt.BodyTimeout))
	raw, err := io.ReadAll(http.MaxBytesReader(w, req.Body, limit))
	if err == nil {
		_ = rc.SetReadDeadline(time.Time{})
	} else {
		// The rest of the body is not waited for: the deadline stays and the
		// connection ends with the answer.
		w.Header().Set("Connection", "close")
	}
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &tooBig):
		return nil, action.HTTPErrorf(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", tooBig.Limit)
	case err != nil:
		return nil, action.HTTPErrorf(http.StatusBadRequest, "the body could not be read: %v", err)
	}
	if len(strings.TrimSpace(string(raw))) == 0 {
		return nil, nil
	}
	var b body
	if err := json.Unmarshal(raw, &b); err != nil {
		return nil, action.HTTPErrorf(http.StatusBadRequest, "the body is not a JSON object: %v", err)
	}
	return b, nil
}

func (b body) has(key string) bool {
	if key == "" {
		return false
	}
	_, ok := b[key]
	return ok
}

// input collects the parameters of a request, as the method that was sent
// wants them read.
func input(req *http.Request, e *entry, values []string, b body) (action.Input, error) {
	in := action.Input{Path: e.vars(values)}
	if req.Method == http.MethodGet || req.Method == http.MethodDelete {
		q, err := url.ParseQuery(req.URL.RawQuery)
		if err != nil {
			return in, action.HTTPErrorf(http.StatusBadRequest, "the query string is malformed: %v", err)
		}
		in.Query = q
		return in, nil
	}
	key := e.action.Key
	if !b.has(key) && e.action.Method != req.Method {
		key = "params" // another method than declared: the client's own habit
	}
	if raw, ok := b[key]; ok && key != "" {
		if err := json.Unmarshal(raw, &in.Body); err != nil {
			return in, action.HTTPErrorf(http.StatusBadRequest, "%q in the body is not a JSON object", key)
		}
	}
	var err error
	if in.SystemTags, err = b.texts("systemTags"); err != nil {
		return in, err
	}
	in.UserTags, err = b.texts("userTags")
	return in, err
}

// texts reads a top-level list; null and absent are nil.
func (b body) texts(key string) ([]string, error) {
	raw, ok := b[key]
	if !ok {
		return nil, nil
	}
	var out []string
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, action.HTTPErrorf(http.StatusBadRequest, "%q in the body is not a list of texts", key)
	}
	return out, nil
}

// headers reads the request headers of the API.
func headers(req *http.Request, out *action.Request) error {
	if id := req.Header.Get("X-Job-UUID"); id != "" {
		if !isJobUUID(id) {
			return action.HTTPErrorf(http.StatusBadRequest, "X-Job-UUID must be 32 letters and digits")
		}
		out.JobUUID = id
	}
	if hook := req.Header.Get("X-Web-Hook"); hook != "" {
		u, err := url.Parse(hook)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || len(hook) > 2048 {
			return action.HTTPErrorf(http.StatusBadRequest, "X-Web-Hook must be an http or https URL")
		}
		out.WebHook = hook
	}
	if t := req.Header.Get("X-API-Timeout"); t != "" {
		n, err := strconv.ParseInt(t, 10, 32)
		if err != nil || n <= 0 {
			return action.HTTPErrorf(http.StatusBadRequest, "X-API-Timeout must be a number of seconds above 0")
		}
		out.Timeout = time.Duration(n) * time.Second
	}
	return nil
}

func isJobUUID(s string) bool {
	if len(s) != 32 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') {
			return false
		}
	}
	return true
}

// serveAction answers one API call.
func (s *Server) serveAction(ctx context.Context, req *http.Request, r *route, values []string, in intake) (*entry, *action.Reply, error) {
	e, err := r.choose(req.Method, in.body.has)
	if err != nil {
		return nil, nil, err
	}
	call := action.Request{Action: e.action, Client: s.clientOf(req)}
	if e.action.Access != action.Anonymous {
		if in.credErr != nil {
			return e, nil, in.credErr
		}
		call.Credentials, call.Caller = in.credentials, in.caller
	}
	if err := headers(req, &call); err != nil {
		return e, nil, err
	}
	if call.Input, err = input(req, e, values, in.body); err != nil {
		return e, nil, err
	}
	if len(req.URL.RawQuery) > 0 && strings.Contains(req.URL.RawQuery, "plan=") {
		call.Plan, err = wantsPlan(req)
		if err != nil {
			return e, nil, err
		}
	}
	reply, err := s.opt.Actions.Serve(ctx, &call)
	return e, reply, err
}

// forwardedFor is where proxies say whom they ask for: each appends the address
// that asked it.
const forwardedFor = "X-Forwarded-For"

// clientOf is the address that the connection comes from, or that the last of the
// proxies which the operator lists was asked from. What anybody else says of
// itself is not believed: limits depend on it.
func (s *Server) clientOf(req *http.Request) string {
	host, _, err := net.SplitHostPort(req.RemoteAddr)
	if err != nil {
		return req.RemoteAddr
	}
	said := req.Header.Values(forwardedFor)
	if len(said) == 0 || s.opt.Proxies == nil {
		return host
	}
	proxies := s.opt.Proxies(req.Context())
	trusted := func(a netip.Addr) bool {
		return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	at, err := netip.ParseAddr(host)
	hops := strings.Split(strings.Join(said, ","), ",")
	for i := len(hops) - 1; err == nil && i >= 0 && trusted(at.Unmap()); i-- {
		next, bad := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if bad != nil {
			break // the proxy before it is all that is known
		}
		at = next
	}
	if err != nil {
		return host
	}
	return at.Unmap().String()
}

// wantsPlan reads plan=true. On a GET it is a parameter like any other.
func wantsPlan(req *http.Request) (bool, error) {
	if req.Method == http.MethodGet {
		return false, nil
	}
	v := req.URL.Query().Get("plan")
	switch {
	case v == "" || strings.EqualFold(v, "false"):
		return false, nil
	case strings.EqualFold(v, "true"):
		return true, nil
	}
	// Taking another text for false would delete what was only to be planned.
	return false, action.HTTPErrorf(http.StatusBadRequest, "plan=%s is neither true nor false", v)
}

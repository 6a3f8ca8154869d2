package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

const (
	apiRoot = "/zstack/v1"
	// requestTimeout is that of a synchronous call on the server, and a little.
	requestTimeout = 5*time.Minute + 10*time.Second
	// outage is how long a job is followed while the server does not answer:
	// jobs outlive a restart of the server.
	outage = time.Minute
	// maxBody is far more than a full page of the widest resource.
	maxBody = 256 << 20
)

// Client talks to one server. It is safe for concurrent use.
type Client struct {
	// Server is the address, such as http://127.0.0.1:8080.
	Server string
	// Session is sent with each call; empty for calls that need none.
	Session string

	http *http.Client
	wait func(context.Context, time.Duration) error
}

// New returns a client of the server at an http or https address. Without a
// scheme, http is meant.
func New(server string) (*Client, error) {
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errs.New(errs.Invalid, "server "+strconv.Quote(server), "not an http address").
			WithAdvice("give it as http://HOST:PORT")
	}
	return &Client{
		Server: u.Scheme + "://" + u.Host,
		http:   &http.Client{Timeout: requestTimeout},
		wait:   sleep,
	}, nil
}

// Call is one API call.
type Call struct {
	// Method and Path as in the catalogue; the path has its variables filled.
	Method, Path string
	// Key is the body's member that carries Params: "params" or the action.
	// It is not used with GET and DELETE, whose parameters go into the URL.
	Key    string
	Params map[string]any
	// SystemTags and UserTags are put on what the call creates.
	SystemTags, UserTags []string
	// Plan asks what the call would do; nothing is done.
	Plan bool
}

// Job is an accepted call that the server works on.
type Job struct {
	UUID string
	// Limit is how long the server gives the job.
	Limit time.Duration
}

// Start sends a call. Exactly one of the results is set: the answer of a
// synchronous call, or the job of an asynchronous one.
func (c *Client) Start(ctx context.Context, call Call) (json.RawMessage, *Job, error) {
	req, err := c.request(ctx, call)
	if err != nil {
		return nil, nil, err
	}
	status, body, err := c.send(req)
	if err != nil {
		return nil, nil, err
	}
	if status != http.StatusAccepted {
		answer, err := answerOf(status, body)
		return answer, nil, err
	}
	var accepted struct {
		Location   string `json:"location"`
		APITimeout int64  `json:"apiTimeout"`
	}
	if err := json.Unmarshal(body, &accepted); err != nil || accepted.Location == "" {
		return nil, nil, errs.Wrap(errs.Internal, "server "+c.Server, err, "accepted %s %s without saying where its job is", call.Method, call.Path)
	}
	limit := time.Duration(accepted.APITimeout) * time.Millisecond
	if limit <= 0 {
		limit = 30 * time.Minute
	}
	return nil, &Job{UUID: accepted.Location[strings.LastIndex(accepted.Location, "/")+1:], Limit: limit}, nil
}

// Do sends a call and waits for its job, if it has one.
func (c *Client) Do(ctx context.Context, call Call) (json.RawMessage, error) {
	answer, job, err := c.Start(ctx, call)
	if err != nil || job == nil {
		return answer, err
	}
	return c.Follow(ctx, *job)
}

// Follow waits for a job and returns its result. A server that restarts
// meanwhile is waited for, up to a minute. A job that is over its time gives an
// errs.Timeout; it may still end well.
func (c *Client) Follow(ctx context.Context, job Job) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, job.Limit+outage)
	defer cancel()
	var silent time.Time // since when the server does not answer
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Server+apiRoot+"/api-jobs/"+url.PathEscape(job.UUID), nil)
		if err != nil {
			return nil, err
		}
		status, body, err := c.send(req)
		switch {
		case err == nil && status != http.StatusAccepted:
			return answerOf(status, body)
		case err == nil:
			silent = time.Time{}
		case !errors.Is(err, errs.Unavailable):
			return nil, err
		case silent.IsZero():
			silent = time.Now()
		case time.Since(silent) > outage:
			return nil, err
		}
		if err := c.wait(ctx, pause); err != nil {
			return nil, errs.Wrap(errs.ClassOf(err), "job "+job.UUID, err, "gave up waiting for it")
		}
	}
}

// request builds the HTTP request of a call.
func (c *Client) request(ctx context.Context, call Call) (*http.Request, error) {
	target := c.Server + apiRoot + call.Path
	var body io.Reader
	query := url.Values{}
	if call.Method == http.MethodGet || call.Method == http.MethodDelete {
		query = urlParams(call)
	} else {
		text, err := json.Marshal(envelope(call))
		if err != nil {
			return nil, errs.Wrap(errs.Invalid, call.Path, err, "its parameters cannot be written as JSON")
		}
		body = bytes.NewReader(text)
	}
	if call.Plan {
		query.Set("plan", "true")
	}
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, call.Method, target, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json;charset=UTF-8")
	}
	if c.Session != "" {
		req.Header.Set("Authorization", "OAuth "+c.Session)
	}
	return req, nil
}

// envelope is the body of a call: parameters under the key, tags beside it.
func envelope(call Call) map[string]any {
	params := call.Params
	if params == nil {
		params = map[string]any{}
	}
	out := map[string]any{}
	if call.Key != "" {
		out[call.Key] = params
	}
	if len(call.SystemTags) > 0 {
		out["systemTags"] = call.SystemTags
	}
	if len(call.UserTags) > 0 {
		out["userTags"] = call.UserTags
	}
	return out
}

// urlParams writes parameters as the URL carries them: lists repeated, maps as
// field.key.
func urlParams(call Call) url.Values {
	q := url.Values{}
	for name, value := range call.Params {
		switch v := value.(type) {
		case []string:
			q[name] = append(q[name], v...)
		case []any:
			for _, one := range v {
				q.Add(name, fmt.Sprint(one))
			}
		case map[string]any:
			for key, one := range v {
				q.Set(name+"."+key, fmt.Sprint(one))
			}
		default:
			q.Set(name, fmt.Sprint(v))
		}
	}
	q["systemTags"] = append(q["systemTags"], call.SystemTags...)
	if len(q["systemTags"]) == 0 {
		delete(q, "systemTags")
	}
	return q
}

// Put sends bytes to an address that the server told, which is none of its API:
// no session goes there. body is read to size bytes.
func (c *Client) Put(ctx context.Context, address string, body io.Reader, size int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, address, body)
	if err != nil {
		return errs.Wrap(errs.Internal, "address "+address, err, "cannot be used")
	}
	req.ContentLength = size
	resp, err := http.DefaultClient.Do(req) // without c.http's limit of time
	if err != nil {
		if ctxErr := ctx.Err(); ctxErr != nil {
			return ctxErr
		}
		return errs.Wrap(errs.Unavailable, "upload to "+req.URL.Host, err, "it broke off")
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil || resp.StatusCode/100 == 2 {
		return err
	}
	var told struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(text, &told) != nil || told.Error == "" {
		told.Error = fmt.Sprintf("status %d", resp.StatusCode)
	}
	return errs.New(errs.Refused, "upload to "+req.URL.Host, "%s", told.Error)
}

// Get fetches a path outside of the API, such as /healthz, and returns status
// and body.
func (c *Client) Get(ctx context.Context, path string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Server+path, nil)
	if err != nil {
		return 0, nil, err
	}
	return c.send(req)
}

// do sends a request; an error of the network says what to do about it.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	switch {
	case err == nil:
		return resp, nil
	case req.Context().Err() != nil:
		return nil, req.Context().Err()
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, errs.New(errs.Unavailable, "server "+c.Server, "nothing listens there").
			WithAdvice("start it with kumo serve or make run, or name another by --server")
	}
	return nil, errs.Wrap(errs.Unavailable, "server "+c.Server, err, "does not answer").WithAdvice("check --server and the network")
}

func (c *Client) send(req *http.Request) (int, []byte, error) {
	resp, err := c.do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return 0, nil, errs.Wrap(errs.Unavailable, "server "+c.Server, err, "its answer broke off")
	}
	return resp.StatusCode, body, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

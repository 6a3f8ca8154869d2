package wire

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// Root is what all paths of the API begin with.
	Root = "/zstack/v1"
	// jobsPath is where jobs are polled.
	jobsPath = "/api-jobs/"

	requestTimeout = time.Minute
	jobTimeout     = 10 * time.Minute
	maxBody        = 256 << 20
)

// Client is a session with one server. It is safe for concurrent use once
// Login has returned.
type Client struct {
	base    string
	http    *http.Client
	session string
}

// New returns a client of the server at base, such as http://127.0.0.1:8080.
func New(base string) *Client {
	return &Client{base: strings.TrimRight(base, "/"), http: &http.Client{
		Timeout:   requestTimeout,
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute},
	}}
}

// Error is an answer that says that a call failed.
type Error struct {
	// Call is the method and the path.
	Call string
	// Status is the HTTP status.
	Status int
	// Code, Description and Details are the API error's; an error of the HTTP
	// layer has its text in Details only.
	Code, Description, Details string
	// Cause is the nested error as it came.
	Cause json.RawMessage
}

// Error tells the call and all parts of the answer.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s: status %d", e.Call, e.Status)
	for _, part := range []string{e.Code, e.Description, e.Details, string(e.Cause)} {
		if part != "" {
			text += ": " + part
		}
	}
	return text
}

// Code returns the API error code of err, such as "SYS.1007", or "".
func Code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// Clear reports whether a job's error tells what failed: it has the status of
// failed work, a code and details.
func Clear(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusServiceUnavailable && e.Code != "" && len(e.Details) >= 20
}

// Login opens a session for an account with its plain password and keeps it
// for the calls that follow.
func (c *Client) Login(ctx context.Context, account, password string) error {
	body, err := c.Call(ctx, http.MethodPut, "/accounts/login", map[string]any{
		"logInByAccount": map[string]any{"accountName": account, "password": HashPassword(password)}})
	if err != nil {
		return err
	}
	var answer struct{ Inventory struct{ UUID string } }
	if err = json.Unmarshal(body, &answer); err == nil && answer.Inventory.UUID == "" {
		err = errors.New("no session in the answer")
	}
	if err != nil {
		return fmt.Errorf("log in as %s: %w", account, err)
	}
	c.session = answer.Inventory.UUID
	return nil
}

// HashPassword returns what the wire carries in place of a password.
func HashPassword(password string) string {
	sum := sha512.Sum512([]byte(password))
	return hex.EncodeToString(sum[:])
}

// Session returns the session's UUID, "" before Login.
func (c *Client) Session() string { return c.session }

// Call makes one call and, when it is asynchronous, waits for its job. The
// path is below Root, body is marshalled unless nil. It returns the final
// body. Errors: *Error for an answer that is no success.
func (c *Client) Call(ctx context.Context, method, path string, body any) (json.RawMessage, error) {
	status, answer, err := c.send(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	switch status {
	case http.StatusOK:
		return answer, nil
	case http.StatusAccepted:
		job, err := JobID(answer)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", method, path, err)
		}
		return c.wait(ctx, method+" "+path, job)
	}
	return nil, failure(method+" "+path, status, answer)
}

// Start makes one asynchronous call and returns its job without waiting.
func (c *Client) Start(ctx context.Context, method, path string, body any) (string, error) {
	status, answer, err := c.send(ctx, method, path, body)
	if err != nil {
		return "", err
	}
	if status != http.StatusAccepted {
		return "", failure(method+" "+path, status, answer)
	}
	return JobID(answer)
}

// Wait waits for a job that Start began and returns its final body.
func (c *Client) Wait(ctx context.Context, job string) (json.RawMessage, error) {
	return c.wait(ctx, "job "+job, job)
}

func (c *Client) wait(ctx context.Context, call, job string) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		status, answer, err := c.send(ctx, http.MethodGet, jobsPath+job, nil)
		switch {
		case err != nil:
			return nil, err
		case status == http.StatusOK:
			return answer, nil
		case status != http.StatusAccepted:
			return nil, failure(call, status, answer)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: job %s: %w", call, job, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// JobID finds the job in the body of a 202 answer; host and port of its
// location do not matter.
func JobID(body []byte) (string, error) {
	var answer struct{ Location string }
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("answer 202: %w", err)
	}
	_, job, found := strings.Cut(answer.Location, Root+jobsPath)
	if !found || job == "" {
		return "", fmt.Errorf("answer 202 with the location %q, which is no job's", answer.Location)
	}
	return job, nil
}

// send makes one request.
func (c *Client) send(ctx context.Context, method, path string, body any) (int, []byte, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return 0, nil, fmt.Errorf("%s %s: %w", method, path, err)
		}
	}
	return c.Raw(ctx, method, path, nil, text)
}

// Raw makes one request with any body and with headers that are added to the
// client's own or take their place, and returns status and body as they come.
func (c *Client) Raw(ctx context.Context, method, path string, header http.Header, body []byte) (int, []byte, error) {
	var content io.Reader
	if body != nil {
		content = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+Root+path, content)
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.session != "" {
		req.Header.Set("Authorization", "OAuth "+c.session)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close() // it was only read
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	return resp.StatusCode, answer, err
}

func failure(call string, status int, body []byte) error {
	var answer struct {
		Error *struct {
			Code, Description, Details string
			Cause                      json.RawMessage
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Error == nil {
		return &Error{Call: call, Status: status, Details: strings.TrimSpace(string(body))}
	}
	e := answer.Error
	return &Error{Call: call, Status: status, Code: e.Code, Description: e.Description, Details: e.Details, Cause: e.Cause}
}

// Page is the answer of a query.
type Page struct {
	Inventories []json.RawMessage `json:"inventories"`
	// Total is set for count=true and replyWithCount=true.
	Total int64 `json:"total"`
}

// Query lists what meets all conditions, such as "state=Running", up to the
// wire's limit of 1,000; QueryWith can ask for more.
func (c *Client) Query(ctx context.Context, path string, conditions ...string) (Page, error) {
	return c.QueryWith(ctx, path, url.Values{"q": conditions})
}

// QueryWith lists with any parameters of the query grammar.
func (c *Client) QueryWith(ctx context.Context, path string, parameters url.Values) (Page, error) {
	if len(parameters) > 0 {
		path += "?" + parameters.Encode()
	}
	var page Page
	body, err := c.Call(ctx, http.MethodGet, path, nil)
	if err == nil {
		err = json.Unmarshal(body, &page)
	}
	if err != nil {
		return page, fmt.Errorf("query %s: %w", path, err)
	}
	return page, nil
}

// Count counts what meets all conditions.
func (c *Client) Count(ctx context.Context, path string, conditions ...string) (int64, error) {
	page, err := c.QueryWith(ctx, path, url.Values{"q": conditions, "count": {strconv.FormatBool(true)}})
	return page.Total, err
}

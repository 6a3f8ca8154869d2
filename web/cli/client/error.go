package client

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// APIError is the error that the server answered with, as the wire has it.
type APIError struct {
	Code        string    `json:"code"`
	Description string    `json:"description"`
	Details     string    `json:"details"`
	Cause       *APIError `json:"cause"`
	// Opaque is what only Kumo says beside what the wire has.
	Opaque struct {
		// Advice tells by language what to do.
		Advice map[string]string `json:"advice"`
	} `json:"opaque"`
}

// Error returns the details of the innermost cause that has any, and the code
// for those who look it up.
func (e *APIError) Error() string {
	text := e.Details
	if text == "" {
		text = e.Description
	}
	for cause := e.Cause; cause != nil; cause = cause.Cause {
		if cause.Details != "" && !strings.Contains(text, cause.Details) {
			text += ": " + cause.Details
		}
	}
	return strings.TrimSuffix(text, ".") + " [" + e.Code + "]"
}

// Unwrap gives the class of the code, so that errors.Is works on it.
func (e *APIError) Unwrap() error {
	switch e.Code {
	case "SYS.1007":
		return errs.Invalid
	case "SYS.1003":
		return errs.NotFound
	case "SYS.1006":
		return errs.Refused
	case "SYS.1001":
		return errs.Timeout
	case "SYS.1017":
		return errs.Cancelled
	case "ID.1000", "ID.1001":
		return errs.Unauthenticated
	case "ID.1002":
		return errs.Denied
	case "ID.1003", "ID.1006":
		return errs.Exhausted
	}
	return errs.Internal
}

// Advice says what a person at the command line can do, "" when the error's own
// text has to do. What the server advises is taken in the language, if it has it.
func (e *APIError) Advice(language string) string {
	switch e.Code {
	case "ID.1000":
		return "check account and password"
	case "ID.1001":
		return "sign in with kumo login"
	case "ID.1002":
		return "ask the administrator, or sign in as another account"
	case "ID.1006":
		return "sign out elsewhere with kumo logout"
	}
	return cmp.Or(e.Opaque.Advice[language], e.Opaque.Advice["en"])
}

// answerOf turns status and body into a result or an error.
func answerOf(status int, body []byte) (json.RawMessage, error) {
	switch status {
	case http.StatusOK:
		if len(body) == 0 {
			body = []byte("{}")
		}
		if !json.Valid(body) {
			return nil, errs.New(errs.Internal, "server", "its answer is no JSON: %.100s", body).
				WithAdvice("check that --server names a Kumo server")
		}
		return body, nil
	case http.StatusServiceUnavailable:
		var wrapped struct {
			Error *APIError `json:"error"`
		}
		if err := json.Unmarshal(body, &wrapped); err == nil && wrapped.Error != nil {
			return nil, wrapped.Error
		}
	}
	class := errs.Internal
	switch status {
	case http.StatusBadRequest:
		class = errs.Invalid
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		class = errs.NotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		class = errs.Denied
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		class = errs.Unavailable
	}
	text := strings.TrimSpace(string(body[:min(len(body), 500)]))
	return nil, errs.New(class, "server", "answered %d: %s", status, text)
}

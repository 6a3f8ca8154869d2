package action

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"unicode/utf8"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// StatusAPIError is the HTTP status of every API error (catalogue README,
// section 6): clients take other statuses for failures of HTTP itself.
const StatusAPIError = http.StatusServiceUnavailable

// wireCode is what a class becomes on the wire.
type wireCode struct{ code, description string }

// codes is the one table from error class to ZStack code and its fixed text.
var codes = map[errs.Class]wireCode{
	errs.Invalid:         {"SYS.1007", "An argument of the API message is invalid"},
	errs.NotFound:        {"SYS.1003", "The resource does not exist"},
	errs.Exists:          {"SYS.1006", "The operation failed: such a resource exists"},
	errs.Refused:         {"SYS.1006", "The operation was refused"},
	errs.Exhausted:       {"SYS.1006", "The operation failed: no capacity is left"},
	errs.Denied:          {"ID.1002", "The caller has no permission for this operation"},
	errs.Unauthenticated: {"ID.1001", "The session is invalid or has expired"},
	errs.Unavailable:     {"SYS.1006", "The operation failed: a part of the system cannot be reached"},
	errs.Timeout:         {"SYS.1001", "The operation timed out"},
	errs.Cancelled:       {"SYS.1017", "The operation was cancelled"},
	errs.Unsupported:     {"SYS.1013", "The operation is not supported here"},
	errs.Internal:        {"SYS.1000", "An internal error happened"},
}

// special are the codes that WithCode may set, with their fixed texts.
var special = map[string]string{
	"ID.1000":              "Wrong account name or password",
	"ID.1003":              "The quota is exceeded",
	"ID.1006":              "There are too many sessions",
	"HOST.1000":            "The host cannot be added",
	"HOST.1010":            "The host is disconnected",
	"HOST_ALLOCATION.1000": "No host can run the virtual machine",
}

// ErrorCode is an error as clients get it.
type ErrorCode struct {
	Code        string         `json:"code"`
	Description string         `json:"description,omitempty"`
	Details     string         `json:"details,omitempty"`
	Elaboration string         `json:"elaboration,omitempty"`
	Cause       *ErrorCode     `json:"cause,omitempty"`
	Causes      []*ErrorCode   `json:"causes,omitempty"`
	Opaque      map[string]any `json:"opaque,omitempty"`
}

// maxDetails is the wire's limit for the details of an error.
const maxDetails = 4096

// coded gives an error a code that its class does not have.
type coded struct {
	code string
	err  error
}

// WithCode returns err with its own ZStack code (ID.1000, …) in place of its
// class's. nil stays nil.
func WithCode(code string, err error) error {
	if err == nil {
		return nil
	}
	return &coded{code: code, err: err}
}

func (c *coded) Error() string { return c.err.Error() }
func (c *coded) Unwrap() error { return c.err }

// Wire converts an error for clients. Internal errors keep their text: it
// names objects, never secrets. nil gives nil.
func Wire(err error) *ErrorCode {
	return wire(err, 0)
}

func wire(err error, depth int) *ErrorCode {
	if err == nil {
		return nil
	}
	var done *ErrorCodeError
	if errors.As(err, &done) {
		return done.Code
	}
	class := errs.ClassOf(err)
	w, ok := codes[class]
	if !ok {
		w = codes[errs.Internal]
	}
	out := &ErrorCode{Code: w.code, Description: w.description, Details: clip(err.Error())}
	if looked := errs.ConsideredOf(err); depth == 0 && len(looked) > 0 {
		out.Opaque = map[string]any{"considered": looked}
	}
	var c *coded
	if errors.As(err, &c) {
		out.Code = c.code
		out.Description = description(c.code, out.Description)
	}
	var e *errs.Error
	if depth < 4 && errors.As(err, &e) && e.Err != nil {
		var inner *errs.Error
		if errors.As(e.Err, &inner) {
			out.Cause = wire(e.Err, depth+1)
		}
	}
	return out
}

// description returns the fixed text of a code, or other for an unknown one.
func description(code, other string) string {
	if d, ok := special[code]; ok {
		return d
	}
	if code == codes[errs.Refused].code { // several classes have it
		return codes[errs.Refused].description
	}
	for _, c := range codes {
		if c.code == code {
			return c.description
		}
	}
	return other
}

func clip(s string) string {
	if len(s) <= maxDetails {
		return s
	}
	i := maxDetails
	for i > 0 && !utf8.RuneStart(s[i]) {
		i--
	}
	return s[:i]
}

// ErrorCodeError is an error read back from its wire form (a job of before a
// restart): converting it again gives the same.
type ErrorCodeError struct{ Code *ErrorCode }

// Error returns the details.
func (e *ErrorCodeError) Error() string { return e.Code.Code + ": " + e.Code.Details }

// EncodeError writes an error as text for the database, with its wire code.
func EncodeError(err error) string {
	if err == nil {
		return ""
	}
	b, merr := json.Marshal(Wire(err))
	if merr != nil { // only Opaque could fail; nothing sets it to what JSON cannot say
		return err.Error()
	}
	return string(b)
}

// DecodeError reads what EncodeError wrote; "" is nil. Other text becomes an
// internal error with that text.
func DecodeError(text string) error {
	if text == "" {
		return nil
	}
	var c ErrorCode
	if err := json.Unmarshal([]byte(text), &c); err != nil || c.Code == "" {
		return errs.New(errs.Internal, "", "%s", text)
	}
	return &ErrorCodeError{Code: &c}
}

// ErrorBody returns {"error":…} for clients.
func ErrorBody(err error) json.RawMessage {
	b, merr := json.Marshal(struct {
		Error *ErrorCode `json:"error"`
	}{Wire(err)})
	if merr != nil { // only Opaque could fail; nothing sets it to what JSON cannot say
		return json.RawMessage(`{"error":{"code":"SYS.1000","description":"An internal error happened"}}`)
	}
	return b
}

// HTTPError is a failure of the HTTP layer: a status with bare text.
type HTTPError struct {
	Status int
	Text   string
}

// Error returns the text.
func (e *HTTPError) Error() string { return e.Text }

// HTTPErrorf makes an HTTPError.
func HTTPErrorf(status int, format string, args ...any) *HTTPError {
	return &HTTPError{Status: status, Text: fmt.Sprintf(format, args...)}
}

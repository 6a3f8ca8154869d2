// Package errs has the classes of errors that Kumo knows. An error says what
// was being done to which object, why it failed and what to do; its class
// decides the HTTP status, the ZStack code and the gRPC code, each in one table
// (core/action for the first two, pluginsdk for the last).
package errs

import (
	"context"
	"errors"
	"fmt"
)

// Class is a kind of failure. A Class is itself an error, so that
// errors.Is(err, errs.NotFound) asks for it.
type Class string

// Error returns the class's name, which is also its name on the plugin wire.
func (c Class) Error() string { return string(c) }

// The classes. Their names are part of the plugin contract.
const (
	// Invalid: an argument is wrong; repeating the call cannot help.
	Invalid Class = "invalid-argument"
	// NotFound: the named object does not exist.
	NotFound Class = "not-found"
	// Exists: an object with this identity, but other content, exists.
	Exists Class = "already-exists"
	// Refused: the object's state, or a rule, forbids the operation now.
	Refused Class = "refused"
	// Exhausted: capacity, addresses or quota are used up.
	Exhausted Class = "exhausted"
	// Denied: the caller may not do this.
	Denied Class = "denied"
	// Unauthenticated: the caller is not known, or the session has ended.
	Unauthenticated Class = "unauthenticated"
	// Unavailable: a host, storage or plugin cannot be reached; a repeat may
	// succeed.
	Unavailable Class = "unavailable"
	// Timeout: no answer in time; the operation may have happened.
	Timeout Class = "timeout"
	// Cancelled: the caller gave up.
	Cancelled Class = "cancelled"
	// Unsupported: the plugin does not implement the optional operation.
	Unsupported Class = "unsupported"
	// Internal: a defect, or damage that needs a person.
	Internal Class = "internal"
)

// Error is an error with its class, object and advice.
type Error struct {
	// Class decides how the error is told to clients.
	Class Class
	// Object names what the error is about, such as "volume 5d5b…".
	Object string
	// Message tells cause and circumstances, lower case, without a full stop.
	Message string
	// Advice says what to do about it; may be empty.
	Advice string
	// Err is the cause; may be nil.
	Err error
	// Considered are the objects that were looked at for what was wanted, and why
	// each would not do; may be empty.
	Considered []Considered
	// Check names the check of a host that has failed, such as "agent": the host
	// cannot be used as a whole, so what else was asked of it fails as well. It is
	// empty when the error is about its object alone.
	Check string
}

// Considered is an object that would not do, and why.
type Considered struct {
	Type string `json:"type"`
	UUID string `json:"uuid"`
	Name string `json:"name"`
	Why  string `json:"why"`
}

// ConsideredOf returns what the outermost Error in err's chain that considered
// anything has looked at.
func ConsideredOf(err error) []Considered {
	var e *Error
	for errors.As(err, &e) {
		if len(e.Considered) > 0 {
			return e.Considered
		}
		err = e.Err
	}
	return nil
}

// CheckOf returns the check of a host that err, or an error in its chain, says has
// failed; "" when none does.
func CheckOf(err error) string {
	var e *Error
	for errors.As(err, &e) {
		if e.Check != "" {
			return e.Check
		}
		err = e.Err
	}
	return ""
}

// Error returns "object: message: cause (advice)", without the empty parts.
func (e *Error) Error() string {
	s := e.Message
	if e.Object != "" {
		if s != "" {
			s = e.Object + ": " + s
		} else {
			s = e.Object
		}
	}
	if e.Err != nil {
		if s != "" {
			s += ": "
		}
		s += e.Err.Error()
	}
	if s == "" {
		s = string(e.Class)
	}
	if e.Advice != "" {
		s += " (" + e.Advice + ")"
	}
	return s
}

// Unwrap gives errors.Is and errors.As the class and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Class}
	}
	return []error{e.Class, e.Err}
}

// New makes an error of a class about an object: errs.New(errs.NotFound,
// "host 5d5b…", "no such host").
func New(c Class, object, format string, args ...any) *Error {
	return &Error{Class: c, Object: object, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an error of a class about an object, with a cause.
func Wrap(c Class, object string, err error, format string, args ...any) *Error {
	return &Error{Class: c, Object: object, Message: fmt.Sprintf(format, args...), Err: err}
}

// WithAdvice returns e with what to do about it.
func (e *Error) WithAdvice(format string, args ...any) *Error {
	e.Advice = fmt.Sprintf(format, args...)
	return e
}

// OfCheck returns e as an error that says that a check of a host has failed.
func (e *Error) OfCheck(name string) *Error {
	e.Check = name
	return e
}

// ClassOf returns the class of err: that of the outermost Error or Class in
// its chain, Timeout and Cancelled for the context's errors, else Internal. It
// returns "" for nil.
func ClassOf(err error) Class {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	var c Class
	if errors.As(err, &c) {
		return c
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.Is(err, context.Canceled):
		return Cancelled
	}
	return Internal
}

// Retryable reports whether a repeat of the same call may succeed.
func Retryable(err error) bool {
	switch ClassOf(err) {
	case Unavailable, Timeout:
		return true
	}
	return false
}

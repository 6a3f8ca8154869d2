// Package errtext keeps an error in a column of text, so that one which
// happened before a restart is told as it was: class, object, message, advice
// and causes. It must not import anything of core.
package errtext

import (
	"encoding/json"
	"errors"
	"unicode/utf8"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// maxDepth bounds the chain of causes that is kept; deeper ones are kept as
// text only.
const maxDepth = 8

// record is the stored form of one error of the chain.
type record struct {
	Class   errs.Class `json:"class"`
	Object  string     `json:"object,omitempty"`
	Message string     `json:"message,omitempty"`
	Advice  string     `json:"advice,omitempty"`
	Cause   *record    `json:"cause,omitempty"`
}

// Encode returns err as JSON text; "" for nil.
func Encode(err error) string {
	if err == nil {
		return ""
	}
	text, jsonErr := json.Marshal(toRecord(err, 0))
	if jsonErr != nil { // strings always marshal; kept so that no error is lost
		return err.Error()
	}
	return string(text)
}

func toRecord(err error, depth int) *record {
	e, ok := err.(*errs.Error)
	if !ok {
		// What stands between err and the next *errs.Error is in err's text
		// already, so the text is all there is to keep.
		return &record{Class: errs.ClassOf(err), Message: err.Error()}
	}
	r := &record{Class: e.Class, Object: e.Object, Message: e.Message, Advice: e.Advice}
	switch {
	case e.Err == nil:
	case depth+1 >= maxDepth:
		r.Cause = &record{Class: errs.ClassOf(e.Err), Message: e.Err.Error()}
	default:
		r.Cause = toRecord(e.Err, depth+1)
	}
	return r
}

// maxShort bounds what Short keeps, in bytes.
const maxShort = 4000

// Short bounds a text that is told in a row, such as a reason: what is too long
// ends with " …".
func Short(text string) string {
	if len(text) <= maxShort {
		return text
	}
	end := maxShort
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + " …"
}

// Decode returns the error that Encode kept; nil for "". Text that Encode did
// not make becomes an errs.Internal with that text.
func Decode(text string) error {
	if text == "" {
		return nil
	}
	var r record
	if err := json.Unmarshal([]byte(text), &r); err != nil || r.Class == "" {
		return errs.Wrap(errs.Internal, "", errors.New(text), "")
	}
	return fromRecord(&r)
}

func fromRecord(r *record) *errs.Error {
	e := &errs.Error{Class: r.Class, Object: r.Object, Message: r.Message, Advice: r.Advice}
	if r.Cause != nil {
		e.Err = fromRecord(r.Cause)
	}
	return e
}

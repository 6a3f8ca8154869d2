package query

import (
	"encoding/json"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// reader goes through the JSON arrays that a database makes. It checks what it
// relies on, which is less than all of JSON: the database wrote it.
type reader struct {
	text  string
	at    int
	first bool // no element of the open array has been read
}

func (r *reader) broken(what string) error {
	near := r.text[min(r.at, len(r.text)):]
	return errs.New(errs.Internal, "answer of the database", "%s is missing at byte %d, before %.40q", what, r.at, near)
}

func (r *reader) blanks() {
	for r.at < len(r.text) && (r.text[r.at] == ' ' || r.text[r.at] == '\n' || r.text[r.at] == '\t' || r.text[r.at] == '\r') {
		r.at++
	}
}

// is steps over a byte if it comes next.
func (r *reader) is(c byte) bool {
	if r.blanks(); r.at < len(r.text) && r.text[r.at] == c {
		r.at++
		return true
	}
	return false
}

func (r *reader) open() error {
	if !r.is('[') {
		return r.broken("[")
	}
	r.first = true
	return nil
}

func (r *reader) close() error {
	if !r.is(']') {
		return r.broken("]")
	}
	r.first = false
	return nil
}

// end makes sure that nothing follows.
func (r *reader) end() error {
	if r.blanks(); r.at < len(r.text) {
		return r.broken("the end")
	}
	return nil
}

// more reports whether the open array has another element.
func (r *reader) more() bool {
	r.blanks()
	return r.at < len(r.text) && r.text[r.at] != ']'
}

// next steps to the next element.
func (r *reader) next() error {
	if !r.first && !r.is(',') {
		return r.broken(",")
	}
	r.first = false
	r.blanks()
	return nil
}

// value reads an element that is no array, as it is written.
func (r *reader) value() (string, error) {
	if err := r.next(); err != nil {
		return "", err
	}
	if r.at < len(r.text) && r.text[r.at] == '"' {
		return r.quoted()
	}
	begin := r.at
	for r.at < len(r.text) && strings.IndexByte(",] \n\t\r[{", r.text[r.at]) < 0 {
		r.at++
	}
	if r.at == begin {
		return "", r.broken("a value")
	}
	return r.text[begin:r.at], nil
}

// quoted reads a string with its quotes.
func (r *reader) quoted() (string, error) {
	begin := r.at
	for from := r.at + 1; ; {
		n := strings.IndexByte(r.text[from:], '"')
		if n < 0 {
			return "", r.broken(`"`)
		}
		end := from + n
		slashes := 0
		for r.text[end-1-slashes] == '\\' {
			slashes++
		}
		if from = end + 1; slashes%2 == 0 {
			r.at = from
			return r.text[begin:from], nil
		}
	}
}

// optional reads an element that is an array, whose elements fn reads, or null.
// Some databases write an array inside of another as a string.
func (r *reader) optional(fn func(in *reader) error) error {
	if err := r.next(); err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(r.text[r.at:], "null"):
		r.at += len("null")
		return nil
	case strings.HasPrefix(r.text[r.at:], `"`):
		text, err := r.quoted()
		if err != nil {
			return err
		}
		in := &reader{}
		if in.text, err = unquote(text); err != nil {
			return errs.Wrap(errs.Internal, "answer of the database", err, "a list cannot be read")
		}
		if err := in.array(fn); err != nil {
			return err
		}
		return in.end()
	}
	return r.array(fn)
}

// array reads an array, whose elements fn reads.
func (r *reader) array(fn func(in *reader) error) error {
	if err := r.open(); err != nil {
		return err
	}
	if err := fn(r); err != nil {
		return err
	}
	return r.close()
}

// unquote is json.Unmarshal of a string, and quick for one with no other escapes
// than quotes and backslashes have: an array in a string has those.
func unquote(quoted string) (string, error) {
	inner := quoted[1 : len(quoted)-1]
	b := make([]byte, 0, len(inner))
	for {
		n := strings.IndexByte(inner, '\\')
		if n < 0 {
			return string(append(b, inner...)), nil
		}
		if inner[n+1] != '"' && inner[n+1] != '\\' {
			var text string
			return text, json.Unmarshal([]byte(quoted), &text)
		}
		b = append(append(b, inner[:n]...), inner[n+1])
		inner = inner[n+2:]
	}
}

package action

import (
	"crypto/rand"
	"encoding/hex"
	"reflect"
	"regexp"
	"slices"
	"unicode/utf8"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// uuidPattern is UUID version 1 to 5 without dashes, lower case.
var uuidPattern = regexp.MustCompile(`^[0-9a-f]{12}[1-5][0-9a-f]{3}[89ab][0-9a-f]{15}$`)

// IsUUID tells whether s is a UUID as this API writes them.
func IsUUID(s string) bool { return uuidPattern.MatchString(s) }

// NewUUID returns a UUID of 122 random bits (version 4, RFC 9562) without
// dashes, for those that open something, such as sessions. Others are better
// made by resource.NewUUID, which keeps indexes compact.
func NewUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return hex.EncodeToString(b[:])
}

// checkFields applies the constraints of every parameter. Errors are
// errs.Invalid.
func (a *Action) checkFields(params any, b *base) error {
	if b.missing != "" {
		return errs.New(errs.Invalid, "parameter "+b.missing+" of "+a.Message, "it is required")
	}
	if err := b.checkTags(a.Message); err != nil {
		return err
	}
	p := reflect.ValueOf(params).Elem()
	for i := range a.fields {
		f := &a.fields[i]
		v, given := f.value(p)
		if err := f.check(a.Message, v, given); err != nil {
			return err
		}
	}
	return nil
}

// value returns the parameter's value, without pointer, and whether one was
// given. Zero values of plain fields count as not given for texts, lists and
// maps only: an int of 0 may well have been sent.
func (f *field) value(p reflect.Value) (reflect.Value, bool) {
	if p.Kind() == reflect.Map {
		v := p.MapIndex(reflect.ValueOf(f.Name))
		if !v.IsValid() {
			return v, false
		}
		return v.Elem(), true
	}
	v := p.FieldByIndex(f.index)
	if f.pointer {
		if v.IsNil() {
			return v, false
		}
		return v.Elem(), true
	}
	switch f.kind {
	case kindText:
		return v, v.Len() > 0
	case kindList, kindMap:
		return v, !v.IsNil()
	case kindOther:
		return v, !v.IsZero()
	}
	return v, true
}

func (f *field) check(message string, v reflect.Value, given bool) error {
	bad := func(format string, args ...any) error {
		return errs.New(errs.Invalid, "parameter "+f.Name+" of "+message, format, args...)
	}
	if !given {
		if f.Required {
			return bad("it is required")
		}
		return nil
	}
	switch f.kind {
	case kindText:
		return f.checkText(v.String(), bad)
	case kindInt:
		return f.checkInt(v.Int(), bad)
	case kindMap:
		if v.Len() > maxElements {
			return bad("it has %d entries, at most %d are allowed", v.Len(), maxElements)
		}
		for it := v.MapRange(); it.Next(); {
			if err := f.checkCharacters(it.Key().String(), bad); err != nil {
				return err
			}
			if f.elem == kindText {
				if err := f.checkCharacters(it.Value().String(), bad); err != nil {
					return err
				}
			}
		}
	case kindList:
		if v.Len() == 0 && f.NonEmpty {
			return bad("the list must not be empty")
		}
		if v.Len() > maxElements {
			return bad("it has %d elements, at most %d are allowed", v.Len(), maxElements)
		}
		for i := range v.Len() {
			var err error
			switch f.elem {
			case kindText:
				err = f.checkText(v.Index(i).String(), bad)
			case kindInt:
				err = f.checkInt(v.Index(i).Int(), bad)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *field) checkText(s string, bad func(string, ...any) error) error {
	if s == "" {
		if f.NoEmptyString || f.Required {
			return bad("it must not be empty")
		}
		return nil
	}
	shown := s
	if f.Secret {
		shown = "***"
	}
	if err := f.checkCharacters(s, bad); err != nil {
		return err
	}
	if n := utf8.RuneCountInString(s); f.MaxLength > 0 && n > f.MaxLength {
		return bad("it has %d characters, at most %d are allowed", n, f.MaxLength)
	} else if n < f.MinLength {
		return bad("it has %d characters, at least %d are needed", n, f.MinLength)
	}
	if len(f.Values) > 0 && !slices.Contains(f.Values, s) {
		return bad("%q is none of %q", shown, f.Values)
	}
	return nil
}

// checkCharacters refuses what no text may hold. A secret is never shown, so it
// may hold anything.
func (f *field) checkCharacters(s string, bad func(string, ...any) error) error {
	if !utf8.ValidString(s) {
		return bad("it is not valid UTF-8")
	}
	if f.Secret {
		return nil
	}
	if r := harmful(s, isName(f.Name)); r >= 0 {
		return bad("it has the character %U, which is not allowed", r)
	}
	return nil
}

func (f *field) checkInt(n int64, bad func(string, ...any) error) error {
	if f.Range != nil && (n < f.Range[0] || n > f.Range[1]) {
		return bad("%d is not between %d and %d", n, f.Range[0], f.Range[1])
	}
	return nil
}

// targets returns the resources that the parameters name, with the index of
// their field.
func (a *Action) targets(params any) ([]Target, []int) {
	p := reflect.ValueOf(params).Elem()
	var out []Target
	var at []int
	add := func(i int, uuid string) {
		if uuid != "" {
			out, at = append(out, Target{Type: a.fields[i].Resource, UUID: uuid}), append(at, i)
		}
	}
	for i := range a.fields {
		f := &a.fields[i]
		if f.Resource == "" {
			continue
		}
		v, given := f.value(p)
		if !given {
			continue
		}
		switch {
		case f.kind == kindText:
			add(i, v.String())
		case f.kind == kindList && f.elem == kindText:
			for j := range v.Len() {
				add(i, v.Index(j).String())
			}
		}
	}
	return out, at
}

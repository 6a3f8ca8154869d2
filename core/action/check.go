package action

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
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
		if given && f.holds != nil {
			f.spell(p, v)
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
	case kindMap, kindOther:
		return f.checkWithin(v, bad)
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
			default:
				err = f.checkElement(message, i, v.Index(i), bad)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// checkElement checks an element of a list that is no plain value. Members are put in
// the one spelling of their kind.
func (f *field) checkElement(message string, i int, v reflect.Value, bad func(string, ...any) error) error {
	for j := range f.members {
		m := f.members[j]
		m.Name = f.Name + "[" + strconv.Itoa(i) + "]." + m.Name
		value, given := m.value(v)
		if err := m.check(message, value, given); err != nil {
			return err
		}
		if given && m.holds != nil {
			m.spell(v, value)
		}
	}
	if f.members != nil {
		return nil
	}
	return f.checkWithin(v, bad)
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
	limit := f.limit()
	if n := utf8.RuneCountInString(s); n > limit {
		return bad("it has %d characters, at most %d are allowed", n, limit)
	} else if n < f.MinLength {
		return bad("it has %d characters, at least %d are needed", n, f.MinLength)
	}
	if f.holds != nil {
		parse := f.holds.Parse
		if f.Secret {
			parse = f.holds.ParseSecret
		}
		if _, err := parse(s); err != nil {
			return bad("%v", err)
		}
	}
	if len(f.Values) > 0 && !slices.Contains(f.Values, s) {
		return bad("%q is none of %q", shown, f.Values)
	}
	return nil
}

// limit is how many characters a text may have.
func (f *field) limit() int {
	if f.holds != nil {
		return cmp.Or(f.MaxLength, f.Most, f.holds.Max)
	}
	return cmp.Or(f.MaxLength, f.Most, defaultText)
}

// checkWithin applies the bounds of texts, lists and objects to all that is in a
// value.
func (f *field) checkWithin(v reflect.Value, bad func(string, ...any) error) error {
	switch v.Kind() {
	case reflect.String:
		if n := utf8.RuneCountInString(v.String()); n > f.limit() {
			return bad("a text in it has %d characters, at most %d are allowed", n, f.limit())
		}
		return f.checkCharacters(v.String(), bad)
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return f.checkWithin(v.Elem(), bad)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if err := f.checkWithin(v.Field(i), bad); err != nil {
				return err
			}
		}
	case reflect.Map, reflect.Slice:
		if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 { // JSON that is read later
			if v.Len() > maxJSON {
				return bad("it has %d bytes, at most %d are allowed", v.Len(), maxJSON)
			}
			return nil
		}
		if v.Len() > maxElements {
			return bad("it has %d elements, at most %d are allowed", v.Len(), maxElements)
		}
		if v.Kind() == reflect.Slice {
			for i := range v.Len() {
				if err := f.checkWithin(v.Index(i), bad); err != nil {
					return err
				}
			}
			return nil
		}
		for it := v.MapRange(); it.Next(); {
			if err := cmp.Or(f.checkWithin(it.Key(), bad), f.checkWithin(it.Value(), bad)); err != nil {
				return err
			}
		}
	}
	return nil
}

// spell puts the one spelling of a kind's values, which were checked, in the place
// of what the client wrote. An empty text is none.
func (f *field) spell(p, v reflect.Value) {
	one := func(s string) string {
		spelling, err := f.holds.Parse(s)
		if err != nil {
			return s
		}
		return spelling
	}
	switch {
	case f.kind == kindList:
		for i := range v.Len() {
			v.Index(i).SetString(one(v.Index(i).String()))
		}
	case v.CanSet():
		v.SetString(one(v.String()))
	default: // of a dynamic action, whose parameters are a map
		p.SetMapIndex(reflect.ValueOf(f.Name), reflect.ValueOf(one(v.String())))
	}
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
	if r := kinds.Harmful(s, resource.IsName(f.Name)); r >= 0 {
		return bad("it has the character %U, which is not allowed", r)
	}
	return nil
}

func (f *field) checkInt(n int64, bad func(string, ...any) error) error {
	low, high := int64(-maxNumber), int64(maxNumber)
	if f.Range != nil {
		low, high = f.Range[0], f.Range[1]
	}
	if n < low || n > high {
		return bad("%d is not between %d and %d", n, low, high)
	}
	return nil
}

// targets returns the resources that the parameters name, with the field of each.
func (a *Action) targets(params any) (out []Target, of []*field) {
	p := reflect.ValueOf(params).Elem()
	add := func(f *field, v reflect.Value) {
		texts := []string{}
		switch {
		case f.Resource == "":
		case f.kind == kindText:
			texts = append(texts, v.String())
		case f.kind == kindList && f.elem == kindText:
			for j := range v.Len() {
				texts = append(texts, v.Index(j).String())
			}
		}
		for _, uuid := range texts {
			if uuid != "" {
				out, of = append(out, Target{Type: f.Resource, UUID: uuid}), append(of, f)
			}
		}
	}
	for i := range a.fields {
		f := &a.fields[i]
		v, given := f.value(p)
		if !given {
			continue
		}
		add(f, v)
		for j := range f.members {
			for n := range v.Len() {
				if member, given := f.members[j].value(v.Index(n)); given {
					add(&f.members[j], member)
				}
			}
		}
	}
	return out, of
}

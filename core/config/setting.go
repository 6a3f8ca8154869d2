package config

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
)

// Setting declares one setting. Its default is here and nowhere else.
type Setting struct {
	// Category and Name identify it: "host", "ping.interval".
	Category, Name string
	// Type is "string", "bool", "int", "long", "float", or "size" (bytes, also
	// written 512M, 1G: powers of 1024).
	Type string
	// Default is the value until somebody sets another.
	Default string
	// Min and Max are the inclusive bounds of numbers; both zero is none, and
	// a zero Max alone has no upper bound.
	Min, Max float64
	// Holds is the kind of a string (kinds.All): a value is checked by that, and
	// kept in its one spelling; an empty one is none.
	Holds string
	// Secret: a string without a default whose value clients never see again. It is
	// sealed in the database, shown as stars, and told to who reads it by String.
	Secret bool
	// Values are the only texts allowed, when there are any.
	Values []string
	// Captions are what people call Values, when schema has no words for them.
	Captions map[string]resource.Caption
	// Resources are the types whose resources may override it, the nearest
	// first: Host, Cluster, Zone. A resource without a value of its own takes
	// that of the next one it points to.
	Resources []string
	// Doc says what it does, with its unit.
	Doc string
	// Caption is what people call it, Unit that of its number ("seconds"); a
	// size is always in bytes.
	Caption resource.Caption
	Unit    string
	// Validate is a further check of a new value; nil accepts all.
	Validate func(value string) error
	// Apply brings rows up to date in the transaction that changes the global
	// value to one that was checked; nil has none that depend on it. It may be
	// called with the value that counts already.
	Apply func(ctx context.Context, tx *store.Tx, value string) error
}

type key struct{ category, name string }

func (s *Setting) key() key { return key{s.Category, s.Name} }

func (s *Setting) label() string { return "setting " + s.Category + "/" + s.Name }

// parsed is a value in all the forms that readers want.
type parsed struct {
	text    string
	integer int64
	float   float64
	boolean bool
}

// masked is what clients see of a secret value.
const masked = "*****"

// shown is what clients see of a value.
func (s *Setting) shown(text string) string {
	if s.Secret && text != "" {
		return masked
	}
	return text
}

// check finds a declaration that contradicts itself.
func (s *Setting) check() error {
	_, known := kinds.Of(s.Holds)
	switch {
	case s.Holds != "" && (!known || s.Type != "string"):
		return errs.New(errs.Invalid, s.label(), "it holds %q, which is no kind of text (pluginsdk/kinds)", s.Holds)
	case s.Secret && (s.Type != "string" || s.Default != "" || len(s.Values) > 0 || s.Apply != nil):
		return errs.New(errs.Invalid, s.label(), "a secret is a text without a default, and no choice")
	}
	return nil
}

// parse checks a value. errs.Invalid when it does not fit; the error has no secret.
func (s *Setting) parse(text string) (parsed, error) {
	v := parsed{text: text}
	bad := func(format string, args ...any) (parsed, error) {
		return v, errs.New(errs.Invalid, s.label(), format, args...)
	}
	if len(text) > maxValue {
		return bad("the value has %d bytes, at most %d are allowed", len(text), maxValue)
	}
	var err error
	switch s.Type {
	case "string":
		if v.text, err = s.spell(text); err != nil {
			return bad("%v", err)
		}
	case "bool":
		switch {
		case strings.EqualFold(text, "true"):
			v.boolean = true
		case !strings.EqualFold(text, "false"):
			return bad("%q is neither true nor false", text)
		}
	case "int", "long":
		if v.integer, err = strconv.ParseInt(strings.TrimSpace(text), 10, 64); err != nil {
			return bad("%q is not a whole number", text)
		}
		if s.Type == "int" && (v.integer > math.MaxInt32 || v.integer < math.MinInt32) {
			return bad("%s does not fit in 32 bits", text)
		}
		v.float = float64(v.integer)
	case "size":
		if v.integer, err = ParseSize(text); err != nil {
			return bad("%q is not a size such as 1048576, 512M or 1G", text)
		}
		v.float = float64(v.integer)
	case "float":
		if v.float, err = strconv.ParseFloat(strings.TrimSpace(text), 64); err != nil || math.IsNaN(v.float) || math.IsInf(v.float, 0) {
			return bad("%q is not a number", text)
		}
		v.integer = int64(v.float)
	default:
		return bad("its declared type %q is unknown", s.Type)
	}
	if numeric := s.Type != "string" && s.Type != "bool"; numeric && (s.Min != 0 || s.Max != 0) {
		if v.float < s.Min || (s.Max != 0 && v.float > s.Max) {
			return bad("%s is not between %v and %v", text, s.Min, s.Max)
		}
	}
	if len(s.Values) > 0 && !slices.Contains(s.Values, text) {
		return bad("%q is none of %q", text, s.Values)
	}
	if s.Validate != nil {
		if err := s.Validate(text); err != nil {
			return v, errs.Wrap(errs.Invalid, s.label(), err, "")
		}
	}
	return v, nil
}

// spell returns the one spelling of a text.
func (s *Setting) spell(text string) (string, error) {
	k, holds := kinds.Of(s.Holds)
	switch {
	case !holds:
		return text, nil
	case strings.TrimSpace(text) == "":
		return "", nil
	case s.Secret:
		return k.ParseSecret(text)
	}
	return k.Parse(text)
}

const maxValue = 64 << 10

// ParseSize reads a number of bytes: digits with an optional unit B, K, M, G, T
// or P (powers of 1024), which may be followed by B.
func ParseSize(text string) (int64, error) {
	s := strings.ToUpper(strings.TrimSpace(text))
	factor := int64(1)
	if n := len(strings.TrimRight(s, "BKMGTP")); n < len(s) {
		unit := s[n:]
		s = s[:n]
		if unit != "B" {
			unit = strings.TrimSuffix(unit, "B")
			i := strings.Index("KMGTP", unit)
			if len(unit) != 1 || i < 0 {
				return 0, strconv.ErrSyntax
			}
			factor = 1 << (10 * (i + 1))
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil {
		return 0, err
	}
	if n < 0 || n > math.MaxInt64/factor {
		return 0, strconv.ErrRange
	}
	return n * factor, nil
}

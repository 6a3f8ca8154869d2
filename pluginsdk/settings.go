package pluginsdk

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// longestSetting bounds a setting that says nothing else, in characters.
const longestSetting = 65536

// ParseSetting checks a value by the setting's declaration, and returns its one
// spelling; the core does so before it configures a plugin. An empty string is
// always one that is not set. Errors are errs.Invalid and do not have a secret.
func ParseSetting(d *pluginv1.SettingDecl, text string) (string, error) {
	bad := func(format string, args ...any) (string, error) {
		return "", errs.New(errs.Invalid, "setting "+d.GetName(), format, args...)
	}
	shown := strconv.Quote(text)
	if utf8.RuneCountInString(text) > 80 {
		shown = strconv.Quote(string([]rune(text)[:80])) + "…"
	}
	if d.GetSecret() {
		shown = "the value"
	}
	longest := longestSetting
	if d.GetMaxLength() > 0 {
		longest = int(d.GetMaxLength())
	}
	switch d.GetKind() {
	case "", "string":
		if text == "" {
			return "", nil
		}
		if n := utf8.RuneCountInString(text); n > longest {
			return bad("it has %d characters, at most %d are allowed", n, longest)
		}
		if r := kinds.Harmful(text, false); r >= 0 && !d.GetSecret() {
			return bad("it has the character %U, which is not allowed", r)
		}
		if k, holds := kinds.Of(d.GetHolds()); holds {
			parse := k.Parse
			if d.GetSecret() {
				parse = k.ParseSecret
			}
			spelling, err := parse(text)
			if err != nil {
				return bad("%v", err)
			}
			text = spelling
		}
		if len(d.GetValues()) > 0 && !slices.Contains(d.GetValues(), text) {
			return bad("%s is not one of %s", shown, strings.Join(d.GetValues(), ", "))
		}
		return text, nil
	case "int":
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil {
			return bad("%s is not a whole number", shown)
		}
		if (d.GetMin() != 0 || d.GetMax() != 0) && (n < d.GetMin() || n > d.GetMax()) {
			return bad("%s is not between %d and %d", shown, d.GetMin(), d.GetMax())
		}
		return strconv.FormatInt(n, 10), nil
	case "bool":
		on, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(text)))
		if err != nil {
			return bad("%s is neither true nor false", shown)
		}
		return strconv.FormatBool(on), nil
	}
	return bad("its kind %q is not string, int or bool", d.GetKind())
}

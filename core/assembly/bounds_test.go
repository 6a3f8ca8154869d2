package assembly_test

import (
	"cmp"
	"context"
	"maps"
	"math"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/assembly/cloudtest"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// samples are values of kinds.
var samples = map[string]string{"addr": "192.0.2.1", "addr4": "192.0.2.1", "cidr4": "192.0.2.0/24", "device": "eth0", "domain": "example", "host": "192.0.2.1",
	"key":   "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ0c4c6oYgqkq6lY3l9b2m0m7v2i0v3p0wq5n8z1x2y",
	"label": "web", "mac": "fa:00:00:00:00:01", "name": "web", "netmask4": "255.255.255.0"}

// good is a value that a parameter takes, as far as its declaration tells.
func good(p action.Param) any {
	text := "x"
	switch {
	case len(p.Values) > 0:
		text = p.Values[0]
	case p.Holds != "":
		text = samples[p.Holds]
	case p.Resource != "" || p.AnyType || strings.HasSuffix(strings.ToLower(p.Name), "uuid"):
		text = resource.NewUUID()
	case p.MinLength > 1:
		text = strings.Repeat("x", p.MinLength)
	}
	switch word := strings.TrimSuffix(p.Type, "?"); {
	case word == "int" || word == "long":
		if p.Range != nil {
			return p.Range[0]
		}
		return 1
	case word == "bool":
		return true
	case word == "double":
		return 1.5
	case word == "[]string":
		return []string{text}
	case strings.HasPrefix(word, "[]"):
		return []any{map[string]any{}}
	case word == "string":
		return text
	}
	return map[string]any{}
}

// beyond is a value that is too much, or none that is legal; nil when the type
// itself bounds a parameter.
func beyond(p action.Param) any {
	long := cmp.Or(p.MaxLength, p.Most, 4096)
	many := func(one any) []any {
		out := make([]any, 1001)
		for i := range out {
			out[i] = one
		}
		return out
	}
	switch word := strings.TrimSuffix(p.Type, "?"); {
	case word == "string" && len(p.Values) > 0:
		return "Nope"
	case word == "string":
		return strings.Repeat("x", long+1)
	case (word == "int" || word == "long") && p.Range != nil:
		if p.Range[1] < math.MaxInt64 {
			return p.Range[1] + 1
		}
		return p.Range[0] - 1
	case word == "long":
		return int64(1)<<60 + 1
	case word == "[]string":
		return many("x")
	case word == "[]int" || word == "[]long":
		return many(1)
	case strings.HasPrefix(word, "[]"):
		return many(map[string]any{})
	case strings.HasPrefix(word, "map<"):
		out := map[string]any{}
		for i := range 1001 {
			out[strings.Repeat("k", i+1)] = nil
		}
		return out
	}
	return nil
}

// Each parameter of each message has a bound, its own or that of every message,
// and what is beyond is refused by the parameter's name, before anything is done.
func TestEveryParameterIsBounded(t *testing.T) {
	c := cloudtest.New(t)
	tried := 0
	for _, a := range c.Actions.All() {
		if a.Query != "" {
			continue // conditions have bounds of their own (core/query)
		}
		params := map[string]any{}
		for _, p := range a.Params {
			if p.Required {
				params[p.Name] = good(p)
			}
		}
		for _, p := range a.Params {
			value := beyond(p)
			if value == nil || strings.HasPrefix(p.Type, "map<") {
				continue // a map's entries of null are left out
			}
			with := maps.Clone(params)
			with[p.Name] = value
			_, err := c.Actions.Do(context.Background(), action.System("36c27e8ff05c4780bf6d2fa65700f22e"), a.Message, with)
			if errs.ClassOf(err) != errs.Invalid || !strings.Contains(err.Error(), "parameter "+p.Name+" of "+a.Message) || len(err.Error()) > 2000 {
				t.Errorf("%s: %s (%s) beyond its bound: %.300v", a.Message, p.Name, p.Type, err)
			}
			tried++
		}
	}
	if tried < 300 {
		t.Errorf("only %d parameters were tried", tried)
	}
}

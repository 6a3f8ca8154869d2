package action

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Every message is bounded, whatever its handler does: lists, objects, tags, and
// what texts may be made of.
func TestBounds(t *testing.T) {
	r, _ := newTest(t)
	ran := 0
	register(r, func(context.Context, *Call, *everything) (Ref, error) { ran++; return Ref{}, nil })
	many := func(n int) string {
		b, _ := json.Marshal(make([]string, n))
		return string(b)
	}
	call := func(extra string) error {
		params := map[string]any{}
		text := `{"name":"a","zoneUuid":"` + zone1 + `"` + extra + `}`
		if err := json.Unmarshal([]byte(text), &params); err != nil {
			t.Fatal(err)
		}
		_, err := r.Do(t.Context(), System("root"), "APICreateThingMsg", params)
		return err
	}
	if err := call(""); err != nil || ran != 1 {
		t.Fatalf("a plain call: %v", err)
	}
	for what, extra := range map[string]string{
		"system tags": `,"systemTags":` + many(maxTags+1),
		"user tags":   `,"userTags":` + many(maxTags+1),
		"a tag":       `,"userTags":["` + strings.Repeat("x", maxTag+1) + `"]`,
		"ESC in tag":  `,"userTags":["\u001b[31m"]`,
		"ESC in name": `,"name":"\u001b[31m"`,
		"line end":    `,"name":"a\nb"`,
	} {
		if err := call(extra); errs.ClassOf(err) != errs.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	f := textListField("list")
	check := func(n int) error {
		a := &Action{Message: "APIListMsg", fields: []field{*f}}
		a.fields[0].index = []int{0}
		return a.checkFields(&struct{ List []string }{make([]string, n)}, &base{})
	}
	if err := check(maxElements); err != nil {
		t.Error(err)
	}
	if err := check(maxElements + 1); errs.ClassOf(err) != errs.Invalid || !strings.Contains(err.Error(), "list") {
		t.Errorf("a list of %d: %v", maxElements+1, err)
	}
}

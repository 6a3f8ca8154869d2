package catalogue

import (
	"context"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
)

func compare[P any](t *testing.T, a action.Action) string {
	t.Helper()
	r := action.NewRegistry(hclog.NewNullLogger())
	action.Register(r, a, func(context.Context, *action.Call, *P) (action.Ref, error) { return action.Ref{}, nil })
	got, _ := r.Get(a.Message)
	all, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(Compare(all[a.Message], got), "\n")
}

func TestCompare(t *testing.T) {
	type good struct {
		Name string `api:"name,required,max=255"`
		Desc string `api:"description,max=2048"`
	}
	a := action.Action{Message: "APICreateZoneMsg", Method: "POST", Path: "/zones", Async: true, Access: action.Admin, Create: true, Returns: "Zone"}
	if d := compare[good](t, a); d != "" {
		t.Errorf("a correct action: %s", d)
	}
	type bad struct {
		Name  int    `api:"name,max=8"`
		Other string `api:"other"`
	}
	a.Async, a.Access, a.Path, a.Create = false, action.Normal, "/zone", false
	d := compare[bad](t, a)
	for _, want := range []string{"path /zones is missing", "async is false", "access is normal", "create message", "parameter name: type is integer",
		"parameter name: required is false", "maxLength is 8, the catalogue says 255", "parameter other is not in the catalogue"} {
		if !strings.Contains(d, want) {
			t.Errorf("missing %q in\n%s", want, d)
		}
	}
}

package action

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/resource"
)

// Values that are known when the server starts are a parameter's only ones, and
// the first is its default where the declaration says so.
func TestOfferedValues(t *testing.T) {
	type params struct {
		Kind  string `api:"kind,first"`
		Other string `api:"other"`
	}
	offered := []resource.Value{{Name: "one", Caption: resource.Say("One", "一")}, {Name: "two"}}
	r := NewRegistry(hclog.NewNullLogger())
	Register(r, Action{Message: "APIOfferMsg", Method: "POST", Path: "/offers", Access: Admin, Values: map[string][]resource.Value{"kind": offered, "other": offered}},
		func(context.Context, *Call, *params) (Empty, error) { return Empty{}, nil })
	a, _ := r.Get("APIOfferMsg")
	for i, want := range []Param{{Default: "one"}, {Default: ""}} {
		p := a.Params[i]
		if !slices.Equal(p.Values, []string{"one", "two"}) || p.Default != want.Default || p.Captions["one"].Zh != "一" || len(p.Captions) != 1 {
			t.Errorf("parameter %+v", p)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("values of what is no parameter were accepted")
		}
	}()
	Register(r, Action{Message: "APIWrongMsg", Method: "POST", Path: "/wrongs", Access: Admin, Values: map[string][]resource.Value{"nothing": offered}},
		func(context.Context, *Call, *params) (Empty, error) { return Empty{}, nil })
}

// Blanks and line ends around tags are no part of them, wherever they are given.
func TestTagsAreTrimmed(t *testing.T) {
	for where, in := range map[string]*Input{
		"beside the parameters": {SystemTags: []string{" sshkey::ssh-rsa A\r\n"}},
		"among the parameters":  {Body: map[string]json.RawMessage{"systemTags": json.RawMessage(`[" sshkey::ssh-rsa A\r\n"]`)}},
	} {
		b, err := in.base()
		if err != nil || !slices.Equal(b.systemTags, []string{"sshkey::ssh-rsa A"}) || b.userTags != nil {
			t.Errorf("%s: %q, %q, %v", where, b.systemTags, b.userTags, err)
		}
	}
}

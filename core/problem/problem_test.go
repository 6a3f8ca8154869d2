package problem_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/problem"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
)

// What is told of a resource on a host replaces what was told before; what is known
// already is not written again, and what is told of no resource that there is not kept.
func TestBook(t *testing.T) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	box, err := resource.Declare(resource.Type{Name: "Box", Path: "/boxes"})
	must(err)
	rows, err := resource.Declare(resource.Type{Name: "BoxProblem", Path: "/boxes/problems", Fields: []resource.Field{
		{Name: "boxUuid"}, {Name: "hostUuid"}, {Name: "reason", Kind: resource.Text}}})
	must(err)
	s := storetest.OpenDSN(t, "sqlite:"+t.TempDir()+"/k.db", box, rows)
	must(s.Update(ctx, func(tx *store.Tx) error {
		for _, uuid := range []string{"a", "b", "c"} {
			if err := store.InsertValues(ctx, tx, box, map[string]any{"uuid": uuid, "name": uuid}); err != nil {
				return err
			}
		}
		return nil
	}))
	b := problem.New(s, hclog.NewNullLogger(), rows, "boxUuid", box)
	want := func(what string, all ...string) {
		t.Helper()
		var got []string
		must(s.Each(ctx, "SELECT `hostUuid`, `boxUuid`, `reason` FROM `BoxProblem` ORDER BY 1, 2", nil, func(r *store.Row) error {
			got = append(got, r.Text(0)+" "+r.Text(1)+" "+r.Text(2))
			return nil
		}))
		if !slices.Equal(got, all) {
			t.Errorf("%s: %q, want %q", what, got, all)
		}
	}
	tell := func(host string, complete bool, told map[string]string) { b.Note(ctx, host, maps.All(told), complete) }
	tell("h1", true, map[string]string{"a": "odd", "b": "", "gone": "odd"})
	tell("h2", true, map[string]string{"a": "cut off"})
	want("at first", "h1 a odd", "h2 a cut off")
	tell("h1", false, map[string]string{"b": "flat"})
	want("one more", "h1 a odd", "h1 b flat", "h2 a cut off")
	uuids, err := store.Texts(ctx, s, "SELECT `uuid` FROM `BoxProblem` ORDER BY 1")
	must(err)
	tell("h1", true, map[string]string{"a": "odd", "b": "flat"})
	if again, err := store.Texts(ctx, s, "SELECT `uuid` FROM `BoxProblem` ORDER BY 1"); err != nil || !slices.Equal(again, uuids) {
		t.Errorf("what is known was written again: %v, %v", again, err)
	}
	tell("h1", true, map[string]string{"b": "flatter", "c": ""})
	want("others are well", "h1 b flatter", "h2 a cut off")
	tell("h1", false, map[string]string{"b": ""})
	want("that one, too", "h2 a cut off")
	tell("h1", false, map[string]string{"a": "odd", "c": "odd"})
	must(s.Update(ctx, func(tx *store.Tx) error { return b.Forget(ctx, tx, "a") }))
	want("without a", "h1 c odd")
	must(b.ForgetHost(ctx, "h1"))
	want("without the host")

	if got := problem.Text([]string{"x", "y", "x"}) + problem.Text(nil); got != "x; y" {
		t.Errorf("reasons in one: %q", got)
	}
	if got := problem.Text([]string{strings.Repeat("ü", 3000)}); len(got) > 4100 || !strings.HasSuffix(got, "ü …") {
		t.Errorf("a long one has %d bytes", len(got))
	}
	defer func() {
		if recover() == nil {
			t.Error("rows without a reason are a book")
		}
	}()
	problem.New(s, nil, box, "name", box)
}

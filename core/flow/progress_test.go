package flow

import (
	"context"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/pluginsdk"
)

// TestProgress checks that a plugin is called with the step's operation ID and
// that what it reports is in the trace while the step runs, and not elsewhere.
func TestProgress(t *testing.T) {
	e := NewEngine(storetest.Open(t, Types()...), hclog.NewNullLogger(), nil)
	type state struct{ Seen TraceStep }
	d := Define("long", Do("copy", func(ctx context.Context, s *state) error {
		id := pluginsdk.OperationID(ctx)
		if id == "" || id != OperationID(ctx) {
			t.Errorf("the plugin would see operation %q, the flow's is %q", id, OperationID(ctx))
		}
		e.Report(id, 40, "40 of 100")
		e.Report(ID(ctx)+".other", 90, "another step")
		e.Report("nothing", 1, "")
		e.Report("unknown.copy", 1, "")
		Called(ctx, TraceCall{Plugin: "p", Method: "Copy", Took: 1, Tries: 2})
		tr, ok, err := e.Trace(ctx, "job")
		if err != nil || !ok || len(tr.Steps) != 1 {
			t.Fatalf("no trace of the running flow: %+v: %v", tr, err)
		}
		s.Seen = tr.Steps[0]
		return nil
	}, nil))
	Register(e, d)
	var s state
	if err := Run(t.Context(), e, d, &s, Options{Job: "job"}); err != nil {
		t.Fatal(err)
	}
	if c := s.Seen.Calls; len(c) != 1 || c[0].Method != "Copy" || c[0].Tries != 2 {
		t.Errorf("the calls of the step: %+v", c)
	}
	if s.Seen.Percent != 40 || s.Seen.Message != "40 of 100" {
		t.Fatalf("the trace has %+v", s.Seen)
	}
}

package flow_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// TestJob: the job ends with the flow, in its transaction, and is told after.
func TestJob(t *testing.T) {
	w := newWorld(t)
	boom := errs.New(errs.Refused, "thing", "no")
	for i, c := range []struct {
		fail bool
		tx   bool
	}{{false, false}, {false, true}, {true, false}, {true, true}} {
		job := fmt.Sprintf("%032d", i)
		step := flow.Do("work", func(context.Context, *none) error {
			if c.fail {
				return boom
			}
			return nil
		}, nil)
		if c.tx {
			step = flow.Tx("work", func(context.Context, *store.Tx, *none) error {
				if c.fail {
					return boom
				}
				return nil
			}, nil)
		}
		d := flow.Define(fmt.Sprintf("job%d", i), step)
		err := flow.Run(context.Background(), begin(w, d), d, &none{}, flow.Options{Job: job})
		want := "ok"
		if c.fail {
			want = boom.Error()
		}
		if (err != nil) != c.fail || w.rows()[job] != want {
			t.Errorf("case %d: Run: %v, job row: %q", i, err, w.rows()[job])
		}
		all := w.jobs.all()
		if last := all[len(all)-1]; len(all) != i+1 || last.job != job || !errors.Is(last.err, err) {
			t.Errorf("case %d: told %v", i, all)
		}
	}
}

// TestAnswers: the job ends with the step that says so, whatever comes after.
func TestAnswers(t *testing.T) {
	w := newWorld(t)
	for i, fail := range []bool{false, true} {
		job, undone := fmt.Sprintf("%032d", 10+i), false
		var before []ended
		d := flow.Define(fmt.Sprintf("answers%d", i),
			flow.Do("look", func(context.Context, *none) error { return nil }, nil),
			flow.Tx("answer", func(context.Context, *store.Tx, *none) error { return nil },
				func(context.Context, *store.Tx, *none) error { undone = true; return nil }).Answers(),
			flow.Do("go-on", func(context.Context, *none) error {
				if before = w.jobs.all(); fail {
					return errs.New(errs.Refused, "thing", "no")
				}
				return nil
			}, nil),
			flow.Tx("finish", func(context.Context, *store.Tx, *none) error { return nil }, nil))
		err := flow.Run(context.Background(), begin(w, d), d, &none{}, flow.Options{Job: job})
		if (err != nil) != fail || undone != fail {
			t.Errorf("case %d: Run: %v, undone: %v", i, err, undone)
		}
		if len(before) != i+1 || before[i].job != job || before[i].err != nil {
			t.Errorf("case %d: told before the next step: %v", i, before)
		}
		if all := w.jobs.all(); len(all) != i+1 || w.rows()[job] != "ok" {
			t.Errorf("case %d: told %v, job row: %q", i, all, w.rows()[job])
		}
	}
}

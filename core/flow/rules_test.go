package flow_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/flow/flowtest"
)

// each runs f on the sample flow with its optional step and without.
func each(t *testing.T, f func(t *testing.T, d *flow.Def[made], world func(t *testing.T) flowtest.World[made])) {
	for name, extra := range map[string]bool{"plain": false, "extra": true} {
		t.Run(name, func(t *testing.T) {
			// The steps work on the world of the case that runs; cases of one
			// flow run one after another.
			var now world
			d := now.sample()
			f(t, d, func(t *testing.T) flowtest.World[made] {
				now = *newWorld(t)
				return sampleWorld(t, &now, d, extra)
			})
		})
	}
}

func TestFailEachStep(t *testing.T) { each(t, flowtest.FailEachStep[made]) }

func TestRepeatEachStep(t *testing.T) { each(t, flowtest.RepeatEachStep[made]) }

func TestCrashEachPoint(t *testing.T) { each(t, flowtest.CrashEachPoint[made]) }

// victimVariable names the folder on which TestVictim works; TestKill sets it
// for the process that it kills.
const victimVariable = "FLOW_TEST_VICTIM"

// TestVictim is the process that TestKill kills.
func TestVictim(t *testing.T) {
	dir := os.Getenv(victimVariable)
	if dir == "" {
		return
	}
	w := worldOn(t, openStore(t, "sqlite:"+filepath.Join(dir, "kumo.db")), filepath.Join(dir, "files"))
	d := w.sample()
	fw := sampleWorld(t, w, d, true)
	e := fw.Engine()
	if os.Getenv("FLOW_TEST_FAIL") != "" {
		flow.SetTestHooks(e, flow.TestHooks{Call: func(step string, undo bool, call func() error) error {
			err := call()
			if step == "record.check" && !undo && err == nil {
				return errors.New("refused")
			}
			return err
		}})
	}
	err := flow.Run(context.Background(), e, d, fw.State(), fw.Options)
	t.Logf("not killed, Run returned %v", err)
}

// TestKill kills a process of its own at every point of the sample flow, and
// once more at every point of its failure, and checks that a fresh process
// (this one) finds everything done or nothing left.
func TestKill(t *testing.T) {
	var nothing world
	points := nothing.sample().Points()
	killed := 0
	for _, fail := range []string{"", "1"} {
		for _, point := range points {
			t.Run(point+fail, func(t *testing.T) {
				dir := t.TempDir()
				files := filepath.Join(dir, "files")
				if err := os.Mkdir(files, 0o700); err != nil {
					t.Fatal(err)
				}
				cmd := exec.Command(os.Args[0], "-test.run=^TestVictim$", "-test.v")
				cmd.Env = append(os.Environ(), victimVariable+"="+dir, flow.CrashVariable+"="+point, "FLOW_TEST_FAIL="+fail)
				out, err := cmd.CombinedOutput()
				var exit *exec.ExitError
				died := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
				if err != nil && !died {
					t.Fatalf("%v\n%s", err, out)
				}
				if died {
					killed++
				}
				w := worldOn(t, openStore(t, "sqlite:"+filepath.Join(dir, "kumo.db")), files)
				afterKill(t, w, point, died, fail != "")
			})
		}
	}
	// Without the failure all points of the way forward, with it those of the
	// way back as well.
	if want := 50; killed < want {
		t.Errorf("only %d processes were killed, at least %d were to be", killed, want)
	}
}

// afterKill resumes what a killed process left.
func afterKill(t *testing.T, w *world, point string, died, fail bool) {
	d := w.sample()
	fw := sampleWorld(t, w, d, true)
	e := fw.Engine()
	ctx := context.Background()
	left, err := e.Unfinished(ctx)
	if err != nil {
		t.Fatal(err)
	}
	done := len(left) == 1 && left[0].Phase == flow.PhaseForward ||
		len(left) == 0 && (point == "make/end/journal" && died && !fail || !died && !fail)
	if err := e.Resume(ctx, func(_ string, run func(context.Context)) { run(ctx) }); err != nil {
		t.Fatal(err)
	}
	if left, err := e.Unfinished(ctx); err != nil || len(left) != 0 {
		t.Errorf("left in the journal: %+v, %v", left, err)
	}
	check := fw.Clean
	if done {
		check = fw.Done
	}
	if err := check(); err != nil {
		t.Error(err)
	}
}

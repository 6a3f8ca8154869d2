package compute

import (
	"errors"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

var everyState = []string{Created, Starting, Running, Stopping, Stopped, Rebooting, Destroying, Destroyed, Migrating, Expunging,
	Pausing, Paused, Resuming, NoState, Unknown, Crashed}

// TestIllegalEventsAreRefused checks the whole table: an event that is not
// listed for a state gives Internal and no new state.
func TestIllegalEventsAreRefused(t *testing.T) {
	for ev, moves := range vmStates.Moves {
		for _, from := range everyState {
			to, err := vmStates.Next(from, ev)
			if want, legal := moves[from]; legal {
				if err != nil || to != want {
					t.Errorf("%s in %s: got %q, %v; want %s", ev, from, to, err, want)
				}
			} else if !errors.Is(err, errs.Internal) || to != "" {
				t.Errorf("%s in %s: got %q, %v; want an Internal error", ev, from, to, err)
			}
		}
	}
}

// TestAllowedOperationsHaveAnEvent checks that what users may ask for in a
// state can begin there.
func TestAllowedOperationsHaveAnEvent(t *testing.T) {
	begins := map[string]string{"start": "starting", "stop": "stopping", "reboot": "rebooting", "pause": "pausing",
		"resume": "resuming", "destroy": "destroying", "migrate": "migrating", "recover": "stopped", "expunge": "expunging"}
	for op, states := range allowed {
		if strings.Contains(op, "-") {
			continue // of a part: the guest stays in its state
		}
		for _, st := range states {
			if !vmStates.Can(st, begins[op]) {
				t.Errorf("%s is allowed in %s, but event %s is not legal there", op, st, begins[op])
			}
		}
	}
}

func TestCheckStateNamesTheGuest(t *testing.T) {
	vm := &VMInstance{State: Destroyed}
	vm.Name = "web-1"
	err := checkState(vm, "start")
	if !errors.Is(err, errs.Refused) || err.Error() == "" {
		t.Fatalf("got %v", err)
	}
	if err := checkState(vm, "recover"); err != nil {
		t.Fatal(err)
	}
}

package compute

import (
	"testing"
)

// A guest is looked at closer when its host reports another state than the
// database has, or another host reports that it is there; not while something is
// done to it, and not for what is the same under two names.
func TestDiffers(t *testing.T) {
	for _, x := range []struct {
		state, host, now string
		differs          bool
	}{
		{Running, "h", Running, false}, {Running, "h", Paused, true}, {Running, "h", Crashed, true}, {Running, "h", Stopped, true},
		{Running, "g", Running, true}, // on another host than it should be
		{Paused, "h", Paused, false}, {Paused, "h", Running, true}, {Paused, "g", Paused, true},
		{Crashed, "h", Crashed, false}, {Crashed, "h", Running, true},
		{Unknown, "h", Running, true}, {Unknown, "h", Paused, true}, {Unknown, "h", Stopped, true},
		{NoState, "h", Running, true},
		{Stopped, "", Stopped, false}, {Stopped, "", Running, true},
		{Destroyed, "", Stopped, false}, {Destroyed, "", Running, true}, {Destroyed, "", Paused, true},
		{Running, "g", "", true}, // a state that has no name here
	} {
		if got := (expected{x.state, x.host}).differs("h", x.now); got != x.differs {
			t.Errorf("%s on %q, and host h reports %q: it differs is %t", x.state, x.host, x.now, got)
		}
	}
	for _, state := range everyState {
		if (expected{state, "h"}).differs("h", Crashed) != atRestOrGone(state) {
			t.Errorf("a report of a guest that is %s", state)
		}
	}
}

// atRestOrGone tells of states in which nothing is being done to a guest, but for
// one that is as the report says.
func atRestOrGone(state string) bool { return atRest(state) && state != Crashed }

// Work that touches the world is over in these states and in no other.
func TestAtRest(t *testing.T) {
	rest := map[string]bool{Running: true, Paused: true, Stopped: true, Destroyed: true, Unknown: true, Crashed: true, NoState: true}
	for _, state := range everyState {
		if atRest(state) != rest[state] {
			t.Errorf("a guest that is %s is at rest: %t", state, atRest(state))
		}
	}
}

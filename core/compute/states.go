package compute

import "github.com/kumo-cloud/kumo/core/resource"

// vmStates is the legal life of a guest: event, then from-state to to-state
// (spec: compute and storage, section 2.1). Anything else is a defect in the
// caller and answers errs.Internal; what a user may ask for when is decided by
// allowed, below.
var vmStates = &resource.StateMachine{Column: "state", Moves: transitions()}

func transitions() map[string]map[string]string {
	t := map[string]map[string]string{}
	add := func(event, to string, from ...string) {
		m := t[event]
		if m == nil {
			m = map[string]string{}
			t[event] = m
		}
		for _, f := range from {
			m[f] = to
		}
	}
	add("starting", Starting, Created, Stopped)
	add("running", Running, Starting, Running, Stopping, Rebooting, Migrating, Paused, Pausing, Resuming, Unknown,
		Destroying, Crashed, NoState, Stopped)
	add("stopping", Stopping, Running, Paused, Unknown, Crashed, NoState)
	add("stopped", Stopped, Starting, Running, Stopping, Rebooting, Migrating, Paused, Unknown, Destroyed, Crashed, NoState, Stopped)
	add("rebooting", Rebooting, Running, Crashed, NoState)
	add("migrating", Migrating, Running)
	add("pausing", Pausing, Running)
	add("paused", Paused, Pausing, Running, Starting, Stopped, Migrating, Unknown, Resuming)
	add("resuming", Resuming, Paused)
	add("destroying", Destroying, Created, Starting, Running, Stopping, Stopped, Migrating, Paused, Unknown, Crashed, NoState, Rebooting, Destroying)
	add("destroyed", Destroyed, Created, Destroying, Crashed, NoState)
	add("expunging", Expunging, Destroying, Destroyed, Expunging)
	add("unknown", Unknown, Starting, Running, Stopping, Stopped, Migrating, Destroying, Crashed, NoState, Rebooting, Pausing, Paused, Resuming, Unknown)
	add("noState", NoState, Running, Stopped, Migrating, Unknown)
	add("crashed", Crashed, Running, NoState, Unknown)
	return t
}

// allowed says in which states a user may ask for an operation.
var allowed = map[string][]string{
	"start":   {Stopped, Created},
	"stop":    {Running, Unknown, Paused, Crashed, NoState},
	"reboot":  {Running, Crashed, NoState},
	"pause":   {Running},
	"resume":  {Paused},
	"migrate": {Running},
	"destroy": {Created, Running, Stopped, Paused, Unknown, Crashed, NoState, Destroying, Starting, Stopping, Rebooting},
	"recover": {Destroyed},
	"expunge": {Destroyed, Expunging},

	// While it is stopped these change its rows alone.
	"attach-nic": {Running, Stopped},
	"detach-nic": {Running, Stopped},
}

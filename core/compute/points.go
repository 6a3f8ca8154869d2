package compute

import (
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/kernel"
)

// Points returns, by the name of each flow on guests, the points at which
// flow.CrashVariable can stop the process: what crash tests go through.
func Points() map[string][]string {
	s := New(&kernel.Kernel{}, nil, nil, nil, nil) // flows are made, none is run
	all := map[string][]string{}
	for _, d := range []*flow.Def[work]{s.create, s.start, s.stop, s.reboot, s.pause, s.resume, s.destroy, s.expunge} {
		all[d.Name()] = d.Points()
	}
	return all
}

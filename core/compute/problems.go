package compute

import (
	"iter"

	"github.com/kumo-cloud/kumo/core/problem"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// problemsOf is what hosts tell of guests, for problem.Book.
func problemsOf(vms []*pluginv1.VMStatus) iter.Seq2[string, string] {
	return func(yield func(uuid, text string) bool) {
		for _, vm := range vms {
			if !yield(vm.GetUuid(), problem.Text(vm.GetProblems())) {
				return
			}
		}
	}
}

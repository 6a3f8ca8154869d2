package kerneltest

import (
	"context"
	"maps"
	"slices"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// FakeMaxNICs is how many NICs a guest of FakeType has at most.
const FakeMaxNICs = 3

var _ pluginsdk.NICAttacher = hypervisor{}

// Attached returns the UUIDs of the NICs that were plugged into a guest while it ran,
// in order.
func (f *Fake) Attached(vm string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.nics[vm]))
}

func (h hypervisor) AttachNIC(_ context.Context, r *pluginv1.AttachNICRequest) (*pluginv1.AttachNICResponse, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.vms[r.GetHost().GetUuid()][r.GetVmUuid()]; !ok {
		return nil, errs.New(errs.Refused, "VM "+r.GetVmUuid(), "it does not run")
	}
	if h.nics[r.GetVmUuid()] == nil {
		h.nics[r.GetVmUuid()] = map[string]bool{}
	}
	h.nics[r.GetVmUuid()][r.GetNic().GetUuid()] = true
	return &pluginv1.AttachNICResponse{}, nil
}

func (h hypervisor) DetachNIC(_ context.Context, r *pluginv1.DetachNICRequest) (*pluginv1.DetachNICResponse, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.nics[r.GetVmUuid()], r.GetNic().GetUuid())
	return &pluginv1.DetachNICResponse{}, nil
}

package driver

import (
	"context"
	"math"
	"strconv"

	"github.com/kumo-cloud/kumo/plugins/simulator/world"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

type hypervisor struct{ *simulator }

var (
	_ pluginsdk.Hypervisor = hypervisor{}
	_ pluginsdk.VMPauser   = hypervisor{}
)

// cpuMHz is the speed that each simulated CPU reports.
const cpuMHz = 1000

func (h hypervisor) ConnectHost(ctx context.Context, req *pluginv1.ConnectHostRequest) (*pluginv1.ConnectHostResponse, error) {
	host := req.GetHost()
	return run(ctx, h.simulator, "ConnectHost", func(w *world.Live) (*pluginv1.ConnectHostResponse, error) {
		cpus, err := bytesOf(host.GetFields(), "host "+host.GetUuid(), "cpuCapacity", 1e9)
		if err != nil {
			return nil, err
		}
		memory, err := bytesOf(host.GetFields(), "host "+host.GetUuid(), "memoryCapacity", 1e9)
		if err != nil {
			return nil, err
		}
		// The wire's cpuNum is a 32 bit number.
		cpus = min(cpus, math.MaxInt32)
		err = w.ConnectHost(world.Host{UUID: host.GetUuid(), Name: host.GetName(), CPUs: cpus, Memory: memory})
		if err != nil {
			return nil, err
		}
		return &pluginv1.ConnectHostResponse{Facts: &pluginv1.HostFacts{
			CpuNum: cpus, CpuMhz: cpuMHz, CpuSockets: 1, MemoryBytes: memory, Architecture: "x86_64",
			Notes: []string{"simulated: no guest runs anywhere"},
		}}, nil
	}, host.GetUuid())
}

// bytesOf reads a number of 0 or more from a resource's fields.
func bytesOf(fields map[string]string, object, name string, fallback int64) (int64, error) {
	text := fields[name]
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, errs.New(errs.Invalid, object, "%s %q is no whole number of at least 0", name, text)
	}
	return n, nil
}

func (h hypervisor) CheckHost(ctx context.Context, req *pluginv1.CheckHostRequest) (*pluginv1.CheckHostResponse, error) {
	host := req.GetHost().GetUuid()
	return run(ctx, h.simulator, "CheckHost", func(w *world.Live) (*pluginv1.CheckHostResponse, error) {
		return &pluginv1.CheckHostResponse{}, w.CheckHost(host)
	}, host)
}

func (h hypervisor) DisconnectHost(ctx context.Context, req *pluginv1.DisconnectHostRequest) (*pluginv1.DisconnectHostResponse, error) {
	host := req.GetHost().GetUuid()
	return run(ctx, h.simulator, "DisconnectHost", func(w *world.Live) (*pluginv1.DisconnectHostResponse, error) {
		return &pluginv1.DisconnectHostResponse{}, w.DisconnectHost(host)
	}, host)
}

func (h hypervisor) WatchHost(ctx context.Context, req *pluginv1.WatchHostRequest, emit func(*pluginv1.VMStatus) error) error {
	host := req.GetHost().GetUuid()
	watch, err := run(ctx, h.simulator, "WatchHost", func(w *world.Live) (*world.Watch, error) { return w.Watch(host) }, host)
	if err != nil {
		return err
	}
	defer watch.End()
	for {
		changed, err := watch.Next(ctx)
		if err != nil {
			return err
		}
		for i := range changed {
			if err := emit(status(changed[i].UUID, changed[i].State)); err != nil {
				return err
			}
		}
	}
}

func (h hypervisor) StartVM(ctx context.Context, req *pluginv1.StartVMRequest) (*pluginv1.StartVMResponse, error) {
	host, vm := req.GetHost().GetUuid(), req.GetVm()
	return run(ctx, h.simulator, "StartVM", func(w *world.Live) (*pluginv1.StartVMResponse, error) {
		state, err := w.StartVM(guest(host, vm))
		return &pluginv1.StartVMResponse{Status: status(vm.GetUuid(), state)}, err
	}, host, vm.GetUuid())
}

func (h hypervisor) RebootVM(ctx context.Context, req *pluginv1.RebootVMRequest) (*pluginv1.RebootVMResponse, error) {
	host, vm := req.GetHost().GetUuid(), req.GetVm()
	return run(ctx, h.simulator, "RebootVM", func(w *world.Live) (*pluginv1.RebootVMResponse, error) {
		state, err := w.RebootVM(guest(host, vm))
		return &pluginv1.RebootVMResponse{Status: status(vm.GetUuid(), state)}, err
	}, host, vm.GetUuid())
}

func (h hypervisor) StopVM(ctx context.Context, req *pluginv1.StopVMRequest) (*pluginv1.StopVMResponse, error) {
	host, vm := req.GetHost().GetUuid(), req.GetVmUuid()
	return run(ctx, h.simulator, "StopVM", func(w *world.Live) (*pluginv1.StopVMResponse, error) {
		return &pluginv1.StopVMResponse{}, w.StopVM(host, vm)
	}, host, vm)
}

func (h hypervisor) DestroyVM(ctx context.Context, req *pluginv1.DestroyVMRequest) (*pluginv1.DestroyVMResponse, error) {
	host, vm := req.GetHost().GetUuid(), req.GetVmUuid()
	return run(ctx, h.simulator, "DestroyVM", func(w *world.Live) (*pluginv1.DestroyVMResponse, error) {
		return &pluginv1.DestroyVMResponse{}, w.DestroyVM(host, vm)
	}, host, vm)
}

func (h hypervisor) PauseVM(ctx context.Context, req *pluginv1.PauseVMRequest) (*pluginv1.PauseVMResponse, error) {
	host, vm := req.GetHost().GetUuid(), req.GetVmUuid()
	return run(ctx, h.simulator, "PauseVM", func(w *world.Live) (*pluginv1.PauseVMResponse, error) {
		return &pluginv1.PauseVMResponse{}, w.PauseVM(host, vm)
	}, host, vm)
}

func (h hypervisor) ResumeVM(ctx context.Context, req *pluginv1.ResumeVMRequest) (*pluginv1.ResumeVMResponse, error) {
	host, vm := req.GetHost().GetUuid(), req.GetVmUuid()
	return run(ctx, h.simulator, "ResumeVM", func(w *world.Live) (*pluginv1.ResumeVMResponse, error) {
		return &pluginv1.ResumeVMResponse{}, w.ResumeVM(host, vm)
	}, host, vm)
}

func (h hypervisor) ListVMs(ctx context.Context, req *pluginv1.ListVMsRequest) (*pluginv1.ListVMsResponse, error) {
	host := req.GetHost().GetUuid()
	return run(ctx, h.simulator, "ListVMs", func(w *world.Live) (*pluginv1.ListVMsResponse, error) {
		vms, err := w.VMs(host)
		answer := &pluginv1.ListVMsResponse{}
		for _, v := range vms {
			if one := req.GetVmUuid(); one == "" || one == v.UUID {
				answer.Vms = append(answer.Vms, status(v.UUID, v.State))
			}
		}
		return answer, err
	}, host)
}

func guest(host string, vm *pluginv1.VM) world.VM {
	v := world.VM{
		UUID: vm.GetUuid(), Name: vm.GetName(), Host: host, CPUs: int64(vm.GetCpuNum()), Memory: vm.GetMemoryBytes(), Firmware: vm.GetFirmware(),
		Disks: make([]world.Disk, len(vm.GetDisks())), NICs: make([]world.NIC, len(vm.GetNics())),
	}
	for i, d := range vm.GetDisks() {
		v.Disks[i] = world.Disk{UUID: d.GetUuid(), Path: d.GetSource(), CDROM: d.GetCdrom(), Shareable: d.GetShareable(), Bus: d.GetBus()}
	}
	for i, n := range vm.GetNics() {
		v.NICs[i] = card(n)
	}
	return v
}

func status(vm string, s world.State) *pluginv1.VMStatus {
	state := pluginv1.VMState_VM_STATE_UNSPECIFIED
	switch s {
	case world.Running:
		state = pluginv1.VMState_VM_STATE_RUNNING
	case world.Paused:
		state = pluginv1.VMState_VM_STATE_PAUSED
	case world.Stopped:
		state = pluginv1.VMState_VM_STATE_STOPPED
	}
	return &pluginv1.VMStatus{Uuid: vm, State: state}
}

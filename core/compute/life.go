package compute

import (
	"context"
	"errors"
	"strings"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// startParams are the parameters of APIStartVmInstanceMsg.
type startParams struct {
	UUID    string `api:"uuid,required,path,resource=VmInstance"`
	Cluster string `api:"clusterUuid,resource=Cluster"`
	Host    string `api:"hostUuid,resource=Host"`
}

// stopParams are the parameters of APIStopVmInstanceMsg.
type stopParams struct {
	UUID   string `api:"uuid,required,path,resource=VmInstance"`
	Type   string `api:"type,default=grace,values=grace|cold"`
	StopHA string `api:"stopHA,values=true"`
}

func vmAction(verb, doc string) action.Action {
	return action.Action{Message: "API" + verb + "VmInstanceMsg", Method: "PUT", Path: "/vm-instances/{uuid}/actions",
		Async: true, Access: action.Normal, Queue: "uuid", Returns: "VmInstance", Kind: "vm", Doc: doc, View: inStates(strings.ToLower(verb))}
}

// inStates shows an operation of guests in the states in which it is allowed.
func inStates(operation string) action.View {
	return action.View{When: []action.When{{Field: "state", In: allowed[operation]}}}
}

func (s *Service) registerLife() {
	action.Register(s.Actions, vmAction("Start", "Starts a guest."), func(ctx context.Context, c *action.Call, p *startParams) (action.Ref, error) {
		if err := s.uninhibit(ctx, p.UUID); err != nil {
			return action.Ref{}, err
		}
		return s.run(ctx, c, p.UUID, "start", s.start, func(vm *VMInstance, w *work) error { return s.chooseHost(ctx, vm, w, p) })
	})
	action.Register(s.Actions, vmAction("Stop", "Stops a guest: grace asks it to shut down first, cold cuts its power."),
		func(ctx context.Context, c *action.Call, p *stopParams) (action.Ref, error) {
			if p.StopHA == "" {
				return s.stopVM(ctx, c, p)
			}
			if err := s.inhibit(ctx, p.UUID); err != nil {
				return action.Ref{}, err
			}
			ref, err := s.stopVM(ctx, c, p)
			if err == nil {
				return ref, nil
			}
			if failed := s.uninhibit(ctx, p.UUID); failed != nil {
				err = errors.Join(err, failed)
			}
			return ref, err
		})
	action.Register(s.Actions, vmAction("Reboot", "Stops and starts a guest on its host."), func(ctx context.Context, c *action.Call, p *vmUUID) (action.Ref, error) {
		return s.run(ctx, c, p.UUID, "reboot", s.reboot, nil)
	})
	action.Register(s.Actions, vmAction("Pause", "Freezes a guest; it keeps its memory."), func(ctx context.Context, c *action.Call, p *vmUUID) (action.Ref, error) {
		return s.run(ctx, c, p.UUID, "pause", s.pause, nil)
	})
	action.Register(s.Actions, vmAction("Resume", "Lets a paused guest go on."), func(ctx context.Context, c *action.Call, p *vmUUID) (action.Ref, error) {
		return s.run(ctx, c, p.UUID, "resume", s.resume, nil)
	})
}

// stopVM stops a guest; one that is stopped already is a success.
func (s *Service) stopVM(ctx context.Context, c *action.Call, p *stopParams) (action.Ref, error) {
	vm, err := store.Get(ctx, s.Store, VMType, p.UUID)
	if err == nil && vm.State == Stopped {
		return action.Ref{Type: "VmInstance", UUID: p.UUID}, nil
	}
	return s.run(ctx, c, p.UUID, "stop", s.stop, func(_ *VMInstance, w *work) error {
		w.Cold = p.Type == "cold"
		return nil
	})
}

// run loads a guest, checks that the operation is for its state, and runs the
// flow. prepare, which may be nil, completes the flow's state.
func (s *Service) run(ctx context.Context, c *action.Call, uuid, op string, d *flow.Def[work], prepare func(*VMInstance, *work) error) (action.Ref, error) {
	ref := action.Ref{Type: "VmInstance", UUID: uuid}
	vm, w, err := s.load(ctx, s.Store, uuid)
	if err != nil {
		return ref, err
	}
	if err := checkState(vm, op); err != nil {
		return ref, err
	}
	w.Grace = int32(min(s.Config.Int64(ctx, "vm", "stopGracePeriod", uuid), 3600))
	if prepare != nil {
		if err := prepare(vm, w); err != nil {
			return ref, err
		}
	}
	o := flow.Options{Key: uuid, ResourceType: ref.Type, ResourceUUID: uuid}
	if c != nil {
		o.Job = c.Job
	}
	return ref, flow.Run(ctx, s.Flows, d, w, o)
}

// chooseHost finds the host on which a stopped guest starts: the one its
// volumes are on, else its last one when it has room, else the best by its
// strategy that has its storage (spec section 1.6).
func (s *Service) chooseHost(ctx context.Context, vm *VMInstance, w *work, p *startParams) error {
	var l3s []string
	for _, n := range w.NICs {
		l3s = append(l3s, n.L3UUID)
	}
	tags, err := s.Tags.Of(ctx, s.Store, vm.UUID)
	if err != nil {
		return err
	}
	if w.MaxGuests, err = s.maxGuests(ctx, s.Store, vm, tags); err != nil {
		return err
	}
	r := contract.HostRequest{Room: w.room(), ZoneUUID: vm.ZoneUUID, ClusterUUID: p.Cluster, HostUUID: p.Host, HypervisorType: vm.HypervisorType,
		Architecture: vm.Architecture, Strategy: vm.AllocatorStrategy, LastHost: vm.LastHostUUID}
	if r.Reachable, err = s.reachable(ctx, s.Store, l3s); err != nil {
		return err
	}
	primary := ""
	for _, v := range w.Volumes {
		primary = v.PrimaryUUID
		if v.HostLocal {
			if p.Host != "" && p.Host != v.HostUUID {
				return refuse(vm, "its volume %s is on host %s; it cannot start on %s", v.Name, v.HostUUID, p.Host)
			}
			r.HostUUID = v.HostUUID
		}
	}
	hosts, err := s.hosts.Candidates(ctx, s.Store, r)
	if err != nil {
		return err
	}
	places, err := s.storage.Places(ctx, s.Store, contract.PlaceRequest{Hosts: hosts, PrimaryUUID: primary})
	if err != nil {
		return err
	}
	w.Host = places[0].Host
	return nil
}

func (s *Service) startFlow() *flow.Def[work] {
	return flow.Define("start-vm",
		flow.Tx("reserve", s.reserve, s.unreserve),
		flow.Tx("starting", s.setState("starting"), s.restoreState),
		flow.Do("prepare-network", s.prepareNetwork, s.releaseNetwork),
		flow.Do("start-on-host", s.startOnHost, s.unstartOnHost),
		flow.Tx("running", func(ctx context.Context, tx *store.Tx, w *work) error {
			return s.move(ctx, tx, w.UUID, "running", map[string]any{"hostUuid": w.Host.UUID, "clusterUuid": w.Host.ClusterUUID})
		}, nil),
	)
}

func (s *Service) stopFlow() *flow.Def[work] {
	return flow.Define("stop-vm",
		flow.Tx("stopping", s.setState("stopping"), s.restoreState),
		flow.Do("stop-on-host", s.stopOnHost, nil).Timeout(2*hour),
		flow.Do("release-network", s.letGoOfNetwork, nil),
		flow.Tx("stopped", func(ctx context.Context, tx *store.Tx, w *work) error {
			return s.left(ctx, tx, w, "stopped", nil)
		}, nil),
	)
}

func (s *Service) stopOnHost(ctx context.Context, w *work) error {
	if w.Host.UUID == "" {
		return nil
	}
	return s.onHost(ctx, w, "stopped on", func(hv *plugin.Hypervisor, h *pluginv1.Host) error {
		_, err := hv.StopVM(ctx, &pluginv1.StopVMRequest{Host: h, VmUuid: w.UUID, Cold: w.Cold, GraceSeconds: w.Grace})
		return err
	})
}

func (s *Service) rebootFlow() *flow.Def[work] {
	return flow.Define("reboot-vm",
		flow.Tx("rebooting", s.setState("rebooting"), s.restoreState),
		flow.Do("prepare-network", s.prepareNetwork, nil),
		flow.Do("reboot-on-host", func(ctx context.Context, w *work) error {
			return s.onHost(ctx, w, "rebooted on", func(hv *plugin.Hypervisor, h *pluginv1.Host) error {
				_, err := hv.RebootVM(ctx, &pluginv1.RebootVMRequest{Host: h, Vm: w.spec(), GraceSeconds: w.Grace})
				return err
			})
		}, nil).Timeout(2*hour),
		flow.Tx("running", s.setState("running"), nil),
	)
}

func (s *Service) pauseFlow() *flow.Def[work] {
	return flow.Define("pause-vm",
		flow.Tx("pausing", s.setState("pausing"), s.restoreState),
		flow.Do("pause-on-host", s.pauser(true), ifItRuns(s.pauser(false))),
		flow.Tx("paused", s.setState("paused"), nil),
	)
}

func (s *Service) resumeFlow() *flow.Def[work] {
	return flow.Define("resume-vm",
		flow.Tx("resuming", s.setState("resuming"), s.restoreState),
		flow.Do("resume-on-host", s.pauser(false), ifItRuns(s.pauser(true))),
		flow.Tx("running", s.setState("running"), nil),
	)
}

// ifItRuns makes an undo of what is done to a guest that runs: one that has
// ended meanwhile needs none.
func ifItRuns(undo func(context.Context, *work) error) func(context.Context, *work) error {
	return func(ctx context.Context, w *work) error {
		switch err := undo(ctx, w); errs.ClassOf(err) {
		case errs.Refused, errs.NotFound:
			return nil
		default:
			return err
		}
	}
}

func (s *Service) pauser(pause bool) func(ctx context.Context, w *work) error {
	return func(ctx context.Context, w *work) error {
		return s.onHost(ctx, w, map[bool]string{true: "paused on", false: "resumed on"}[pause], func(hv *plugin.Hypervisor, h *pluginv1.Host) error {
			p, err := hv.Pauser()
			if err != nil {
				return err
			}
			if pause {
				_, err = p.PauseVM(ctx, &pluginv1.PauseVMRequest{Host: h, VmUuid: w.UUID})
			} else {
				_, err = p.ResumeVM(ctx, &pluginv1.ResumeVMRequest{Host: h, VmUuid: w.UUID})
			}
			return err
		})
	}
}

package compute

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/batch"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/mgmt"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/problem"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Service keeps guests and offerings.
type Service struct {
	needs
	hosts    contract.Hosts
	storage  contract.Storage
	images   contract.Images
	networks contract.Networks
	create   *flow.Def[creation]
	start    *flow.Def[starting]
	stop     *flow.Def[stopping]
	reboot   *flow.Def[rebooting]
	pause    *flow.Def[guest]
	resume   *flow.Def[guest]
	migrate  *flow.Def[migration]
	destroy  *flow.Def[guest]
	expunge  *flow.Def[guest]

	attachNIC *flow.Def[plugging]
	detachNIC *flow.Def[unplugging]

	choices  atomic.Pointer[[]*pluginv1.GuestOption] // of all hypervisors
	reports  batch.Groups[map[string]expected]       // of single guests
	problems *problem.Book
}

// needs are the parts of the kernel that this service uses.
type needs struct {
	Store   *store.Store
	Actions *action.Registry
	Flows   *flow.Engine
	Cascade *cascade.Engine
	Tags    *tag.Service
	Config  *config.Service
	Hooks   *hook.Service
	Plugins *plugin.Manager
	Node    *mgmt.Node
	Log     hclog.Logger
	generic kernel.Generic
}

func needsOf(k *kernel.Kernel) needs {
	return needs{Store: k.Store, Actions: k.Actions, Flows: k.Flows, Cascade: k.Cascade, Tags: k.Tags, Config: k.Config,
		Hooks: k.Hooks, Plugins: k.Plugins, Node: k.Node, Log: k.Log, generic: k}
}

// New makes the service.
func New(k *kernel.Kernel, hosts contract.Hosts, storage contract.Storage, images contract.Images, networks contract.Networks) *Service {
	s := &Service{needs: needsOf(k), hosts: hosts, storage: storage, images: images, networks: networks}
	s.problems = problem.New(s.Store, s.Log, ProblemType.Type, "vmInstanceUuid", VMType.Type)
	s.declarePoints()
	s.observeHosts()
	s.create, s.start, s.stop = s.createFlow(), s.startFlow(), s.stopFlow()
	s.reboot, s.pause, s.resume = s.rebootFlow(), s.pauseFlow(), s.resumeFlow()
	s.destroy, s.expunge, s.migrate = s.destroyFlow(), s.expungeFlow(), s.migrateFlow()
	s.attachNIC, s.detachNIC = s.attachNICFlow(), s.detachNICFlow()
	return s
}

// UsesImage reports whether the image is in a guest's CD-ROM drive
// (contract.ImageUser).
func (s *Service) UsesImage(ctx context.Context, q store.Querier, imageUUID string) (bool, error) {
	n, err := store.Count(ctx, q, CdRomType.Type, "`isoUuid` = ?", imageUUID)
	return n > 0, err
}

// Register registers actions, flows, tags, settings and delete rules.
func (s *Service) Register() error {
	flow.Register(s.Flows, s.create)
	flow.Register(s.Flows, s.start)
	flow.Register(s.Flows, s.stop)
	flow.Register(s.Flows, s.reboot)
	flow.Register(s.Flows, s.attachNIC)
	flow.Register(s.Flows, s.detachNIC)
	flow.Register(s.Flows, s.migrate)
	for _, d := range []*flow.Def[guest]{s.pause, s.resume, s.destroy, s.expunge} {
		flow.Register(s.Flows, d)
	}
	s.Cascade.Register(VMType.Name, cascade.Deleter{Delete: s.deleteVM, Detach: s.detachVM, Lives: true, Collect: s.collect,
		Parts: []string{"VmNic", "VmCdRom", "VmInstanceProblem"}})
	s.generic.Brought(kernel.Bringer{Register: func() error { return errors.Join(s.registerTags(), s.registerChoices()) }})
	for _, f := range []func() error{s.registerSettings, s.registerPlacement, s.registerKeep, s.registerOfferings, s.registerVMs} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) registerSettings() error {
	for _, d := range []config.Setting{
		{Category: "vm", Name: "deletionPolicy", Type: "string", Default: "Delay", Values: []string{"Direct", "Delay", "Never"},
			Resources: []string{"VmInstance"}, Doc: "Direct expunges a destroyed guest at once, Delay after expungePeriod, Never not by itself."},
		{Category: "vm", Name: "expungePeriod", Type: "int", Default: "604800", Min: 1, Max: 1 << 40, Doc: "Seconds that a destroyed guest is kept."},
		{Category: "vm", Name: "expungeInterval", Type: "int", Default: "3600", Min: 1, Max: 1 << 40, Doc: "Seconds between two looks for guests to expunge."},
		{Category: "vm", Name: "stopGracePeriod", Type: "int", Default: "60", Min: 1, Max: 3600,
			Doc: "Seconds that a guest has to shut down before its power is cut."},
	} {
		if err := s.Config.Define(d); err != nil {
			return err
		}
	}
	return nil
}

// vmUUID holds the parameter of actions on one guest.
type vmUUID struct {
	UUID string `api:"uuid,required,path,resource=VmInstance"`
}

func refOf(vmUUID string) action.Ref { return action.Ref{Type: VMType.Name, UUID: vmUUID} }

// vmAction is an action on one guest.
func (s *Service) vmAction(verb, doc string) action.Action {
	return action.Action{Message: "API" + verb + "VmInstanceMsg", Method: "PUT", Path: "/vm-instances/{uuid}/actions",
		Async: true, Access: action.Normal, Queue: "uuid", Returns: "VmInstance", Kind: "vm", On: s.whichHost, Doc: doc, View: inStates(strings.ToLower(verb))}
}

// inStates shows an operation of guests in the states in which it is allowed.
func inStates(operation string) action.View {
	return action.View{When: []action.When{{Field: "state", In: allowed[operation]}}}
}

func (s *Service) registerVMs() error {
	for _, f := range []func(){s.registerCreate, s.registerStart, s.registerStop, s.registerReboot, s.registerPause, s.registerNICs,
		s.registerMigrate, s.registerDestroy, s.registerExpunge, s.registerInner} {
		f()
	}
	return s.generic.RegisterUpdate(VMType.Type, action.Normal, s.checkUpdate,
		action.Param{Name: "defaultL3NetworkUuid", Type: "string", Resource: "L3Network"},
		action.Param{Name: "platform", Type: "string", Values: platforms},
		action.Param{Name: "cpuNum", Type: "int?", Range: &[2]int64{1, 1024}},
		action.Param{Name: "memorySize", Type: "long?", Range: &[2]int64{1, 1<<63 - 1}},
		action.Param{Name: "reservedMemorySize", Type: "long?", Range: &[2]int64{0, 1<<63 - 1}},
		action.Param{Name: "guestOsType", Type: "string", MaxLength: 255},
		action.Param{Name: "state", Type: "string", Values: []string{Stopped, Running}},
	)
}

// checkUpdate lets CPU and memory change only while the guest holds no host,
// and refuses to set the state by hand.
func (s *Service) checkUpdate(ctx context.Context, tx *store.Tx, uuid string, values map[string]any) error {
	vm, err := store.Get(ctx, tx, VMType, uuid)
	if err != nil {
		return err
	}
	if st, ok := values["state"]; ok && st != vm.State {
		return refuse(vm, "its state cannot be set by hand; it is %s", vm.State)
	}
	if bytes, ok := values["reservedMemorySize"].(int64); ok && bytes != 0 {
		return checkReserved(bytes)
	}
	for _, f := range []string{"cpuNum", "memorySize"} {
		if _, ok := values[f]; ok && vm.HostUUID != "" {
			return refuse(vm, "%s can be changed while it is Stopped, not %s", f, vm.State).WithAdvice("stop it first")
		}
	}
	if err := s.renamed(ctx, tx, vm, values); err != nil {
		return err
	}
	if l3, ok := values["defaultL3NetworkUuid"].(string); ok {
		nics, err := s.networks.OfVM(ctx, tx, uuid)
		if err != nil {
			return err
		}
		for _, n := range nics {
			if n.L3UUID == l3 {
				return nil
			}
		}
		return errs.New(errs.Invalid, "defaultL3NetworkUuid", "guest %s has no NIC in network %s", vm.Name, l3)
	}
	return nil
}

func refuse(vm *VMInstance, format string, args ...any) *errs.Error {
	return errs.New(errs.Refused, "VM "+vm.Name, format, args...)
}

// checkState refuses an operation that is not for the guest's state.
func checkState(vm *VMInstance, op string) error {
	for _, st := range allowed[op] {
		if vm.State == st {
			return nil
		}
	}
	what := op + " it"
	if verb, part, is := strings.Cut(op, "-"); is {
		what = verb + " a " + part
	}
	return refuse(vm, "cannot %s in state %s; it must be one of %v", what, vm.State, allowed[op])
}

// move sets the guest's state by an event, with other columns, in one write.
func (s *Service) move(ctx context.Context, tx *store.Tx, uuid, ev string, more map[string]any) error {
	vm, err := store.Get(ctx, tx, VMType, uuid)
	if err != nil {
		return err
	}
	next, err := vmStates.Next(vm.State, ev)
	if err != nil {
		return err
	}
	values := map[string]any{"state": next}
	for k, v := range more {
		values[k] = v
	}
	return store.Set(ctx, tx, VMType.Type, uuid, values)
}

package plugintest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// HypervisorFixture is what a hypervisor plugin is tested with.
type HypervisorFixture struct {
	// Conn is the plugin, from Loopback or Process.
	Conn *Conn
	// Host is one that the plugin can connect to.
	Host *pluginv1.Host
	// Absent is a host of which the plugin has never heard: taking leave of it
	// must succeed. It may be unreachable.
	Absent *pluginv1.Host
	// Target is another host of the same type, to which guests move from Host. Needed
	// by a plugin that offers "migrate"; the disks of VM must exist there as well.
	Target *pluginv1.Host
	// Copy is what becomes of the disks of a guest that moves.
	Copy pluginv1.DiskCopy
	// VM gives the nth of several guests that can run on Host together, with
	// the UUID uuid. Its disks must exist.
	VM func(n int, uuid string) *pluginv1.VM
	// NIC gives the nth of several network cards, with the UUID uuid, for guests of VM;
	// for plugins that offer "attach-nic". Its bridge must exist on Host.
	NIC func(n int, uuid string) *pluginv1.NIC
	// Plugged tells whether the guest has the card; with NIC.
	Plugged func(ctx context.Context, vmUUID string, nic *pluginv1.NIC) (bool, error)
	// Idle says that guests of VM have no system, and so never let go of a card.
	Idle bool
	// Parallel is how many guests run at once; 0 means 8.
	Parallel int
}

// Hypervisor checks a hypervisor plugin.
func Hypervisor(t *testing.T, f HypervisorFixture) {
	t.Helper()
	s := &hypervisorSuite{suite: newSuite(t, f.Conn), f: f, hv: f.Conn.Hypervisor(), numbers: newNumbers()}
	for _, d := range f.Conn.Manifest.Hypervisors {
		if d.Type == f.Host.HypervisorType {
			s.decl = d
		}
	}
	if s.decl == nil {
		t.Fatalf("the manifest declares no hypervisor type %q", f.Host.HypervisorType)
	}
	s.connect()
	if t.Failed() {
		return // nothing else can work
	}
	s.guests()
	s.watch()
	s.pause()
	s.nics()
	s.migrate()
	s.console()
	s.gateway()
	s.disconnect()
}

type hypervisorSuite struct {
	*suite
	f       HypervisorFixture
	hv      pluginsdk.HypervisorClient
	decl    *pluginv1.HypervisorDecl
	numbers *numbers
}

func (s *hypervisorSuite) offers(option string) bool { return slices.Contains(s.decl.Optional, option) }

func (s *hypervisorSuite) connect() {
	s.ok("DisconnectHost of a host that was never connected", func(ctx context.Context) error {
		_, err := s.hv.DisconnectHost(ctx, &pluginv1.DisconnectHostRequest{Host: s.f.Absent})
		return err
	})
	s.ok("ConnectHost", func(ctx context.Context) error {
		r, err := s.hv.ConnectHost(ctx, &pluginv1.ConnectHostRequest{Host: s.f.Host})
		if err != nil {
			return err
		}
		if f := r.Facts; f.GetCpuNum() <= 0 || f.GetMemoryBytes() <= 0 || f.GetArchitecture() == "" {
			return fmt.Errorf("facts make no sense: %v", f)
		}
		return nil
	})
	s.check("ConnectHost, answer lost", func(t *testing.T) {
		req := &pluginv1.ConnectHostRequest{Host: s.f.Host}
		_, err := pluginsdk.NewHypervisorClient(DropAnswer(s.conn, 1)).ConnectHost(call(t), req)
		wantLost(t, err)
		if _, err := s.hv.ConnectHost(call(t), req); err != nil {
			t.Error(err)
		}
	})
	s.ok("CheckHost", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_, err := s.hv.CheckHost(ctx, &pluginv1.CheckHostRequest{Host: s.f.Host})
		return err
	})
}

func (s *hypervisorSuite) vmPair() pair {
	return pair{
		name: "StartVM", undoName: "DestroyVM", parallel: s.f.Parallel,
		do: func(ctx context.Context, conn grpc.ClientConnInterface, id string) (proto.Message, error) {
			r, err := pluginsdk.NewHypervisorClient(conn).StartVM(ctx, &pluginv1.StartVMRequest{
				Host: s.f.Host, Vm: s.f.VM(s.numbers.of(id), id),
			})
			if err == nil && (r.Status.GetUuid() != id || r.Status.GetState() != pluginv1.VMState_VM_STATE_RUNNING) {
				err = fmt.Errorf("the guest does not run: %v", r.Status)
			}
			return r, err
		},
		undo: func(ctx context.Context, conn grpc.ClientConnInterface, id string) error {
			_, err := pluginsdk.NewHypervisorClient(conn).DestroyVM(ctx, &pluginv1.DestroyVMRequest{Host: s.f.Host, VmUuid: id})
			return err
		},
		exists: func(ctx context.Context, id string) (bool, error) {
			state, err := s.state(ctx, id)
			return state != pluginv1.VMState_VM_STATE_UNSPECIFIED, err
		},
	}
}

// state is that of a guest on the host, unspecified when it has none.
func (s *hypervisorSuite) state(ctx context.Context, id string) (pluginv1.VMState, error) {
	r, err := s.hv.ListVMs(ctx, &pluginv1.ListVMsRequest{Host: s.f.Host})
	if err != nil {
		return 0, err
	}
	for _, vm := range r.Vms {
		if vm.Uuid == id {
			return vm.State, nil
		}
	}
	return pluginv1.VMState_VM_STATE_UNSPECIFIED, nil
}

func (s *hypervisorSuite) wantState(t *testing.T, id string, want ...pluginv1.VMState) {
	t.Helper()
	got, err := s.state(call(t), id)
	if err != nil || !slices.Contains(want, got) {
		t.Fatalf("state of guest %s: %s %v, want %v", id, got, err, want)
	}
}

func (s *hypervisorSuite) guests() {
	p := s.vmPair()
	s.pair(p)
	gone := []pluginv1.VMState{pluginv1.VMState_VM_STATE_STOPPED, pluginv1.VMState_VM_STATE_UNSPECIFIED}
	s.check("StopVM", func(t *testing.T) {
		id := p.fresh(t, s.conn)
		p.make(t, s.conn, id)
		req := &pluginv1.StopVMRequest{Host: s.f.Host, VmUuid: id, Cold: true}
		_, err := pluginsdk.NewHypervisorClient(DropAnswer(s.conn, 1)).StopVM(call(t), req)
		wantLost(t, err)
		s.wantState(t, id, gone...)
		if _, err := s.hv.StopVM(call(t), req); err != nil {
			t.Errorf("repeated: %v", err)
		}
		p.make(t, s.conn, id) // a stopped guest can be started
		s.wantState(t, id, pluginv1.VMState_VM_STATE_RUNNING)
	})
	s.check("ListVMs of one guest", func(t *testing.T) {
		ids := []string{p.fresh(t, s.conn), p.fresh(t, s.conn)}
		for _, id := range ids {
			p.make(t, s.conn, id)
		}
		for id, want := range map[string]int{ids[0]: 1, ids[1]: 1, NewUUID(): 0} {
			r, err := s.hv.ListVMs(call(t), &pluginv1.ListVMsRequest{Host: s.f.Host, VmUuid: id})
			if err != nil || len(r.Vms) != want || want == 1 && r.Vms[0].Uuid != id {
				t.Errorf("asked for guest %s, which is there %d times: got %v %v", id, want, r, err)
			}
		}
	})
	s.ok("StopVM of what never was", func(ctx context.Context) error {
		_, err := s.hv.StopVM(ctx, &pluginv1.StopVMRequest{Host: s.f.Host, VmUuid: NewUUID(), Cold: true})
		return err
	})
	s.check("RebootVM", func(t *testing.T) {
		id := p.fresh(t, s.conn)
		p.make(t, s.conn, id)
		for range 2 {
			r, err := s.hv.RebootVM(call(t), &pluginv1.RebootVMRequest{Host: s.f.Host, Vm: s.f.VM(s.numbers.of(id), id), GraceSeconds: 1})
			if err != nil || r.Status.GetState() != pluginv1.VMState_VM_STATE_RUNNING {
				t.Fatalf("got %v %v", r, err)
			}
		}
		s.wantState(t, id, pluginv1.VMState_VM_STATE_RUNNING)
	})
	bad := func(what string, change func(*pluginv1.VM)) {
		s.refused("StartVM with "+what, func(ctx context.Context) error {
			vm := s.f.VM(0, NewUUID())
			change(vm)
			_, err := s.hv.StartVM(ctx, &pluginv1.StartVMRequest{Host: s.f.Host, Vm: vm})
			return err
		})
	}
	bad("a UUID that is none", func(vm *pluginv1.VM) { vm.Uuid = badUUID })
	bad("no processor", func(vm *pluginv1.VM) { vm.CpuNum = 0 })
	bad("no memory", func(vm *pluginv1.VM) { vm.MemoryBytes = 0 })
}

func (s *hypervisorSuite) watch() {
	s.check("WatchHost", func(t *testing.T) {
		p := s.vmPair()
		id := p.fresh(t, s.conn)
		p.make(t, s.conn, id)
		ctx, cancel := context.WithCancel(call(t))
		defer cancel()
		states := make(chan pluginv1.VMState, 64)
		ended := make(chan error, 1)
		go func() {
			ended <- s.hv.WatchHost(ctx, &pluginv1.WatchHostRequest{Host: s.f.Host}, func(vm *pluginv1.VMStatus) error {
				if vm.GetUuid() == id { // none: the host has changed
					states <- vm.GetState()
				}
				return nil
			})
		}()
		await := func(want pluginv1.VMState) {
			t.Helper()
			for {
				select {
				case got := <-states:
					if got == want {
						return
					}
				case err := <-ended:
					t.Fatalf("it ended before it told %s: %v", want, err)
				case <-time.After(30 * time.Second):
					t.Fatalf("it did not tell %s", want)
				}
			}
		}
		await(pluginv1.VMState_VM_STATE_RUNNING) // every guest is told first
		if _, err := s.hv.StopVM(call(t), &pluginv1.StopVMRequest{Host: s.f.Host, VmUuid: id, Cold: true}); err != nil {
			t.Fatal(err)
		}
		await(pluginv1.VMState_VM_STATE_STOPPED)
		cancel()
		if err := <-ended; !errors.Is(err, errs.Cancelled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

func (s *hypervisorSuite) pause() {
	pause := func(ctx context.Context, id string) error {
		_, err := s.hv.PauseVM(ctx, &pluginv1.PauseVMRequest{Host: s.f.Host, VmUuid: id})
		return err
	}
	if !s.offers(pluginsdk.OptionalPause) {
		s.unsupported("PauseVM", func(ctx context.Context) error { return pause(ctx, NewUUID()) })
		return
	}
	s.check("PauseVM and ResumeVM", func(t *testing.T) {
		p := s.vmPair()
		id := p.fresh(t, s.conn)
		p.make(t, s.conn, id)
		for range 2 {
			if err := pause(call(t), id); err != nil {
				t.Fatal(err)
			}
		}
		s.wantState(t, id, pluginv1.VMState_VM_STATE_PAUSED)
		for range 2 {
			if _, err := s.hv.ResumeVM(call(t), &pluginv1.ResumeVMRequest{Host: s.f.Host, VmUuid: id}); err != nil {
				t.Fatal(err)
			}
		}
		s.wantState(t, id, pluginv1.VMState_VM_STATE_RUNNING)
	})
}

func (s *hypervisorSuite) console() {
	if !s.offers(pluginsdk.OptionalConsole) {
		s.unsupported("Console", func(ctx context.Context) error {
			_, err := s.hv.Console(ctx, &pluginv1.ConsoleRequest{Host: s.f.Host, VmUuid: NewUUID()})
			return err
		})
		return
	}
	s.check("Console", func(t *testing.T) {
		p := s.vmPair()
		id := p.fresh(t, s.conn)
		p.make(t, s.conn, id)
		r, err := s.hv.Console(call(t), &pluginv1.ConsoleRequest{Host: s.f.Host, VmUuid: id})
		if err != nil || r.Scheme == "" || r.Host == "" || r.Port <= 0 {
			t.Errorf("got %v %v", r, err)
		}
	})
}

func (s *hypervisorSuite) gateway() {
	info := func(ctx context.Context, emit func([]byte) error) error {
		return s.hv.CallAgent(ctx, &pluginv1.CallAgentRequest{
			Host: s.f.Host, Method: hostv1.HostAgentService_Info_FullMethodName,
		}, emit)
	}
	if !s.offers(pluginsdk.OptionalHostGateway) {
		s.unsupported("CallAgent", func(ctx context.Context) error { return info(ctx, func([]byte) error { return nil }) })
		return
	}
	s.ok("CallAgent", func(ctx context.Context) error {
		answers := 0
		err := info(ctx, func(payload []byte) error {
			answers++
			return proto.Unmarshal(payload, &hostv1.InfoResponse{})
		})
		if err == nil && answers != 1 {
			err = fmt.Errorf("%d answers to a call that has one", answers)
		}
		return err
	})
	s.refused("CallAgent with a method that is none", func(ctx context.Context) error {
		return s.hv.CallAgent(ctx, &pluginv1.CallAgentRequest{Host: s.f.Host, Method: "/other.Service/Method"}, func([]byte) error { return nil })
	})
}

func (s *hypervisorSuite) disconnect() {
	s.ok("DisconnectHost", func(ctx context.Context) error {
		_, err := s.hv.DisconnectHost(ctx, &pluginv1.DisconnectHostRequest{Host: s.f.Host})
		return err
	})
}

package plugintest

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// migrate checks that a guest which moves ends on one of two hosts, whatever happens to
// the call.
func (s *hypervisorSuite) migrate() {
	if !s.offers(pluginsdk.OptionalMigrate) {
		s.unsupported("MigrateVM", func(ctx context.Context) error {
			_, err := s.hv.MigrateVM(ctx, &pluginv1.MigrateVMRequest{Source: s.f.Host, Target: s.f.Host, Vm: &pluginv1.VM{Uuid: NewUUID()}})
			return err
		})
		s.unsupported("EndMigration", func(ctx context.Context) error {
			_, err := s.hv.EndMigration(ctx, &pluginv1.EndMigrationRequest{Source: s.f.Host, Target: s.f.Host, VmUuid: NewUUID()})
			return err
		})
		return
	}
	s.ok("ConnectHost of the target", func(ctx context.Context) error {
		if s.f.Target == nil {
			return errors.New("the fixture has no Target")
		}
		_, err := s.hv.ConnectHost(ctx, &pluginv1.ConnectHostRequest{Host: s.f.Target})
		return err
	})
	s.check("MigrateVM", func(t *testing.T) {
		id := s.traveller(t)
		for range 2 {
			if err := s.move(call(t), s.conn, s.f.Host, s.f.Target, id); err != nil {
				t.Fatal(err)
			}
			s.wantAt(t, s.f.Target, s.f.Host, id)
		}
		s.wantEnd(t, s.f.Host, s.f.Target, id, true)
		if err := s.move(call(t), s.conn, s.f.Target, s.f.Host, id); err != nil {
			t.Fatalf("back: %v", err)
		}
		s.wantAt(t, s.f.Host, s.f.Target, id)
	})
	s.check("MigrateVM, answer lost", func(t *testing.T) {
		id := s.traveller(t)
		wantLost(t, s.move(call(t), DropAnswer(s.conn, 1), s.f.Host, s.f.Target, id))
		s.wantEnd(t, s.f.Host, s.f.Target, id, true)
		if err := s.move(call(t), s.conn, s.f.Host, s.f.Target, id); err != nil {
			t.Errorf("repeated: %v", err)
		}
		s.wantAt(t, s.f.Target, s.f.Host, id)
	})
	s.check("MigrateVM, cancelled", func(t *testing.T) {
		id := s.traveller(t)
		for _, w := range []time.Duration{0, time.Millisecond, 50 * time.Millisecond, 300 * time.Millisecond, time.Second} {
			ctx, cancel := context.WithCancel(call(t))
			timer := time.AfterFunc(w, cancel)
			err := s.move(ctx, s.conn, s.f.Host, s.f.Target, id)
			timer.Stop()
			cancel()
			r, ended := s.hv.EndMigration(call(t), &pluginv1.EndMigrationRequest{Source: s.f.Host, Target: s.f.Target, VmUuid: id})
			switch {
			case ended != nil:
				t.Fatalf("after %s: %v", w, ended)
			case err == nil && !r.GetMoved():
				t.Fatalf("cancelled after %s it has succeeded, and the guest has not moved", w)
			case r.GetMoved():
				s.wantAt(t, s.f.Target, s.f.Host, id)
				if err := s.move(call(t), s.conn, s.f.Target, s.f.Host, id); err != nil {
					t.Fatalf("back: %v", err)
				}
			}
			s.wantAt(t, s.f.Host, s.f.Target, id)
		}
	})
	s.check("EndMigration of what never moved", func(t *testing.T) {
		id := s.traveller(t)
		for range 2 {
			s.wantEnd(t, s.f.Host, s.f.Target, id, false)
			s.wantAt(t, s.f.Host, s.f.Target, id)
		}
		s.wantEnd(t, s.f.Host, s.f.Target, NewUUID(), false)
	})
	s.check("MigrateVM of what is not there", func(t *testing.T) {
		id := NewUUID()
		if err := s.move(call(t), s.conn, s.f.Host, s.f.Target, id); err == nil || errs.ClassOf(err) == errs.Internal {
			t.Errorf("got %v", err)
		}
		s.wantAt(t, nil, s.f.Target, id)
	})
	s.ok("DisconnectHost of the target", func(ctx context.Context) error {
		_, err := s.hv.DisconnectHost(ctx, &pluginv1.DisconnectHostRequest{Host: s.f.Target})
		return err
	})
}

// traveller makes a guest on Host, which is gone from both hosts when the test ends.
func (s *hypervisorSuite) traveller(t *testing.T) string {
	t.Helper()
	p := s.vmPair()
	id := p.fresh(t, s.conn)
	t.Cleanup(func() {
		if _, err := s.hv.DestroyVM(context.Background(), &pluginv1.DestroyVMRequest{Host: s.f.Target, VmUuid: id}); err != nil {
			t.Error(err)
		}
	})
	p.make(t, s.conn, id)
	return id
}

func (s *hypervisorSuite) move(ctx context.Context, conn grpc.ClientConnInterface, from, to *pluginv1.Host, id string) error {
	_, err := pluginsdk.NewHypervisorClient(conn).MigrateVM(ctx, &pluginv1.MigrateVMRequest{Source: from, Target: to, Vm: s.f.VM(s.numbers.of(id), id), Copy: s.f.Copy})
	return err
}

// wantEnd fails the test unless EndMigration says where the guest is.
func (s *hypervisorSuite) wantEnd(t *testing.T, from, to *pluginv1.Host, id string, moved bool) {
	t.Helper()
	r, err := s.hv.EndMigration(call(t), &pluginv1.EndMigrationRequest{Source: from, Target: to, VmUuid: id})
	if err != nil || r.GetMoved() != moved {
		t.Fatalf("EndMigration says %v, %v; want moved: %t", r, err, moved)
	}
}

// wantAt fails the test unless the guest runs on a host, if one is given, and the other
// does not have it.
func (s *hypervisorSuite) wantAt(t *testing.T, host, other *pluginv1.Host, id string) {
	t.Helper()
	list := func(h *pluginv1.Host) []*pluginv1.VMStatus {
		r, err := s.hv.ListVMs(call(t), &pluginv1.ListVMsRequest{Host: h, VmUuid: id})
		if err != nil {
			t.Fatal(err)
		}
		return r.GetVms()
	}
	if host != nil {
		if vms := list(host); len(vms) != 1 || vms[0].GetState() != pluginv1.VMState_VM_STATE_RUNNING {
			t.Fatalf("guest %s is not running on host %s: %v", id, host.GetUuid(), vms)
		}
	}
	if vms := list(other); len(vms) != 0 {
		t.Fatalf("host %s has guest %s: %v", other.GetUuid(), id, vms)
	}
}

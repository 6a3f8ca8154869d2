package plugintest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// letGo is how long a detach may wait for the guest, with what a busy machine adds.
const letGo = time.Minute

// nics checks that cards come and go (pluginsdk.NICAttacher).
func (s *hypervisorSuite) nics() {
	if !s.offers(pluginsdk.OptionalAttachNIC) {
		s.unsupported("AttachNIC", func(ctx context.Context) error { return s.attach(ctx, s.hv, NewUUID(), &pluginv1.NIC{}) })
		s.unsupported("DetachNIC", func(ctx context.Context) error { return s.detach(ctx, s.hv, NewUUID(), &pluginv1.NIC{}) })
		return
	}
	s.check("AttachNIC and DetachNIC", s.comeAndGo)
	s.check("AttachNIC and DetachNIC, cancelled and answers lost", s.lostNICs)
	s.ok("DetachNIC of a guest that never was", func(ctx context.Context) error { return s.detach(ctx, s.hv, NewUUID(), s.f.NIC(0, NewUUID())) })
	s.check("AttachNIC to a guest that never was", func(t *testing.T) {
		if err := s.attach(call(t), s.hv, NewUUID(), s.f.NIC(0, NewUUID())); !errors.Is(err, errs.Refused) {
			t.Errorf("got %v, want %s", err, errs.Refused)
		}
	})
}

func (s *hypervisorSuite) attach(ctx context.Context, hv pluginsdk.HypervisorClient, vm string, n *pluginv1.NIC) error {
	_, err := hv.AttachNIC(ctx, &pluginv1.AttachNICRequest{Host: s.f.Host, VmUuid: vm, Nic: n})
	return err
}

func (s *hypervisorSuite) detach(ctx context.Context, hv pluginsdk.HypervisorClient, vm string, n *pluginv1.NIC) error {
	_, err := hv.DetachNIC(ctx, &pluginv1.DetachNICRequest{Host: s.f.Host, VmUuid: vm, Nic: n})
	return err
}

func (s *hypervisorSuite) wantPlugged(t *testing.T, vm string, n *pluginv1.NIC, want bool) {
	t.Helper()
	got, err := s.f.Plugged(call(t), vm, n)
	if err != nil || got != want {
		t.Fatalf("guest %s has NIC %s: %v %v, want %v", vm, n.GetUuid(), got, err, want)
	}
}

// wantGone detaches a card. A guest without a system keeps it, and that is told.
func (s *hypervisorSuite) wantGone(t *testing.T, vm string, n *pluginv1.NIC) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), letGo)
	defer cancel()
	err := s.detach(ctx, s.hv, vm, n)
	if s.f.Idle {
		if errs.ClassOf(err) != errs.Unavailable {
			t.Fatalf("the guest keeps it, and the answer is %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	s.wantPlugged(t, vm, n, false)
}

func (s *hypervisorSuite) comeAndGo(t *testing.T) {
	p := s.vmPair()
	id := p.fresh(t, s.conn)
	p.make(t, s.conn, id)
	first, second := s.f.NIC(0, NewUUID()), s.f.NIC(1, NewUUID())
	for range 2 {
		if err := s.attach(call(t), s.hv, id, first); err != nil {
			t.Fatal(err)
		}
		s.wantPlugged(t, id, first, true)
	}
	if err := s.attach(call(t), s.hv, id, second); err != nil {
		t.Fatal(err)
	}
	s.wantPlugged(t, id, second, true)
	s.wantGone(t, id, first)
	s.wantPlugged(t, id, second, true)
	if s.f.Idle {
		return
	}
	s.wantGone(t, id, first) // again
	if err := s.attach(call(t), s.hv, id, first); err != nil {
		t.Errorf("what was pulled out is not plugged in again: %v", err)
	}
	s.wantPlugged(t, id, first, true)
}

func (s *hypervisorSuite) lostNICs(t *testing.T) {
	p := s.vmPair()
	id := p.fresh(t, s.conn)
	p.make(t, s.conn, id)
	n := s.f.NIC(0, NewUUID())
	wantLost(t, s.attach(call(t), pluginsdk.NewHypervisorClient(DropAnswer(s.conn, 1)), id, n))
	if err := s.attach(call(t), s.hv, id, n); err != nil {
		t.Errorf("repeated: %v", err)
	}
	s.wantPlugged(t, id, n, true)
	ctx, cancel := context.WithCancel(call(t))
	cancel()
	if err := s.attach(ctx, s.hv, id, s.f.NIC(1, NewUUID())); !errors.Is(err, errs.Cancelled) {
		t.Errorf("cancelled: %v", err)
	}
	if s.f.Idle {
		return
	}
	wantLost(t, s.detach(call(t), pluginsdk.NewHypervisorClient(DropAnswer(s.conn, 1)), id, n))
	s.wantGone(t, id, n)
}

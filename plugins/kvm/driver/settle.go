package driver

import (
	"context"
	"errors"
	"time"

	"github.com/digitalocean/go-libvirt"

	"github.com/kumo-cloud/kumo/plugins/kvm/hostlink"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// This file finds out what became of a migration, and brings it to an end. libvirtd keeps
// what is needed for that as the state of the guest: while it is sent and when it was, it
// is paused for a migration at the source, and at the target until it runs there.

const (
	// settleWait bounds it all, settleLook is how often it is looked again.
	settleWait = time.Minute
	settleLook = 200 * time.Millisecond
)

// seen is a guest on one of the hosts.
type seen struct {
	dom   libvirt.Domain
	there bool
	// between: it is paused as it is being moved, and neither there nor gone.
	between bool
	// sent: a migration from here is going on.
	sent bool
}

// settle returns when the guest is on one host alone, and tells whether that is the one to
// which it moves. One that is on none has ended, and has not moved. Errors: Internal for
// one that runs on both.
func (m *movement) settle(ctx context.Context) (moved bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	for {
		from, err := see(ctx, m.from, m.uuid)
		if err != nil {
			return false, err
		}
		to, err := see(ctx, m.to, m.uuid)
		if err != nil {
			return false, err
		}
		ended, moved, err := m.toward(ctx, from, to)
		if err != nil || ended {
			return moved, err
		}
		select {
		case <-ctx.Done():
			return false, errs.Wrap(errs.ClassOf(ctx.Err()), vmObject(m.uuid), ctx.Err(), "its migration has not ended")
		case <-time.After(settleLook):
		}
	}
}

// toward does what brings the guest nearer to the end of a migration; ended tells that it
// is there. A guest that runs at the target has moved, as nothing else lets it run there.
func (m *movement) toward(ctx context.Context, from, to seen) (ended, moved bool, err error) {
	object := vmObject(m.uuid)
	switch arrived := to.there && !to.between; {
	case arrived && !from.there:
		return true, true, nil
	case arrived && from.between:
		return false, false, cutPower(ctx, m.from, from.dom, m.uuid)
	case arrived:
		return false, false, errs.New(errs.Internal, object, "it runs on both hosts").WithAdvice("stop it on one of them by hand")
	case from.sent:
		return false, false, abortJob(ctx, m.from, from.dom)
	case to.there:
		return false, false, cutPower(ctx, m.to, to.dom, m.uuid)
	case from.there && from.between:
		_, err := call(ctx, m.from, object, func(l *libvirt.Libvirt) (nothing, error) { return nothing{}, l.DomainResume(from.dom) })
		if hostlink.IsGone(err) || errors.Is(err, errs.Refused) {
			err = nil // it has changed meanwhile, and is looked at again
		}
		return false, false, err
	}
	return true, false, nil
}

func see(ctx context.Context, s *slot, uuid string) (v seen, err error) {
	if v.dom, err = lookup(ctx, s, uuid); err == nil {
		v, err = seeDomain(ctx, s, v.dom)
	}
	if hostlink.IsGone(err) {
		return seen{}, nil
	}
	return v, err
}

func seeDomain(ctx context.Context, s *slot, dom libvirt.Domain) (v seen, err error) {
	v.dom = dom
	now, err := askState(ctx, s, dom)
	if err != nil {
		return v, err
	}
	reason := libvirt.DomainPausedReason(now.reason)
	v.there = now.state != libvirt.DomainShutoff
	v.between = now.starting() || now.state == libvirt.DomainPaused && reason == libvirt.DomainPausedMigration
	job, err := ask(ctx, s, vmObject(uuidText(dom.UUID)), func(l *libvirt.Libvirt) (int32, error) {
		kind, _, _, _, _, _, _, _, _, _, _, _, err := l.DomainGetJobInfo(dom)
		return kind, err
	})
	if errors.Is(err, errs.Refused) {
		err = nil // it is about to end, or to begin
	}
	v.sent = libvirt.DomainJobType(job) == libvirt.DomainJobBounded || libvirt.DomainJobType(job) == libvirt.DomainJobUnbounded
	return v, err
}

// abortJob has a guest go on that is being sent; one that is not is a success.
func abortJob(ctx context.Context, s *slot, dom libvirt.Domain) error {
	_, err := ask(ctx, s, vmObject(uuidText(dom.UUID)), func(l *libvirt.Libvirt) (nothing, error) { return nothing{}, l.DomainAbortJob(dom) })
	if hostlink.IsGone(err) || errors.Is(err, errs.Refused) {
		return nil
	}
	return err
}

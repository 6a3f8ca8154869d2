package driver

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/digitalocean/go-libvirt"

	"github.com/kumo-cloud/kumo/plugins/kvm/domain"
	"github.com/kumo-cloud/kumo/plugins/kvm/hostlink"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// letGo is how long a guest may take to let go of a device.
const letGo = 30 * time.Second

// AttachNIC plugs a card into a guest that runs. Its domain is transient: what it is
// started with next is told by StartVM.
func (d *Driver) AttachNIC(ctx context.Context, r *pluginv1.AttachNICRequest) (*pluginv1.AttachNICResponse, error) {
	uuid, object := r.GetVmUuid(), vmObject(r.GetVmUuid())
	text, err := domain.NIC(uuid, r.GetNic())
	if err != nil {
		return nil, err
	}
	s, err := d.connect(ctx, r.GetHost())
	if err != nil {
		return nil, err
	}
	dom, err := lookup(ctx, s, uuid)
	if hostlink.IsGone(err) {
		return nil, errs.New(errs.Refused, object, "it does not run on the host").WithAdvice("start it first")
	}
	if err != nil {
		return nil, err
	}
	has, err := hasNIC(ctx, s, dom, r.GetNic())
	if err != nil || has {
		return &pluginv1.AttachNICResponse{}, err
	}
	err = s.creating(ctx, uuid, func(ctx context.Context) error {
		_, err := call(ctx, s, object, func(l *libvirt.Libvirt) (nothing, error) {
			return nothing{}, l.DomainAttachDeviceFlags(dom, text, uint32(libvirt.DomainAffectLive))
		})
		return err
	})
	if err != nil {
		return nil, explainNIC(object, err)
	}
	return &pluginv1.AttachNICResponse{}, nil
}

// explainNIC says what to do about a card for which there is no place. libvirt has no
// code for that.
func explainNIC(object string, err error) error {
	if strings.Contains(err.Error(), "PCI slot") {
		return errs.Wrap(errs.Exhausted, object, err, "no slot is free for another device while it runs").WithAdvice("stop it, and attach the card then")
	}
	return err
}

func hasNIC(ctx context.Context, s *slot, dom libvirt.Domain, n *pluginv1.NIC) (bool, error) {
	text, err := ask(ctx, s, vmObject(uuidText(dom.UUID)), func(l *libvirt.Libvirt) (string, error) { return l.DomainGetXMLDesc(dom, 0) })
	if err != nil {
		return false, err
	}
	return domain.HasNIC(text, n.GetUuid())
}

// DetachNIC pulls a card out of a guest, and waits until libvirt tells that the guest
// has let go of it.
func (d *Driver) DetachNIC(ctx context.Context, r *pluginv1.DetachNICRequest) (*pluginv1.DetachNICResponse, error) {
	s, err := d.connect(ctx, r.GetHost())
	if err != nil {
		return nil, err
	}
	dom, err := lookup(ctx, s, r.GetVmUuid())
	if hostlink.IsGone(err) {
		return &pluginv1.DetachNICResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	err = pullOut(ctx, s, dom, domain.Alias(r.GetNic().GetUuid()), func() (bool, error) { return hasNIC(ctx, s, dom, r.GetNic()) })
	return &pluginv1.DetachNICResponse{}, err
}

// pullOut takes a device from a guest that runs; has tells whether it has it. What is
// not there, device or guest, is a success. libvirt looks for the device when all that
// it does for the guest has ended, so one that is being plugged in is found.
func pullOut(ctx context.Context, s *slot, dom libvirt.Domain, alias string, has func() (bool, error)) error {
	object := vmObject(uuidText(dom.UUID))
	removals, stop, err := s.removals.subscribe(object)
	if err != nil {
		return err
	}
	defer stop()
	lives, stopLives, err := s.feed.subscribe(object)
	if err != nil {
		return err
	}
	defer stopLives()
	_, err = call(ctx, s, object, func(l *libvirt.Libvirt) (nothing, error) {
		return nothing{}, l.DomainDetachDeviceAlias(dom, alias, uint32(libvirt.DomainAffectLive))
	})
	if hostlink.IsGone(err) || errors.Is(err, errs.Refused) { // refused: it does not run
		return nil
	}
	if err != nil { // libvirt has no code of its own for a device that is not there
		if still, failed := has(); failed == nil && !still || hostlink.IsGone(failed) {
			return nil
		}
		if !strings.Contains(err.Error(), "in the process of unplug") { // by an earlier call
			return err
		}
	}
	return awaitRemoval(ctx, dom, alias, removals, lives)
}

func awaitRemoval(ctx context.Context, dom libvirt.Domain, alias string, removals <-chan removal, lives <-chan libvirt.DomainEventLifecycleMsg) error {
	object := vmObject(uuidText(dom.UUID))
	kept := func(why string) error {
		return errs.New(errs.Unavailable, object, "it does not let go of %s: %s", alias, why).
			WithAdvice("its system must run, and know that devices can be pulled out; try again, or stop it first")
	}
	late := time.NewTimer(letGo)
	defer late.Stop()
	for {
		select {
		case e, open := <-removals:
			switch {
			case !open:
				return errs.New(errs.Unavailable, object, "the connection to libvirt was lost while %s was pulled out", alias)
			case e.vm != dom.UUID || e.alias != alias:
			case e.failed:
				return kept("its system refuses")
			default:
				return nil
			}
		case e, open := <-lives:
			if !open {
				return errs.New(errs.Unavailable, object, "the connection to libvirt was lost while %s was pulled out", alias)
			}
			if e.Dom.UUID == dom.UUID && libvirt.DomainEventType(e.Event) == libvirt.DomainEventStopped {
				return nil
			}
		case <-late.C:
			return kept("it has not answered for " + letGo.String())
		case <-ctx.Done():
			return errs.Wrap(errs.ClassOf(ctx.Err()), object, ctx.Err(), "it has not let go of %s yet", alias)
		}
	}
}

package driver

import (
	"context"
	"errors"
	"path"
	"strings"
	"time"

	"github.com/digitalocean/go-libvirt"

	"github.com/kumo-cloud/kumo/plugins/kvm/domain"
	"github.com/kumo-cloud/kumo/plugins/kvm/hostlink"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// callTimeout bounds one call to libvirt; starting a guest is the longest.
const callTimeout = 2 * time.Minute

// call runs one call to libvirt about a guest.
func call[T any](ctx context.Context, s *slot, object string, f func(*libvirt.Libvirt) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return hostlink.Call(ctx, s.link, object, f)
}

// ask is call for events and short questions.
func ask[T any](ctx context.Context, s *slot, object string, f func(*libvirt.Libvirt) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return hostlink.Ask(ctx, s.link, object, f)
}

type nothing struct{}

// lookup finds a guest; errs.NotFound when libvirt has none of that UUID.
func lookup(ctx context.Context, s *slot, uuid string) (libvirt.Domain, error) {
	id, err := domain.ParseUUID(uuid)
	if err != nil {
		return libvirt.Domain{}, err
	}
	if err := s.creations.wait(ctx, uuid); err != nil {
		return libvirt.Domain{}, err
	}
	return ask(ctx, s, vmObject(uuid), func(l *libvirt.Libvirt) (libvirt.Domain, error) { return l.DomainLookupByUUID(id) })
}

// StartVM starts the guest as a transient domain: libvirt keeps nothing of it
// when it ends. So a host that reboots, or that comes back after its guests
// were started elsewhere, has no definition from which an old guest could be
// started on a disk that is in use; the database alone knows what exists.
func (d *Driver) StartVM(ctx context.Context, r *pluginv1.StartVMRequest) (*pluginv1.StartVMResponse, error) {
	s, err := d.connect(ctx, r.GetHost())
	if err != nil {
		return nil, err
	}
	status, err := d.start(ctx, s, r.GetVm())
	if err != nil {
		return nil, err
	}
	return &pluginv1.StartVMResponse{Status: status}, nil
}

func (d *Driver) start(ctx context.Context, s *slot, vm *pluginv1.VM) (*pluginv1.VMStatus, error) {
	kvm, reason := d.useKVM(s)
	text, err := d.define(ctx, s, vm, kvm)
	if err != nil {
		return nil, err
	}
	status, err := running(ctx, s, vm.GetUuid())
	if err != nil || status != nil {
		return status, err
	}
	err = s.create(ctx, vm.GetUuid(), text)
	if err != nil && kvm && d.cfg.Emulation == Auto && aboutKVM(err) {
		s.failKVM(err)
		d.log.Warn("KVM does not work on the host, guests are emulated", "vm", vm.GetUuid(), "error", err)
		if text, err = d.define(ctx, s, vm, false); err != nil {
			return nil, err
		}
		err = s.create(ctx, vm.GetUuid(), text)
	} else if !kvm {
		d.log.Debug("guest is emulated", "vm", vm.GetUuid(), "reason", reason)
	}
	// A call that was cut off may have worked, and one of two that came at once
	// finds the other's guest: what runs now decides.
	if err != nil && ctx.Err() != nil {
		return nil, err
	}
	status, lookErr := running(ctx, s, vm.GetUuid())
	switch {
	case status != nil:
		return status, nil
	case err != nil:
		return nil, explain(vm, err)
	case lookErr != nil:
		return nil, lookErr
	}
	return nil, errs.New(errs.Refused, vmObject(vm.GetUuid()), "it ended right after its start").
		WithAdvice("its log on the host is %s", domain.Logs(vm.GetUuid())[1])
}

func (d *Driver) define(ctx context.Context, s *slot, vm *pluginv1.VM, kvm bool) (string, error) {
	o := domain.Options{KVM: kvm, VNCListen: s.link.Address, DiskCache: d.cfg.DiskCache}
	if !kvm && domain.IsX86(vm) {
		var err error
		if o.Emulated, err = s.processors.nearest(ctx, s); err != nil {
			return "", err
		}
	}
	return domain.Build(vm, o)
}

// aboutKVM recognises the messages of libvirt and QEMU when KVM does not work.
func aboutKVM(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "kvm")
}

// running returns the guest's status when it runs or is paused, nil otherwise.
// A guest that another call is starting, perhaps one whose caller gave up, is
// waited for: it may still fail.
func running(ctx context.Context, s *slot, uuid string) (*pluginv1.VMStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	events, stop, err := s.feed.subscribe(vmObject(uuid))
	if err != nil {
		return nil, err
	}
	defer stop()
	for {
		status, starting, err := runningNow(ctx, s, uuid)
		if hostlink.IsGone(err) {
			return nil, nil
		}
		if err != nil || !starting {
			return status, err
		}
		if err := awaitEvent(ctx, events, uuid); err != nil {
			return nil, err
		}
	}
}

func runningNow(ctx context.Context, s *slot, uuid string) (status *pluginv1.VMStatus, starting bool, err error) {
	dom, err := lookup(ctx, s, uuid)
	if err != nil {
		return nil, false, err
	}
	now, err := askState(ctx, s, dom)
	if err != nil || now.starting() {
		return nil, err == nil, err
	}
	status, err = statusOf(ctx, s, dom)
	if err != nil || status.GetState() != pluginv1.VMState_VM_STATE_RUNNING && status.GetState() != pluginv1.VMState_VM_STATE_PAUSED {
		return nil, false, err
	}
	return status, false, nil
}

// awaitEvent waits for the next event of the guest.
func awaitEvent(ctx context.Context, events <-chan libvirt.DomainEventLifecycleMsg, uuid string) error {
	for {
		select {
		case e, open := <-events:
			if !open {
				return errs.New(errs.Unavailable, vmObject(uuid), "the connection to libvirt was lost while it started")
			}
			if uuidText(e.Dom.UUID) == uuid {
				return nil
			}
		case <-ctx.Done():
			return errs.Wrap(errs.ClassOf(ctx.Err()), vmObject(uuid), ctx.Err(), "it is still being started")
		}
	}
}

// StopVM asks the guest to shut down and waits for libvirt to say that it
// ended; after the grace, or at once when cold, it cuts the power.
func (d *Driver) StopVM(ctx context.Context, r *pluginv1.StopVMRequest) (*pluginv1.StopVMResponse, error) {
	s, err := d.connect(ctx, r.GetHost())
	if err != nil {
		return nil, err
	}
	grace := time.Duration(r.GetGraceSeconds()) * time.Second
	if r.GetCold() {
		grace = 0
	}
	if err := d.stop(ctx, s, r.GetVmUuid(), grace); err != nil {
		return nil, err
	}
	return &pluginv1.StopVMResponse{}, nil
}

func (d *Driver) stop(ctx context.Context, s *slot, uuid string, grace time.Duration) error {
	dom, err := lookup(ctx, s, uuid)
	if hostlink.IsGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if grace > 0 {
		ended, err := d.askToStop(ctx, s, dom, uuid, grace)
		if err != nil || ended {
			return err
		}
	}
	return cutPower(ctx, s, dom, uuid)
}

// askToStop presses the guest's power button and waits for its end.
func (d *Driver) askToStop(ctx context.Context, s *slot, dom libvirt.Domain, uuid string, grace time.Duration) (ended bool, err error) {
	events, stop, err := s.feed.subscribe(vmObject(uuid))
	if err != nil {
		return false, err
	}
	defer stop()
	_, err = call(ctx, s, vmObject(uuid), func(l *libvirt.Libvirt) (nothing, error) {
		return nothing{}, l.DomainShutdownFlags(dom, libvirt.DomainShutdownAcpiPowerBtn)
	})
	if hostlink.IsGone(err) {
		return true, nil
	}
	if errors.Is(err, errs.Refused) {
		return false, nil // it does not run
	}
	if err != nil {
		return false, err
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	for {
		select {
		case e, open := <-events:
			if !open {
				return false, errs.New(errs.Unavailable, vmObject(uuid), "the connection to libvirt was lost while it stopped")
			}
			if e.Dom.UUID == dom.UUID && libvirt.DomainEventType(e.Event) == libvirt.DomainEventStopped {
				return true, nil
			}
		case <-timer.C:
			d.log.Info("guest did not shut down in time, its power is cut", "vm", uuid, "grace", grace.String())
			return false, nil
		case <-ctx.Done():
			return false, errs.Wrap(errs.ClassOf(ctx.Err()), vmObject(uuid), ctx.Err(), "it has not shut down yet")
		}
	}
}

// cutPower ends the guest; one that is gone or does not run is a success.
func cutPower(ctx context.Context, s *slot, dom libvirt.Domain, uuid string) error {
	_, err := call(ctx, s, vmObject(uuid), func(l *libvirt.Libvirt) (nothing, error) { return nothing{}, l.DomainDestroyFlags(dom, 0) })
	if hostlink.IsGone(err) || errors.Is(err, errs.Refused) {
		return nil
	}
	return err
}

// RebootVM stops and starts the guest, so that a changed definition counts.
func (d *Driver) RebootVM(ctx context.Context, r *pluginv1.RebootVMRequest) (*pluginv1.RebootVMResponse, error) {
	s, err := d.connect(ctx, r.GetHost())
	if err != nil {
		return nil, err
	}
	// A definition that is wrong must not cost the guest its life.
	kvm, _ := d.useKVM(s)
	if _, err := d.define(ctx, s, r.GetVm(), kvm); err != nil {
		return nil, err
	}
	if err := d.stop(ctx, s, r.GetVm().GetUuid(), time.Duration(r.GetGraceSeconds())*time.Second); err != nil {
		return nil, err
	}
	status, err := d.start(ctx, s, r.GetVm())
	if err != nil {
		return nil, err
	}
	return &pluginv1.RebootVMResponse{Status: status}, nil
}

// DestroyVM cuts the power and removes the guest's definition, should one have
// been made by hand, its logs and what its firmware keeps.
func (d *Driver) DestroyVM(ctx context.Context, r *pluginv1.DestroyVMRequest) (*pluginv1.DestroyVMResponse, error) {
	s, err := d.connect(ctx, r.GetHost())
	if err != nil {
		return nil, err
	}
	uuid := r.GetVmUuid()
	dom, err := lookup(ctx, s, uuid)
	switch {
	case err == nil:
		if err := cutPower(ctx, s, dom, uuid); err != nil {
			return nil, err
		}
		_, err := call(ctx, s, vmObject(uuid), func(l *libvirt.Libvirt) (nothing, error) {
			return nothing{}, l.DomainUndefineFlags(dom, libvirt.DomainUndefineManagedSave|libvirt.DomainUndefineNvram|libvirt.DomainUndefineSnapshotsMetadata)
		})
		if err != nil && !hostlink.IsGone(err) && !errors.Is(err, errs.Refused) {
			return nil, err
		}
	case !hostlink.IsGone(err):
		return nil, err
	}
	agent := hostv1.NewHostAgentServiceClient(s.link.Agent())
	for _, file := range append(domain.Logs(uuid), domain.NVRAM(uuid)) {
		if _, err := agent.DeleteFile(ctx, &hostv1.DeleteFileRequest{Path: file, Root: path.Dir(file)}); err != nil {
			return nil, err
		}
	}
	return &pluginv1.DestroyVMResponse{}, nil
}

// PauseVM stops the guest's processors; one that is paused stays so.
func (d *Driver) PauseVM(ctx context.Context, r *pluginv1.PauseVMRequest) (*pluginv1.PauseVMResponse, error) {
	err := d.setPaused(ctx, r.GetHost(), r.GetVmUuid(), true)
	if err != nil {
		return nil, err
	}
	return &pluginv1.PauseVMResponse{}, nil
}

// ResumeVM lets a paused guest run; one that runs stays so.
func (d *Driver) ResumeVM(ctx context.Context, r *pluginv1.ResumeVMRequest) (*pluginv1.ResumeVMResponse, error) {
	err := d.setPaused(ctx, r.GetHost(), r.GetVmUuid(), false)
	if err != nil {
		return nil, err
	}
	return &pluginv1.ResumeVMResponse{}, nil
}

func (d *Driver) setPaused(ctx context.Context, host *pluginv1.Host, uuid string, paused bool) error {
	s, err := d.connect(ctx, host)
	if err != nil {
		return err
	}
	dom, err := lookup(ctx, s, uuid)
	if err != nil {
		return err
	}
	status, err := statusOf(ctx, s, dom)
	if err != nil {
		return err
	}
	if (status.GetState() == pluginv1.VMState_VM_STATE_PAUSED) == paused {
		return nil
	}
	_, err = call(ctx, s, vmObject(uuid), func(l *libvirt.Libvirt) (nothing, error) {
		if paused {
			return nothing{}, l.DomainSuspend(dom)
		}
		return nothing{}, l.DomainResume(dom)
	})
	return err
}

// Console tells where the guest's screen is.
func (d *Driver) Console(ctx context.Context, r *pluginv1.ConsoleRequest) (*pluginv1.ConsoleResponse, error) {
	s, err := d.connect(ctx, r.GetHost())
	if err != nil {
		return nil, err
	}
	dom, err := lookup(ctx, s, r.GetVmUuid())
	if err != nil {
		return nil, err
	}
	status, err := statusOf(ctx, s, dom)
	if err != nil {
		return nil, err
	}
	if status.GetVncPort() == 0 {
		return nil, errs.New(errs.Refused, vmObject(r.GetVmUuid()), "it has no screen, because it does not run")
	}
	return &pluginv1.ConsoleResponse{Scheme: "vnc", Host: s.link.Address.String(), Port: status.GetVncPort()}, nil
}

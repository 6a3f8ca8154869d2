package driver

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/digitalocean/go-libvirt"

	"github.com/kumo-cloud/kumo/plugins/kvm/domain"
	"github.com/kumo-cloud/kumo/plugins/kvm/hostlink"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// metadataElement is VIR_DOMAIN_METADATA_ELEMENT of libvirt's API.
const metadataElement = 2

// uuidText is a guest's UUID in the core's form.
func uuidText(id libvirt.UUID) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 32)
	for _, b := range id {
		out = append(out, digits[b>>4], digits[b&15])
	}
	return string(out)
}

// isOurs tells a guest that this plugin started from an operator's own.
func isOurs(ctx context.Context, s *slot, dom libvirt.Domain) (bool, error) {
	_, err := ask(ctx, s, vmObject(uuidText(dom.UUID)), func(l *libvirt.Libvirt) (string, error) {
		return l.DomainGetMetadata(dom, metadataElement, libvirt.OptString{domain.Namespace}, 0)
	})
	if hostlink.IsGone(err) {
		return false, nil
	}
	return err == nil, err
}

// vmState is libvirt's answer about a guest.
type vmState struct {
	state  libvirt.DomainState
	reason int32
}

// starting reports that another call is still starting the guest: QEMU is
// there, its processors wait.
func (v vmState) starting() bool {
	return v.state == libvirt.DomainPaused && libvirt.DomainPausedReason(v.reason) == libvirt.DomainPausedStartingUp
}

func askState(ctx context.Context, s *slot, dom libvirt.Domain) (vmState, error) {
	return ask(ctx, s, vmObject(uuidText(dom.UUID)), func(l *libvirt.Libvirt) (vmState, error) {
		state, reason, err := l.DomainGetState(dom, 0)
		return vmState{libvirt.DomainState(state), reason}, err
	})
}

// statusOf asks state and screen of a guest. One that is being started counts
// as running: it has its place on the host.
func statusOf(ctx context.Context, s *slot, dom libvirt.Domain) (*pluginv1.VMStatus, error) {
	status, definition, err := look(ctx, s, dom)
	if err == nil {
		err = s.cuts.tell(status, definition)
	}
	return status, err
}

// look is statusOf with the definition of a guest that runs.
func look(ctx context.Context, s *slot, dom libvirt.Domain) (status *pluginv1.VMStatus, definition string, err error) {
	uuid := uuidText(dom.UUID)
	now, err := askState(ctx, s, dom)
	if err != nil {
		return nil, "", err
	}
	status = &pluginv1.VMStatus{Uuid: uuid, State: stateOf(now.state)}
	s.fulls.set(uuid, now.waitsForRoom())
	if now.waitsForRoom() {
		status.Problems = append(status.Problems, noRoom)
	}
	if now.starting() {
		status.State = pluginv1.VMState_VM_STATE_RUNNING
	}
	if status.State != pluginv1.VMState_VM_STATE_RUNNING && status.State != pluginv1.VMState_VM_STATE_PAUSED {
		return status, "", nil
	}
	definition, err = ask(ctx, s, vmObject(uuid), func(l *libvirt.Libvirt) (string, error) { return l.DomainGetXMLDesc(dom, 0) })
	if err != nil {
		return nil, "", err
	}
	status.VncPort, err = domain.VNCPort(definition)
	return status, definition, err
}

func stateOf(state libvirt.DomainState) pluginv1.VMState {
	switch state {
	case libvirt.DomainRunning, libvirt.DomainBlocked, libvirt.DomainShutdown, libvirt.DomainNostate:
		return pluginv1.VMState_VM_STATE_RUNNING
	case libvirt.DomainPaused, libvirt.DomainPmsuspended:
		return pluginv1.VMState_VM_STATE_PAUSED
	case libvirt.DomainCrashed:
		return pluginv1.VMState_VM_STATE_CRASHED
	}
	return pluginv1.VMState_VM_STATE_STOPPED
}

// list returns the guests that this plugin has on the host.
func list(ctx context.Context, s *slot, object string) ([]*pluginv1.VMStatus, error) {
	domains, err := ask(ctx, s, object, func(l *libvirt.Libvirt) ([]libvirt.Domain, error) {
		all, _, err := l.ConnectListAllDomains(1, 0)
		return all, err
	})
	if err != nil {
		return nil, err
	}
	all := found{owner: map[string]*pluginv1.VMStatus{}}
	for _, dom := range domains {
		if err := all.add(ctx, s, dom); err != nil {
			return nil, err
		}
	}
	all.plug(ctx, s, object)
	return all.vms, nil
}

// listOne is list for one guest.
func listOne(ctx context.Context, s *slot, uuid string) ([]*pluginv1.VMStatus, error) {
	dom, err := lookup(ctx, s, uuid)
	if hostlink.IsGone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ours, err := isOurs(ctx, s, dom)
	if err != nil || !ours {
		return nil, err
	}
	status, err := statusOf(ctx, s, dom)
	if hostlink.IsGone(err) {
		return nil, nil
	}
	return []*pluginv1.VMStatus{status}, err
}

// found is what was found on a host: guests, where they are plugged in, and whose
// each of these devices is.
type found struct {
	vms   []*pluginv1.VMStatus
	ports []*hostv1.Port
	owner map[string]*pluginv1.VMStatus
}

// add looks at a guest when it is this plugin's and has not ended meanwhile.
func (f *found) add(ctx context.Context, s *slot, dom libvirt.Domain) error {
	ours, err := isOurs(ctx, s, dom)
	if err != nil || !ours {
		return err
	}
	status, definition, err := look(ctx, s, dom)
	if hostlink.IsGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	f.vms = append(f.vms, status)
	if definition != "" {
		ports, err := domain.Ports(definition)
		if err != nil {
			return err
		}
		f.ports = append(f.ports, ports...)
		for _, p := range ports {
			f.owner[p.GetDevice()] = status
		}
	}
	return nil
}

// plug has the agent plug in again what was cut off, as by a bridge that was
// removed while the agent did not run. What stays cut off is told of the guest.
func (f *found) plug(ctx context.Context, s *slot, object string) {
	if len(f.ports) == 0 {
		s.cuts.set(nil)
		return
	}
	answer, err := hostv1.NewHostAgentServiceClient(s.link.Agent()).Plug(ctx, &hostv1.PlugRequest{Ports: f.ports})
	if err != nil {
		s.log.Warn("guests' devices were not looked at", "object", object, "error", err)
		return
	}
	now := map[string]string{}
	for _, failure := range answer.GetFailures() {
		s.log.Warn("a guest's device is cut off", "object", object, "device", failure.GetKey(), "error", failure.GetText())
		now[failure.GetKey()] = cutOff(failure)
		if status := f.owner[failure.GetKey()]; status != nil {
			status.Problems = append(status.Problems, now[failure.GetKey()])
		}
	}
	s.cuts.set(now)
}

// ListVMs tells the guests that this plugin has on the host, or the one that it
// is asked for; never an operator's.
func (d *Driver) ListVMs(ctx context.Context, r *pluginv1.ListVMsRequest) (*pluginv1.ListVMsResponse, error) {
	s, err := d.connect(ctx, r.GetHost())
	if err != nil {
		return nil, err
	}
	object := "host " + r.GetHost().GetUuid()
	var vms []*pluginv1.VMStatus
	if r.GetVmUuid() == "" {
		vms, err = list(ctx, s, object)
	} else {
		vms, err = listOne(ctx, s, r.GetVmUuid())
	}
	if err != nil {
		return nil, guestsUnknown(object, err)
	}
	return &pluginv1.ListVMsResponse{Vms: vms}, nil
}

// guestsUnknown names the host in an error that came while one of its guests
// was asked about: what failed is the call about the host.
func guestsUnknown(object string, err error) error {
	return errs.Wrap(errs.ClassOf(err), object, err, "its guests cannot be told")
}

// WatchHost emits the state of every guest, then each change as libvirt tells
// it. It subscribes before it lists, so nothing falls between. What the host's agent tells
// of, and that other guests wait for room, is a change of the host.
func (d *Driver) WatchHost(ctx context.Context, r *pluginv1.WatchHostRequest, emit func(*pluginv1.VMStatus) error) error {
	object := "host " + r.GetHost().GetUuid()
	s, err := d.connect(ctx, r.GetHost())
	if err != nil {
		return err
	}
	events, stop, err := s.feed.subscribe(object)
	if err != nil {
		return err
	}
	defer stop()
	vms, err := list(ctx, s, object)
	if err != nil {
		return guestsUnknown(object, err)
	}
	ours := map[string]bool{}
	for _, vm := range vms {
		ours[vm.GetUuid()] = true
		if err := emit(vm); err != nil {
			return err
		}
	}
	unsure := maps.Clone(ours)
	look := time.NewTicker(reattachInterval)
	defer look.Stop()
	room := time.NewTicker(fullInterval)
	defer room.Stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := followAgent(ctx, s)
	waiting := s.fulls.list()
	for {
		var news []*pluginv1.VMStatus
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.link.Lost():
			return lost(object, s.link)
		case e, open := <-events:
			if !open {
				return lost(object, s.link)
			}
			news, err = changed(ctx, s, e, ours)
		case <-room.C:
			resumeFull(ctx, s) // and its event tells that it runs
			if now := s.fulls.list(); !slices.Equal(now, waiting) {
				waiting, news = now, hostChanged
			}
		case <-changes:
			news = hostChanged
		case <-look.C:
			if news, err = endedSilently(ctx, s, unsure, ours); len(unsure) == 0 {
				look.Stop()
			}
		}
		if err != nil {
			return guestsUnknown(object, err)
		}
		for _, vm := range news {
			if err := emit(vm); err != nil {
				return err
			}
		}
	}
}

// hostChanged is what tells that something of the host itself has changed.
var hostChanged = []*pluginv1.VMStatus{nil}

// followAgent tells of what the host's agent tells of: one change for all that nobody
// has taken yet, until ctx ends. That the agent is lost the link sees; one that is older
// than its Watch tells of nothing.
func followAgent(ctx context.Context, s *slot) <-chan struct{} {
	changes := make(chan struct{}, 1)
	go func() {
		stream, err := hostv1.NewHostAgentServiceClient(s.link.Agent()).Watch(ctx, &hostv1.WatchRequest{})
		for err == nil {
			if _, err = stream.Recv(); err != nil {
				break
			}
			select {
			case changes <- struct{}{}:
			default:
			}
		}
		if ctx.Err() == nil {
			s.log.Debug("the agent tells of changes no longer", "error", err)
		}
	}()
	return changes
}

// lost says why a watch ends: its link was lost, or it read too slowly.
func lost(object string, link *hostlink.Link) error {
	select {
	case <-link.Lost():
		return errs.New(errs.Unavailable, object, "%s", link.Reason())
	default:
		return errs.New(errs.Unavailable, object, "libvirt's events were lost")
	}
}

// changed makes a status of an event, none of one that says nothing of ours.
// Ended guests are gone from libvirt, so ours remembers whose they were.
func changed(ctx context.Context, s *slot, e libvirt.DomainEventLifecycleMsg, ours map[string]bool) ([]*pluginv1.VMStatus, error) {
	uuid := uuidText(e.Dom.UUID)
	switch libvirt.DomainEventType(e.Event) {
	case libvirt.DomainEventStopped:
		was := ours[uuid]
		delete(ours, uuid)
		if !was || libvirt.DomainEventStoppedDetailType(e.Detail) == libvirt.DomainEventStoppedMigrated {
			return nil, nil
		}
		return []*pluginv1.VMStatus{{Uuid: uuid, State: stoppedState(e.Detail)}}, nil
	case libvirt.DomainEventStarted, libvirt.DomainEventSuspended, libvirt.DomainEventResumed,
		libvirt.DomainEventPmsuspended, libvirt.DomainEventCrashed:
	default:
		return nil, nil
	}
	is, err := isOurs(ctx, s, e.Dom)
	if err != nil || !is {
		return nil, err
	}
	ours[uuid] = true
	status, err := statusOf(ctx, s, e.Dom)
	if hostlink.IsGone(err) {
		return nil, nil // its end is the next event
	}
	if err != nil {
		return nil, err
	}
	return []*pluginv1.VMStatus{status}, nil
}

func stoppedState(detail int32) pluginv1.VMState {
	switch libvirt.DomainEventStoppedDetailType(detail) {
	case libvirt.DomainEventStoppedCrashed, libvirt.DomainEventStoppedFailed:
		return pluginv1.VMState_VM_STATE_CRASHED
	}
	return pluginv1.VMState_VM_STATE_STOPPED
}

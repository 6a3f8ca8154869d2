package driver

import (
	"context"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"

	"github.com/kumo-cloud/kumo/plugins/kvm/domain"
	"github.com/kumo-cloud/kumo/plugins/kvm/hostlink"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// This file looks after guests whose disks cannot grow, as their medium is full.
// QEMU pauses such a guest in the middle of its write, so that it loses nothing
// (werror=enospc), and waits to be told to go on; libvirt says so as the reason of
// the pause. It is told as soon as there is room again. Guests that were paused
// otherwise are let be.

const (
	// fullInterval is how often the room for paused guests is looked at; nobody
	// tells of room.
	fullInterval = time.Second
	// resumeRoom is what must be free where a guest's disks are, in bytes, so that
	// it is not paused again at once.
	resumeRoom = 64 << 20
)

// fulls are the guests of a host that wait for room. Its zero value is ready.
type fulls struct {
	mu     sync.Mutex
	guests map[string]bool
}

func (f *fulls) set(uuid string, waits bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !waits {
		delete(f.guests, uuid)
		return
	}
	if f.guests == nil {
		f.guests = map[string]bool{}
	}
	f.guests[uuid] = true
}

func (f *fulls) list() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for uuid := range f.guests {
		all = append(all, uuid)
	}
	slices.Sort(all)
	return all
}

// noRoom is what is told of such a guest.
const noRoom = "it is paused, as its disks cannot grow: their medium is full; it goes on when there is room"

// waitsForRoom reports whether a guest was paused as its disks cannot grow: other
// errors of the medium are told to the guest.
func (v vmState) waitsForRoom() bool {
	return v.state == libvirt.DomainPaused && libvirt.DomainPausedReason(v.reason) == libvirt.DomainPausedIoerror
}

// resumeFull lets the guests go on that have room again. What cannot be found out
// now is logged, and looked at again.
func resumeFull(ctx context.Context, s *slot) {
	for _, uuid := range s.fulls.list() {
		if err := resumeIfRoom(ctx, s, uuid); err != nil {
			s.log.Warn("a guest whose disks could not grow is paused still", "vm", uuid, "error", err)
		}
	}
}

func resumeIfRoom(ctx context.Context, s *slot, uuid string) error {
	dom, err := lookup(ctx, s, uuid)
	var now vmState
	if err == nil {
		now, err = askState(ctx, s, dom)
	}
	if hostlink.IsGone(err) || err == nil && !now.waitsForRoom() {
		s.fulls.set(uuid, false)
		return nil
	}
	if err != nil {
		return err
	}
	definition, err := ask(ctx, s, vmObject(uuid), func(l *libvirt.Libvirt) (string, error) { return l.DomainGetXMLDesc(dom, 0) })
	if err != nil {
		return err
	}
	files, err := domain.Files(definition)
	if err != nil {
		return err
	}
	agent := hostv1.NewHostAgentServiceClient(s.link.Agent())
	for _, file := range files {
		r, err := agent.FolderCapacity(ctx, &hostv1.FolderCapacityRequest{Path: path.Dir(file)})
		if err != nil || r.GetAvailableBytes() < resumeRoom {
			return err
		}
	}
	_, err = ask(ctx, s, vmObject(uuid), func(l *libvirt.Libvirt) (nothing, error) { return nothing{}, l.DomainResume(dom) })
	if err != nil {
		return err
	}
	s.log.Info("a guest whose disks could not grow goes on", "vm", uuid)
	s.fulls.set(uuid, false)
	return nil
}

// checkRoom is whether all guests of a host have room for their disks to grow.
const checkRoom = "room for guests' disks"

// check tells of the guests that wait, among the checks of their host.
func (f *fulls) check() *pluginv1.HostCheck {
	c := &pluginv1.HostCheck{Name: checkRoom}
	if waiting := f.list(); len(waiting) > 0 {
		c.Reason = fmt.Sprintf("%d guests are paused, as their disks cannot grow: the medium is full; they go on when it has room; the first is %s", len(waiting), waiting[0])
	}
	return c
}

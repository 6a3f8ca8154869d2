package driver

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// creations are the guests whose start, or new device, libvirt has not answered yet.
// A caller that gives up does not stop libvirt, so what follows for the guest waits
// for the answer: otherwise a destroy could find nothing, and the guest start after.
type creations struct {
	mu      sync.Mutex // held for map work only
	running map[string]chan struct{}
}

func (c *creations) begin(uuid string) (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		c.running = map[string]chan struct{}{}
	}
	done := make(chan struct{})
	c.running[uuid] = done
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.running[uuid] == done {
			delete(c.running, uuid)
		}
		close(done)
	}
}

// wait returns when nothing of the guest is being made.
func (c *creations) wait(ctx context.Context, uuid string) error {
	for {
		c.mu.Lock()
		done := c.running[uuid]
		c.mu.Unlock()
		if done == nil {
			return nil
		}
		select {
		case <-done:
		case <-ctx.Done():
			return errs.Wrap(errs.ClassOf(ctx.Err()), vmObject(uuid), ctx.Err(), stillBeingMade)
		}
	}
}

const stillBeingMade = "it, or a device of it, is still being made"

// create starts the guest.
func (s *slot) create(ctx context.Context, uuid, text string) error {
	return s.creating(ctx, uuid, func(ctx context.Context) error {
		return afterItsEnd(uuid, func() error {
			_, err := call(ctx, s, vmObject(uuid), func(l *libvirt.Libvirt) (libvirt.Domain, error) {
				return l.DomainCreateXML(text, 0)
			})
			return err
		})
	})
}

// creating makes a guest, or something of it. When ctx ends, libvirt's answer is still
// awaited in the background, for creations.
func (s *slot) creating(ctx context.Context, uuid string, f func(context.Context) error) error {
	end := s.creations.begin(uuid)
	answer := make(chan error, 1)
	go func() {
		defer end()
		answer <- f(context.WithoutCancel(ctx))
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return errs.Wrap(errs.ClassOf(ctx.Err()), vmObject(uuid), ctx.Err(), stillBeingMade)
	}
}

// libvirt tells that a guest ended before it forgets it, and between the two
// refuses to create the guest anew, though a lookup finds none: the window is
// that of one lock in libvirt, far below forgetPatience even under load.
const (
	forgetPatience = 5 * time.Second
	forgetPause    = 20 * time.Millisecond
)

// afterItsEnd runs create until libvirt has forgotten the guest's last life.
// That refusal has only a general code and a text in the daemon's language, in
// which the guest's name, its UUID, is the one thing to go by. A refusal that
// lasts is returned.
func afterItsEnd(uuid string, create func() error) error {
	last := time.Now().Add(forgetPatience)
	for {
		err := create()
		var answer libvirt.Error
		forgetting := errors.As(err, &answer) && answer.Code == uint32(libvirt.ErrOperationFailed) && strings.Contains(answer.Message, uuid)
		if !forgetting || time.Now().After(last) {
			return err
		}
		time.Sleep(forgetPause)
	}
}

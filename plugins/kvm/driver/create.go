package driver

import (
	"context"
	"sync"

	"github.com/digitalocean/go-libvirt"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// creations are the guests whose start libvirt has not answered yet. A caller
// that gives up does not stop libvirt, so what follows for the guest waits for
// the answer: otherwise a destroy could find nothing, and the guest start after.
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

// wait returns when no start of the guest is on its way.
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
			return errs.Wrap(errs.ClassOf(ctx.Err()), vmObject(uuid), ctx.Err(), "it is still being started")
		}
	}
}

// create starts the guest. When ctx ends, libvirt's answer is still awaited in
// the background, for creations.
func (s *slot) create(ctx context.Context, uuid, text string) error {
	end := s.creations.begin(uuid)
	answer := make(chan error, 1)
	go func() {
		defer end()
		_, err := call(context.WithoutCancel(ctx), s, vmObject(uuid), func(l *libvirt.Libvirt) (libvirt.Domain, error) {
			return l.DomainCreateXML(text, 0)
		})
		answer <- err
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return errs.Wrap(errs.ClassOf(ctx.Err()), vmObject(uuid), ctx.Err(), "it is still being started")
	}
}

package driver

import (
	"context"
	"sync"

	"github.com/digitalocean/go-libvirt"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// feedQueue is how many events a reader may be behind. A reader that falls
// further back is cut off, as by a lost connection, and begins anew.
const feedQueue = 4096

// feed hands the lifecycle events of a connection to all that want them:
// libvirt gives each connection one subscription of a kind.
type feed struct {
	mu      sync.Mutex // held for map work and sends that do not wait
	readers map[chan libvirt.DomainEventLifecycleMsg]bool
	ended   bool
}

// startFeed subscribes until the connection ends.
func startFeed(ctx context.Context, s *slot, object string) (*feed, error) {
	events, err := ask(ctx, s, object, func(l *libvirt.Libvirt) (<-chan libvirt.DomainEventLifecycleMsg, error) {
		return l.LifecycleEvents(context.Background())
	})
	if err != nil {
		return nil, err
	}
	f := &feed{readers: map[chan libvirt.DomainEventLifecycleMsg]bool{}}
	go func() {
		for e := range events {
			f.send(e)
		}
		f.end()
	}()
	return f, nil
}

func (f *feed) send(e libvirt.DomainEventLifecycleMsg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for r := range f.readers {
		select {
		case r <- e:
		default:
			delete(f.readers, r)
			close(r)
		}
	}
}

func (f *feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	for r := range f.readers {
		delete(f.readers, r)
		close(r)
	}
}

// subscribe returns the events from now on. The channel closes when the
// connection is lost or the reader is too slow; stop must be called.
func (f *feed) subscribe(object string) (<-chan libvirt.DomainEventLifecycleMsg, func(), error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil, nil, errs.New(errs.Unavailable, object, "the connection to libvirt was lost")
	}
	r := make(chan libvirt.DomainEventLifecycleMsg, feedQueue)
	f.readers[r] = true
	return r, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.readers, r)
	}, nil
}

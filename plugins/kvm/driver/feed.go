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

// feed hands the events of one kind of a connection to all that want them: libvirt
// gives each connection one subscription of a kind.
type feed[E any] struct {
	mu      sync.Mutex // held for map work and sends that do not wait
	readers map[chan E]bool
	ended   bool
}

// startFeed subscribes to the changes of guests' lives until the connection ends.
func startFeed(ctx context.Context, s *slot, object string) (*feed[libvirt.DomainEventLifecycleMsg], error) {
	events, err := ask(ctx, s, object, func(l *libvirt.Libvirt) (<-chan libvirt.DomainEventLifecycleMsg, error) {
		return l.LifecycleEvents(context.Background())
	})
	if err != nil {
		return nil, err
	}
	f := newFeed[libvirt.DomainEventLifecycleMsg]()
	go func() {
		for e := range events {
			f.send(e)
		}
		f.end()
	}()
	return f, nil
}

// removal is what came of pulling a device out of a guest.
type removal struct {
	vm     libvirt.UUID
	alias  string
	failed bool // the guest keeps it
}

// startRemovals subscribes to the ends of devices until the connection ends.
func startRemovals(ctx context.Context, s *slot, object string) (*feed[removal], error) {
	f := newFeed[removal]()
	for _, kind := range []libvirt.DomainEventID{libvirt.DomainEventIDDeviceRemoved, libvirt.DomainEventIDDeviceRemovalFailed} {
		events, err := ask(ctx, s, object, func(l *libvirt.Libvirt) (<-chan any, error) {
			return l.SubscribeEvents(context.Background(), kind, nil)
		})
		if err != nil {
			return nil, err
		}
		go func() {
			for e := range events {
				switch e := e.(type) {
				case *libvirt.DomainEventCallbackDeviceRemovedMsg:
					f.send(removal{vm: e.Msg.Dom.UUID, alias: e.Msg.DevAlias})
				case *libvirt.DomainEventCallbackDeviceRemovalFailedMsg:
					f.send(removal{vm: e.Dom.UUID, alias: e.DevAlias, failed: true})
				}
			}
			f.end()
		}()
	}
	return f, nil
}

func newFeed[E any]() *feed[E] { return &feed[E]{readers: map[chan E]bool{}} }

func (f *feed[E]) send(e E) {
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

func (f *feed[E]) end() {
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
func (f *feed[E]) subscribe(object string) (<-chan E, func(), error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil, nil, errs.New(errs.Unavailable, object, "the connection to libvirt was lost")
	}
	r := make(chan E, feedQueue)
	f.readers[r] = true
	return r, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.readers, r)
	}, nil
}

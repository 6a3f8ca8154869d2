package image

import (
	"context"
	"slices"
	"sync"
)

// copyKey is one copy of an image that is being made.
type copyKey struct{ image, store string }

// adds knows the copies that are being made, so that a delete can end them. Both
// calls have the image's key: a delete that only waited for its turn would wait
// for bytes that nobody wants any more, or for a person who never sends them.
type adds struct {
	mu      sync.Mutex
	running map[copyKey]*adding
}

// adding is one of them. The call that adds an image and the step that does it
// share it, as an image can be deleted from the moment that its row is there.
type adding struct {
	ctx    context.Context
	cancel context.CancelFunc
	users  int
}

// begin returns a context that ends when the copy is deleted; end must be called.
func (a *adds) begin(image, store string) (deleted context.Context, end func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := copyKey{image, store}
	e := a.running[key]
	if e == nil {
		e = &adding{}
		e.ctx, e.cancel = context.WithCancel(context.Background())
		if a.running == nil {
			a.running = map[copyKey]*adding{}
		}
		a.running[key] = e
	}
	e.users++
	return e.ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if e.users--; e.users == 0 {
			e.cancel()
			delete(a.running, key)
		}
	}
}

// cancel ends the making of an image's copies in the named stores, or in all.
func (a *adds) cancel(image string, stores []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, e := range a.running {
		if key.image == image && (len(stores) == 0 || slices.Contains(stores, key.store)) {
			e.cancel()
		}
	}
}

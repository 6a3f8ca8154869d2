package cascade

import (
	"context"
	"slices"
	"sync"
)

// maxTold bounds what one delete tells of what it has left; all of it is Garbage.
const maxTold = 100

// Leftover is what a delete has left of a resource in the outside world, where it may
// still be at work.
type Leftover struct {
	Type string `json:"resourceType"`
	UUID string `json:"resourceUuid"`
	Name string `json:"name,omitempty"`
	// Why is why it could not be cleaned up.
	Why string `json:"reason"`
}

// Leftovers collects what deletes leave, in their order; see Noting.
type Leftovers struct {
	mu   sync.Mutex
	list []Leftover
	more int
}

type leftoversKey struct{}

// Noting returns a context for deletes, and what collects all that is kept as Garbage
// by what is called with it, so that who asked for the delete is told.
func Noting(ctx context.Context) (context.Context, *Leftovers) {
	l := &Leftovers{}
	return context.WithValue(ctx, leftoversKey{}, l), l
}

// List returns at most 100 of them, and how many more there are. What is left of one
// resource for several reasons is there once, with the first.
func (l *Leftovers) List() (list []Leftover, more int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list), l.more
}

// told adds one to the collection of ctx, if that has one.
func told(ctx context.Context, one Leftover) {
	l, _ := ctx.Value(leftoversKey{}).(*Leftovers)
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case slices.ContainsFunc(l.list, func(o Leftover) bool { return o.Type == one.Type && o.UUID == one.UUID }):
	case len(l.list) < maxTold:
		l.list = append(l.list, one)
	default:
		l.more++
	}
}

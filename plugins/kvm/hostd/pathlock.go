package hostd

import (
	"context"
	"sync"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// pathLocks lets one operation at a time change what is at a path: all of them
// use one temporary name, and a call that was given up may still be at work when
// its repeat arrives.
type pathLocks struct {
	mu   sync.Mutex // held for map work only
	held map[string]*pathLock
}

// pathLock is a lock with the number of those who have it or wait for it.
type pathLock struct {
	token chan struct{}
	users int
}

func newPathLocks() *pathLocks { return &pathLocks{held: map[string]*pathLock{}} }

// take waits until nobody else works at the path. release must be called once.
// Errors: that of ctx when it ends first.
func (l *pathLocks) take(ctx context.Context, path string) (release func(), err error) {
	l.mu.Lock()
	p := l.held[path]
	if p == nil {
		p = &pathLock{token: make(chan struct{}, 1)}
		l.held[path] = p
	}
	p.users++
	l.mu.Unlock()
	select {
	case p.token <- struct{}{}:
		return func() {
			<-p.token
			l.leave(path, p)
		}, nil
	case <-ctx.Done():
		l.leave(path, p)
		return nil, errs.Wrap(errs.ClassOf(ctx.Err()), "path "+path, ctx.Err(), "an earlier operation on it has not ended")
	}
}

// leave forgets the lock with its last user.
func (l *pathLocks) leave(path string, p *pathLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.users--; p.users == 0 {
		delete(l.held, path)
	}
}

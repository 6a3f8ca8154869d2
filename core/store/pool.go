package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"sync"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// pool is a bounded set of connections, the most recently used one first, so
// that few stay warm instead of all being lukewarm.
type pool struct {
	name   string
	open   func(context.Context) (*conn, error)
	tokens chan struct{}
	closed chan struct{}
	mu     sync.Mutex
	idle   []*conn
	once   sync.Once
}

func newPool(name string, size int, open func(context.Context) (*conn, error)) *pool {
	p := &pool{name: name, open: open, tokens: make(chan struct{}, size), closed: make(chan struct{})}
	for range size {
		p.tokens <- struct{}{}
	}
	return p
}

// idleCheck is the idle time after which a connection is asked whether the
// server still has it.
const idleCheck = time.Second

// get waits for a connection.
func (p *pool) get(ctx context.Context) (*conn, error) {
	select {
	case <-p.tokens:
	default:
		select {
		case <-p.tokens:
		case <-ctx.Done():
			return nil, errs.Wrap(errs.ClassOf(ctx.Err()), "database "+p.name, ctx.Err(), "all %d connections are busy", cap(p.tokens))
		case <-p.closed:
			return nil, errClosed(p.name)
		}
	}
	for {
		c := p.pop()
		if c == nil {
			break
		}
		r, ok := c.dc.(driver.SessionResetter)
		if !ok || time.Since(c.idleSince) < idleCheck || r.ResetSession(ctx) == nil {
			return c, nil
		}
		c.broken = true
		p.discard(c)
	}
	select {
	case <-p.closed:
		p.tokens <- struct{}{}
		return nil, errClosed(p.name)
	default:
	}
	c, err := p.open(ctx)
	if err != nil {
		p.tokens <- struct{}{}
		return nil, err
	}
	return c, nil
}

func (p *pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return c
}

// put gives a connection back.
func (p *pool) put(c *conn) {
	if c.dc != nil && !c.broken {
		c.idleSince = time.Now()
		p.mu.Lock()
		select {
		case <-p.closed:
			p.mu.Unlock()
			p.discard(c)
		default:
			p.idle = append(p.idle, c)
			p.mu.Unlock()
		}
	} else {
		p.discard(c)
	}
	p.tokens <- struct{}{}
}

// renew replaces the inside of a lost connection, and of the idle ones, which
// the server will have closed too.
func (p *pool) renew(ctx context.Context, c *conn) (*conn, error) {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, old := range idle {
		old.broken = true
		p.discard(old)
	}
	fresh, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	c.broken = true
	p.discard(c)
	*c = *fresh
	return c, nil
}

func (p *pool) discard(c *conn) {
	if c.dc == nil {
		return
	}
	_ = c.close() // it is not used again, and a broken one has nothing to tell
	c.dc = nil
}

func (p *pool) close() error {
	var err error
	p.once.Do(func() {
		p.mu.Lock()
		close(p.closed)
		idle := p.idle
		p.idle = nil
		p.mu.Unlock()
		for _, c := range idle {
			err = errors.Join(err, c.close())
		}
	})
	return err
}

func errClosed(name string) error {
	return errs.New(errs.Unavailable, "database "+name, "it is closed")
}

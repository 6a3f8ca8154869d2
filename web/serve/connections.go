package serve

import (
	"net"
	"sync"
	"syscall"

	"github.com/hashicorp/go-hclog"
)

// maxConnections bounds the connections of clients where the system's limit of
// descriptors does not bound them before.
const maxConnections = 65536

// limitedListener refuses connections beyond a number, in all and from one address,
// so that idle clients leave descriptors for plugins and the database, and one
// address leaves some for others.
type limitedListener struct {
	net.Listener
	total, each int
	log         hclog.Logger

	mu   sync.Mutex
	open int
	by   map[string]int
}

// bounded bounds a listener by what the process may open: a quarter of that is
// kept for its own use. One address may have half of the rest.
func bounded(l net.Listener, log hclog.Logger) net.Listener {
	total := maxConnections
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil && limit.Cur < maxConnections {
		total = max(16, int(limit.Cur-limit.Cur/4))
	}
	return limited(l, total, max(8, total/2), log)
}

func limited(l net.Listener, total, each int, log hclog.Logger) *limitedListener {
	return &limitedListener{Listener: l, total: total, each: each, log: log, by: map[string]int{}}
}

// Accept implements net.Listener. A connection too many is closed at once.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(c.RemoteAddr().String())
		if err != nil {
			host = c.RemoteAddr().String()
		}
		if l.enter(host) {
			return &countedConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(host) })}, nil
		}
		l.log.Debug("connection refused, there are too many", "address", host)
		c.Close() // nothing was read or written
	}
}

func (l *limitedListener) enter(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.total || l.by[host] >= l.each {
		return false
	}
	l.open++
	l.by[host]++
	return true
}

func (l *limitedListener) leave(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.by[host]--; l.by[host] == 0 {
		delete(l.by, host)
	}
}

// countedConn tells of its end.
type countedConn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// Package port finds ports for the servers of tests. It must not import
// anything of the project.
package port

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports are taken from below those that the kernel gives to clients (32768 and
// up, ip(7)): a port from ":0" may be a client's before the server listens.
const lowest, highest = 20000, 32000

var (
	mu    sync.Mutex
	given = map[int]bool{} // by this process
)

// Free returns a TCP port on which nobody listens at 127.0.0.1, and which it has
// not returned before. Other processes that look at the same time are unlikely
// to find the same one.
func Free() (int, error) {
	mu.Lock()
	defer mu.Unlock()
	var last error
	for range 100 {
		port := lowest + rand.IntN(highest-lowest)
		if given[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			last = err
			continue
		}
		given[port] = true
		return port, l.Close()
	}
	return 0, fmt.Errorf("no free port between %d and %d: %w", lowest, highest, last)
}

package server

import (
	"sync"
	"time"

	"github.com/kumo-cloud/kumo/integration/wire"
)

const (
	// Back is how soon a plugin that has ended must be there again.
	Back = time.Second
	// ends is how long a plugin may take to end, which for one that stands
	// still includes that its health check notices.
	ends = 30 * time.Second
)

// Watch checks, until the returned function is called, that the core answers
// and that the named plugins stay the same processes: what happens to one
// plugin must not touch the others.
func (s *Server) Watch(others ...string) (stop func()) {
	s.t.Helper()
	pids := map[string]int{}
	for _, name := range others {
		if pids[name] = s.Plugin(name); pids[name] == 0 {
			s.t.Fatalf("plugin %s does not run", name)
		}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
			begin := time.Now()
			if _, err := s.Client.Count(s.t.Context(), wire.VMs); err != nil {
				s.t.Errorf("the core does not answer: %v", err)
				return
			}
			if took := time.Since(begin); took > 2*time.Second {
				s.t.Errorf("the core took %s to answer a query", took)
			}
		}
	})
	return func() {
		s.t.Helper()
		close(done)
		wg.Wait()
		for name, pid := range pids {
			if now := s.Plugin(name); now != pid {
				s.t.Errorf("plugin %s was process %d and is %d", name, pid, now)
			}
		}
	}
}

// PluginGone waits until a plugin's process has ended, and returns when that
// was.
func (s *Server) PluginGone(name string, pid int) time.Time {
	s.t.Helper()
	for begin := time.Now(); time.Since(begin) < ends; time.Sleep(time.Millisecond) {
		if s.Plugin(name) != pid {
			return time.Now()
		}
	}
	s.t.Fatalf("process %d of plugin %s has not ended", pid, name)
	return time.Time{}
}

// PluginBack waits until a plugin runs, and fails the test when it does so
// later than Back after since.
func (s *Server) PluginBack(name string, since time.Time) {
	s.t.Helper()
	for s.Plugin(name) == 0 {
		if time.Since(since) > 20*Back {
			s.t.Fatalf("plugin %s does not come back", name)
		}
		time.Sleep(time.Millisecond)
	}
	if took := time.Since(since); took > Back {
		s.t.Errorf("plugin %s was back after %s; want at most %s", name, took, Back)
	}
}

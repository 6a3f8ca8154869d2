package crash

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// back is how soon a plugin must be there again.
const back = time.Second

// twoPlugins starts a server on a copy of the template that runs a plugin
// beside the simulator; what happens to one must not touch the other.
func twoPlugins(t *testing.T, m *template) *server.Server {
	t.Helper()
	s := server.Start(t, server.Options{Dir: m.copy(t), Plugins: []string{"simulator", "imagestore"}})
	s.Ready()
	return s
}

// watch checks, until the returned function is called, that the core answers
// and that the other plugin is the same process.
func watch(t *testing.T, s *server.Server) (stop func()) {
	t.Helper()
	other := s.Plugin("imagestore")
	if other == 0 {
		t.Fatal("the other plugin does not run")
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
			if _, err := s.Client.Count(t.Context(), wire.VMs); err != nil {
				t.Errorf("the core does not answer: %v", err)
				return
			}
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("the core took %s to answer a query", took)
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
		if now := s.Plugin("imagestore"); now != other {
			t.Errorf("the other plugin was process %d and is %d", other, now)
		}
	}
}

// gone waits until a plugin's process has ended, and returns when that was.
func gone(t *testing.T, s *server.Server, pid int) time.Time {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < 30*time.Second; time.Sleep(time.Millisecond) {
		if s.Plugin("simulator") != pid {
			return time.Now()
		}
	}
	t.Fatalf("process %d of the plugin has not ended", pid)
	return time.Time{}
}

// again waits until the plugin answers a call that needs it, and checks that it
// took no longer than back since a time.
func again(t *testing.T, s *server.Server, since time.Time) {
	t.Helper()
	for s.Plugin("simulator") == 0 {
		if time.Since(since) > 20*back {
			t.Fatal("the plugin does not come back")
		}
		time.Sleep(time.Millisecond)
	}
	if took := time.Since(since); took > back {
		t.Errorf("the plugin was back after %s; want at most %s", took, back)
	}
}

// A plugin that dies once in the middle of a creation costs nothing: the call
// is repeated on the next process.
func TestPluginDiesOnce(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	for _, method := range []string{"CreateVolume", "PrepareNICs", "StartVM"} {
		for _, when := range []string{"before", "after"} {
			t.Run(method+"_"+when, func(t *testing.T) {
				t.Parallel()
				s := twoPlugins(t, m)
				stop := watch(t, s)
				pid := s.Plugin("simulator")
				s.Faults(method + ":crash:" + when)
				job := strings.Repeat("c", 32)
				s.Begin(job, http.MethodPost, wire.VMs, map[string]any{"params": m.cloud.VM("made")})
				since := gone(t, s, pid)
				s.Faults("")
				again(t, s, since)
				err := s.Outcome(job)
				stop()
				if err != nil {
					t.Errorf("the creation was not repeated: %v", err)
				}
				db := s.Database()
				s.Settle(db)
				s.Audit(db)
				m.check(t, s, "create-vm")
			})
		}
	}
}

// A plugin that dies at every try makes the creation fail, and nothing stays.
func TestPluginDiesAlways(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	for _, method := range []string{"CreateVolume", "PrepareNICs", "StartVM"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			s := twoPlugins(t, m)
			stop := watch(t, s)
			s.Faults(method + ":crash")
			_, err := s.Client.Create(t.Context(), wire.VMs, m.cloud.VM("made"))
			if err == nil {
				t.Error("a guest was made by a plugin that dies of it")
			} else {
				clear(t, err)
			}
			stop()
			s.Faults("")
			db := s.Database()
			s.Settle(db)
			s.Ready()
			s.Audit(db)
			if _, err := s.Client.Create(t.Context(), wire.VMs, m.cloud.VM("made")); err != nil {
				t.Errorf("creation after the plugin is well: %v", err)
			}
			s.Audit(db)
			m.check(t, s, "create-vm")
		})
	}
}

// A plugin that is killed from outside in the middle of many creations.
func TestPluginIsKilled(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	s := twoPlugins(t, m)
	stop := watch(t, s)
	s.Faults("StartVM:latency=50ms-300ms;CreateVolume:latency=0s-100ms")
	const n = 40
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { _, errs[i] = s.Client.Create(t.Context(), wire.VMs, m.cloud.VM(fmt.Sprintf("k-%d", i))) })
	}
	time.Sleep(150 * time.Millisecond)
	if err := syscall.Kill(s.Plugin("simulator"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	again(t, s, time.Now())
	wg.Wait()
	stop()
	failed := 0
	for _, err := range errs {
		if err != nil {
			failed++
			clear(t, err)
		}
	}
	if failed > n/2 {
		t.Errorf("%d of %d creations failed because the plugin was killed once: %v", failed, n, errs)
	}
	s.Faults("")
	db := s.Database()
	s.Settle(db)
	s.Audit(db)
	if got := len(s.States()); got != 3+n-failed {
		t.Errorf("there are %d guests; want 3 and %d", got, n-failed)
	}
}

// A call that hangs is given up when the API call's time is over.
func TestCallHangs(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	for _, method := range []string{"CreateVolume", "PrepareNICs", "StartVM"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			s := twoPlugins(t, m)
			stop := watch(t, s)
			s.Faults(method + ":hang")
			body, err := json.Marshal(map[string]any{"params": m.cloud.VM("made")})
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			status, answer, err := s.Client.Raw(t.Context(), http.MethodPost, wire.VMs, http.Header{"X-Api-Timeout": {"1"}}, body)
			if err != nil || status != http.StatusAccepted {
				t.Fatalf("status %d: %s: %v", status, answer, err)
			}
			job, err := wire.JobID(answer)
			if err != nil {
				t.Fatal(err)
			}
			err = s.Outcome(job)
			if took := time.Since(begin); wire.Code(err) != "SYS.1001" || took > 10*time.Second {
				t.Errorf("a call that hangs ended after %s with: %v", took, err)
			}
			stop()
			s.Faults("")
			db := s.Database()
			s.Settle(db)
			s.Audit(db)
			m.check(t, s, "")
		})
	}
}

// A process that stands still is found by its health check and replaced.
func TestPluginStandsStill(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	s := twoPlugins(t, m)
	stop := watch(t, s)
	pid := s.Plugin("simulator")
	s.Faults("StartVM:latency=200ms")
	job := strings.Repeat("d", 32)
	s.Begin(job, http.MethodPost, wire.VMs, map[string]any{"params": m.cloud.VM("made")})
	time.Sleep(50 * time.Millisecond)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	again(t, s, gone(t, s, pid))
	if err := s.Outcome(job); err != nil {
		t.Errorf("the creation was not repeated: %v", err)
	}
	stop()
	db := s.Database()
	s.Settle(db)
	s.Audit(db)
	m.check(t, s, "create-vm")
}

// Five in a hundred calls of each kind fail, those of the undos too.
func TestRandomFailures(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	s := server.Start(t, server.Options{Dir: m.copy(t)})
	s.Ready()
	var rules []string
	for i, method := range []string{"CreateVolume", "PrepareNICs", "StartVM", "DeleteVolume", "ReleaseNICs", "DestroyVM"} {
		rules = append(rules, fmt.Sprintf("%s:fail=internal:rate=0.05:seed=%d", method, i+1))
		rules = append(rules, fmt.Sprintf("%s:fail=unavailable:rate=0.01:seed=%d:after", method, i+11))
	}
	s.Faults(strings.Join(rules, ";"))
	const n = 200
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { _, errs[i] = s.Client.Create(t.Context(), wire.VMs, m.cloud.VM(fmt.Sprintf("r-%d", i))) })
	}
	wg.Wait()
	s.Faults("")
	failed := 0
	for _, err := range errs {
		if err != nil {
			failed++
			clear(t, err)
		}
	}
	if failed < n/20 || failed > n/2 {
		t.Errorf("%d of %d creations failed", failed, n)
	}
	db := s.Database()
	s.Settle(db)
	s.Audit(db)
	if got := len(s.States()); got != 3+n-failed {
		t.Errorf("there are %d guests; want 3 and %d", got, n-failed)
	}
	t.Logf("%d of %d creations failed", failed, n)
}

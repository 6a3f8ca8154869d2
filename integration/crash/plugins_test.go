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

// twoPlugins starts a server on a copy of the template that runs a plugin
// beside the simulator; what happens to one must not touch the other.
func twoPlugins(t *testing.T, m *template) *server.Server {
	t.Helper()
	s := server.Start(t, server.Options{Dir: m.copy(t), Plugins: []string{"simulator", "imagestore"}})
	s.Ready()
	return s
}

// A plugin that dies once in the middle of a creation costs nothing: the call
// is repeated on the next process.
func TestPluginDiesOnce(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	for _, method := range []string{"CreateVolume", "ApplyNetworkState", "StartVM"} {
		for _, when := range []string{"before", "after"} {
			t.Run(method+"_"+when, func(t *testing.T) {
				t.Parallel()
				s := twoPlugins(t, m)
				stop := s.Watch("imagestore")
				pid := s.Plugin("simulator")
				s.Faults(method + ":crash:" + when)
				job := strings.Repeat("c", 32)
				s.Begin(job, http.MethodPost, wire.VMs, map[string]any{"params": m.cloud.VM("made")})
				since := s.PluginGone("simulator", pid)
				s.Faults("")
				s.PluginBack("simulator", since)
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
	for _, method := range []string{"CreateVolume", "ApplyNetworkState", "StartVM"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			s := twoPlugins(t, m)
			stop := s.Watch("imagestore")
			s.Faults(method + ":crash")
			_, err := s.Client.Create(t.Context(), wire.VMs, m.cloud.VM("made"))
			if err == nil {
				t.Error("a guest was made by a plugin that dies of it")
			} else {
				clearError(t, err)
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
	stop := s.Watch("imagestore")
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
	s.PluginBack("simulator", time.Now())
	wg.Wait()
	stop()
	failed := 0
	for _, err := range errs {
		if err != nil {
			failed++
			clearError(t, err)
		}
	}
	if failed > n/2 {
		t.Errorf("%d of %d creations failed because the plugin was killed once: %v", failed, n, errs)
	}
	s.Faults("")
	db := s.Database()
	s.Settle(db)
	s.Audit(db)
	if got := len(s.States()); got != guests+n-failed {
		t.Errorf("there are %d guests; want the template's and %d", got, n-failed)
	}
}

// Hosts whose plugin was started anew stay in use while they are looked at
// again, which begins a second later.
func TestPluginIsBack(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	s := twoPlugins(t, m)
	s.Faults("ConnectHost:latency=1s")
	pid := s.Plugin("simulator")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.PluginBack("simulator", s.PluginGone("simulator", pid))
	made := 0
	for begin := time.Now(); time.Since(begin) < 4*time.Second; made++ {
		if _, err := s.Client.Create(t.Context(), wire.VMs, m.cloud.VM(fmt.Sprintf("b-%d", made))); err != nil {
			t.Fatalf("%s after the plugin was back: %v", time.Since(begin).Round(time.Millisecond), err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.Faults("")
	db := s.Database()
	s.Settle(db)
	s.Audit(db)
	if got := len(s.States()); got != guests+made {
		t.Errorf("there are %d guests; want the template's and %d", got, made)
	}
}

// A call that hangs is given up when the API call's time is over.
func TestCallHangs(t *testing.T) {
	t.Parallel()
	m := cloud(t)
	for _, method := range []string{"CreateVolume", "ApplyNetworkState", "StartVM"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			s := twoPlugins(t, m)
			stop := s.Watch("imagestore")
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
	stop := s.Watch("imagestore")
	pid := s.Plugin("simulator")
	s.Faults("StartVM:latency=200ms")
	job := strings.Repeat("d", 32)
	s.Begin(job, http.MethodPost, wire.VMs, map[string]any{"params": m.cloud.VM("made")})
	time.Sleep(50 * time.Millisecond)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.PluginBack("simulator", s.PluginGone("simulator", pid))
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
	eager(t, s)
	var rules []string
	for i, method := range []string{"CreateVolume", "ApplyNetworkState", "StartVM", "DeleteVolume", "RemoveNetworkState", "DestroyVM"} {
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
			clearError(t, err)
		}
	}
	if failed < n/20 || failed > n/2 {
		t.Errorf("%d of %d creations failed", failed, n)
	}
	db := s.Database()
	s.Settle(db)
	s.Audit(db)
	if got := len(s.States()); got != guests+n-failed {
		t.Errorf("there are %d guests; want the template's and %d", got, n-failed)
	}
	t.Logf("%d of %d creations failed", failed, n)
}

//go:build storm

package suite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

const (
	stormTime    = 15 * time.Second // usually
	stormWorkers = 8
	// stormGuests is about how many guests there are at a time.
	stormGuests = 24
)

// storm is a cloud on which many clients do whatever comes to their minds.
type storm struct {
	*lab
	server atomic.Pointer[server.Server]
	end    time.Time
	mu     sync.Mutex // guards what follows
	calls  map[string]int
	failed map[string]int
}

// TestStorm has clients do everything to the same guests and hosts at the same
// time, while plugin calls fail and plugin and core are killed. Whatever came of
// it, all adds up afterwards, and when the guests are removed nothing is left.
func TestStorm(t *testing.T) {
	each(t, false, func(l *lab) {
		st := &storm{lab: l, calls: map[string]int{}, failed: map[string]int{}}
		l.set("flow", "undo.interval", "1")
		before := l.s.Counts(l.db)
		l.s.Faults(strings.Join([]string{
			"StartVM:fail=internal:rate=0.1:seed=1", "StartVM:latency=0s-100ms", "CreateVolume:latency=0s-50ms",
			"ApplyNetworkState:fail=unavailable:rate=0.03:seed=2:after", "StopVM:fail=unavailable:rate=0.1:seed=3",
			"DestroyVM:fail=internal:rate=0.2:seed=4", "RemoveNetworkState:fail=internal:rate=0.1:seed=5:after", "DeleteVolume:fail=internal:rate=0.1:seed=6",
		}, ";"))
		st.server.Store(l.s)
		length, seed := server.Storm(l, stormTime)
		st.end = time.Now().Add(length)
		var wg sync.WaitGroup
		for i := range stormWorkers {
			wg.Go(func() { st.client(rand.New(rand.NewPCG(seed, uint64(i)))) })
		}
		st.kill()
		wg.Wait()
		l.Logf("calls: %v", st.calls)
		l.Logf("of these failed: %v", st.failed)
		if len(st.calls) < 12 || st.calls["create"] < int(length.Seconds()) || st.failed["create"] == st.calls["create"] {
			l.Error("this was no storm")
		}
		l.s = st.server.Load()
		l.c = l.s.Client
		l.s.Faults("")
		st.calm()
		st.removeAll()
		for _, d := range server.Differences(before, l.s.Counts(l.db)) {
			if !strings.HasPrefix(d, "ImageCache:") { // an image was used for the first time
				l.Error(d)
			}
		}
		w := l.s.World()
		if len(w.VMs)+len(w.Volumes)+len(w.Bindings) != 0 {
			l.Errorf("the simulated world has %d guests, %d volumes, %d bindings left", len(w.VMs), len(w.Volumes), len(w.Bindings))
		}
	})
}

// calm waits until all has come to rest after the faults have ended, and looks
// whether it adds up.
func (st *storm) calm() {
	st.Helper()
	for _, host := range st.query(wire.Hosts) {
		st.act(wire.Hosts+"/"+host.text("uuid"), "changeHostState", wire.Params{"stateEvent": "enable"})
	}
	st.await("hosts that are not connected", func() bool { return len(st.query(wire.Hosts, "status!=Connected")) > 0 })
	st.s.Settle(st.db)
	st.await("guests that are Unknown", func() bool { return len(st.query(wire.VMs, "state=Unknown")) > 0 })
	// What is half expunged stays so until the next try.
	for _, vm := range st.query(wire.VMs, "state=Expunging") {
		st.act(wire.VMs+"/"+vm.text("uuid"), "expungeVmInstance", nil)
	}
	for _, volume := range st.query(wire.Volumes, "type=Data", "status=Deleted") {
		st.act(wire.Volumes+"/"+volume.text("uuid"), "expungeDataVolume", nil)
	}
	st.s.Swept(st.db)
	st.s.Audit(st.db)
}

// await waits as long as something is the case.
func (st *storm) await(what string, is func() bool) {
	st.Helper()
	for begin := time.Now(); is(); time.Sleep(50 * time.Millisecond) {
		if time.Since(begin) > time.Minute {
			st.Fatalf("there are still %s after a minute", what)
		}
	}
}

// removeAll expunges the guests and then their data volumes, which outlive them.
func (st *storm) removeAll() {
	st.Helper()
	for _, vm := range st.query(wire.VMs) {
		path := wire.VMs + "/" + vm.text("uuid")
		if vm.text("state") != "Destroyed" {
			st.remove(path)
		}
		st.act(path, "expungeVmInstance", nil)
	}
	for _, volume := range st.query(wire.Volumes) {
		path := wire.Volumes + "/" + volume.text("uuid")
		st.remove(path)
		st.act(path, "expungeDataVolume", nil)
	}
	st.s.Audit(st.db)
}

func (st *storm) must(err error) {
	st.Helper()
	if err != nil {
		st.Error(err)
	}
}

// kill ends now the plugin, now the core, and starts the latter again.
func (st *storm) kill() {
	for n := 0; time.Until(st.end) > 0; n++ {
		time.Sleep(1200 * time.Millisecond)
		s := st.server.Load()
		if n%2 == 0 {
			if pid := s.Plugin("simulator"); pid != 0 {
				st.must(syscall.Kill(pid, syscall.SIGKILL))
			}
			continue
		}
		s.Kill()
		st.server.Store(s.Again())
	}
}

// stormGuest is what a client sees of a guest.
type stormGuest struct{ UUID, State string }

// guests lists them, unless the core is down.
func (st *storm) guests(s *server.Server) (list []stormGuest, up bool) {
	page, err := s.Client.Query(st.Context(), wire.VMs)
	if err != nil {
		return nil, false
	}
	for _, raw := range page.Inventories {
		var vm stormGuest
		st.must(json.Unmarshal(raw, &vm))
		list = append(list, vm)
	}
	return list, true
}

// client does something to something until the storm is over.
func (st *storm) client(dice *rand.Rand) {
	ctx, cancel := context.WithDeadline(st.Context(), st.end.Add(30*time.Second))
	defer cancel()
	for n := 0; time.Now().Before(st.end); n++ {
		s := st.server.Load()
		list, up := st.guests(s)
		if !up {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		what, err := st.try(ctx, s.Client, dice, list, n)
		st.mu.Lock()
		if st.calls[what]++; err != nil {
			st.failed[what]++
		}
		st.mu.Unlock()
		st.judge(what, err)
	}
}

// try does one thing and says which.
func (st *storm) try(ctx context.Context, c *wire.Client, dice *rand.Rand, list []stormGuest, n int) (string, error) {
	switch dice.IntN(20) {
	case 0:
		return st.disturb(ctx, c, dice)
	case 1, 2:
		return "delete volume", st.deleteVolume(ctx, c)
	}
	if dice.IntN(2*stormGuests) >= len(list) {
		p := st.cloud.VM(fmt.Sprintf("s-%d", n))
		p["dataDiskSizes"] = []int64{1 << 30}
		if dice.IntN(4) == 0 {
			p["strategy"] = "CreateStopped"
		}
		_, err := c.Create(ctx, wire.VMs, p)
		return "create", err
	}
	vm := list[dice.IntN(len(list))]
	path := wire.VMs + "/" + vm.UUID
	// What fits the guest's state comes more often than what does not.
	fits := map[string][]string{
		"Running":   {"stopVmInstance", "rebootVmInstance", "pauseVmInstance", "destroy"},
		"Paused":    {"resumeVmInstance", "stopVmInstance"},
		"Stopped":   {"startVmInstance", "startVmInstance", "destroy"},
		"Destroyed": {"recoverVmInstance", "expungeVmInstance", "expungeVmInstance"},
	}[vm.State]
	if len(fits) == 0 || dice.IntN(5) == 0 {
		fits = []string{"startVmInstance", "stopVmInstance", "rebootVmInstance", "pauseVmInstance", "resumeVmInstance", "recoverVmInstance", "expungeVmInstance", "destroy"}
	}
	what := fits[dice.IntN(len(fits))]
	if what == "destroy" {
		return what, c.Delete(ctx, path)
	}
	p := wire.Params{}
	if what == "stopVmInstance" {
		p["type"] = []string{"grace", "cold"}[dice.IntN(2)]
	}
	_, err := c.Act(ctx, path, what, p)
	return what, err
}

// deleteVolume deletes data volumes that have outlived their guests.
func (st *storm) deleteVolume(ctx context.Context, c *wire.Client) error {
	page, err := c.Query(ctx, wire.Volumes, "type=Data", "vmInstanceUuid is null")
	for _, raw := range page.Inventories[:min(len(page.Inventories), 5)] {
		var volume stormGuest
		st.must(json.Unmarshal(raw, &volume))
		path := wire.Volumes + "/" + volume.UUID
		deleted := c.Delete(ctx, path)
		_, expunged := c.Act(ctx, path, "expungeDataVolume", nil)
		err = errors.Join(err, deleted, expunged)
	}
	return err
}

// disturb does something to a host.
func (st *storm) disturb(ctx context.Context, c *wire.Client, dice *rand.Rand) (string, error) {
	page, err := c.Query(ctx, wire.Hosts)
	if err != nil || len(page.Inventories) == 0 {
		return "list hosts", err
	}
	var host stormGuest
	st.must(json.Unmarshal(page.Inventories[dice.IntN(len(page.Inventories))], &host))
	path := wire.Hosts + "/" + host.UUID
	if dice.IntN(3) == 0 {
		_, err := c.Act(ctx, path, "reconnectHost", nil)
		return "reconnectHost", err
	}
	event := []string{"disable", "maintain", "enable"}[dice.IntN(3)]
	_, err = c.Act(ctx, path, "changeHostState", wire.Params{"stateEvent": event})
	if event != "enable" {
		_, e := c.Act(ctx, path, "changeHostState", wire.Params{"stateEvent": "enable"})
		err = errors.Join(err, e)
	}
	return event + " host", err
}

// judge fails the test for an answer that says that Kumo itself is at fault. What
// is refused, or lost with the core, is not.
func (st *storm) judge(what string, err error) {
	var e *wire.Error
	if err == nil || !errors.As(err, &e) {
		return
	}
	if e.Status == http.StatusInternalServerError || e.Code == "" || len(e.Details) < 20 || strings.Contains(e.Details, "panic") {
		st.Errorf("%s: %v", what, err)
	}
}

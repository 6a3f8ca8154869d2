//go:build storm

package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/guests"
	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

const (
	stormTime    = 30 * time.Second // usually
	stormWorkers = 4
	// stormGuests is about how many guests there are at a time.
	stormGuests = 6
)

// TestStorm has clients do everything to the same guests at the same time, while
// what Kumo consists of and stands on is killed. What libvirt, disks and DHCP
// then have is what the database says, and without guests all is as before.
func TestStorm(t *testing.T) {
	l := newLab(t)
	var current atomic.Pointer[server.Server]
	current.Store(l.Server)
	length, seed := server.Storm(t, stormTime)
	end := time.Now().Add(length)
	var mu sync.Mutex
	calls := map[string]int{}
	worked := make(chan struct{}, 1) // something was done
	var wg sync.WaitGroup
	for i := range stormWorkers {
		wg.Go(func() {
			dice := rand.New(rand.NewPCG(seed, uint64(i)))
			for time.Now().Before(end) {
				what, err := l.anything(current.Load().Client, dice)
				if err == nil {
					select {
					case worked <- struct{}{}:
					default:
					}
				}
				mu.Lock()
				calls[what]++
				if err != nil {
					calls[what+" failed"]++
				}
				mu.Unlock()
			}
		})
	}
	l.hurt(end, &current, worked)
	wg.Wait()
	t.Logf("calls: %v", calls)
	done := 0
	for what, n := range calls {
		if name, failed := strings.CutSuffix(what, " failed"); failed {
			n, what = -n, name
		}
		if what != "list" {
			done += n
		}
	}
	if done < 5 {
		t.Error("this was no storm")
	}
	l.WaitConnected()
	l.Settle(l.db)
	for _, uuid := range l.texts("SELECT uuid FROM `VmInstance` WHERE `state` = 'Expunging'") {
		l.Do(wire.VMs+"/"+uuid, "expungeVmInstance", nil) // half expunged, which stays so until the next try
	}
	l.consistent("after the storm")
	l.removeAll()
	l.Swept(l.db)
	l.nothingLeft("after the storm")
	l.end()
}

// stormPause is how long nothing is hurt, at least; stormPatience how long a busy
// machine is given until something works again meanwhile.
const (
	stormPause    = 2500 * time.Millisecond
	stormPatience = 30 * time.Second
)

// hurt ends one thing after another, and starts again what does not come back by
// itself. Between two of them something works, as worked tells: a machine on which
// nothing ever does has no storm.
func (l *lab) hurt(end time.Time, current *atomic.Pointer[server.Server], worked <-chan struct{}) {
	for n := 0; time.Until(end) > 0; n++ {
		for len(worked) > 0 {
			<-worked
		}
		time.Sleep(stormPause)
		select {
		case <-worked:
		case <-time.After(stormPatience):
		}
		switch what := []string{"kvm", "core", "flat", "libvirtd", "localstorage", "agent", "guest"}[n%7]; what {
		case "core":
			l.Kill()
			l.Again()
			current.Store(l.Server)
		case "libvirtd":
			rig.RestartLibvirtd(l.t)
		case "agent":
			signal(l.t, l.agent(), syscall.SIGKILL)
		case "guest":
			for _, uuid := range l.domains() {
				if pid := guests.Emulator(l.t, uuid); pid != 0 {
					if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) { // it may end just now
						l.t.Error(err)
					}
					break
				}
			}
		default:
			if pid := l.Plugin(what); pid != 0 {
				signal(l.t, pid, syscall.SIGKILL)
			}
		}
	}
}

// anything does something to some guest and says what.
func (l *lab) anything(c *wire.Client, dice *rand.Rand) (string, error) {
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	page, err := c.Query(ctx, wire.VMs)
	if err != nil {
		time.Sleep(50 * time.Millisecond) // the server is down
		return "list", err
	}
	if dice.IntN(15) == 0 {
		_, err := c.Act(ctx, wire.Hosts+"/"+l.Host, "reconnectHost", nil)
		return "reconnectHost", err
	}
	if dice.IntN(2*stormGuests) >= len(page.Inventories) {
		p := l.Spec(fmt.Sprintf("s-%d", dice.IntN(1000)))
		if dice.IntN(4) == 0 {
			p["strategy"] = "CreateStopped"
		}
		_, err := c.Create(ctx, wire.VMs, p)
		return "create", err
	}
	var vm struct{ UUID, State string }
	if err := json.Unmarshal(page.Inventories[dice.IntN(len(page.Inventories))], &vm); err != nil {
		return "list", err
	}
	path := wire.VMs + "/" + vm.UUID
	fits := map[string][]string{
		"Running": {"stopVmInstance", "rebootVmInstance", "pauseVmInstance", "destroy"}, "Paused": {"resumeVmInstance", "stopVmInstance"},
		"Stopped": {"startVmInstance", "startVmInstance", "destroy"}, "Destroyed": {"recoverVmInstance", "expungeVmInstance", "expungeVmInstance"},
	}[vm.State]
	if len(fits) == 0 {
		fits = []string{"startVmInstance", "stopVmInstance", "destroy"}
	}
	what := fits[dice.IntN(len(fits))]
	if what == "destroy" {
		return what, c.Delete(ctx, path)
	}
	_, err = c.Act(ctx, path, what, wire.Params{})
	return what, err
}

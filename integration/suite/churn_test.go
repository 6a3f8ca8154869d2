//go:build storm

package suite

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

const (
	churnTime    = 12 * time.Second
	churnMakers  = 3
	churnErasers = 2
	churnGuests  = 4
	// churnChoice is how many of the oldest may be deleted.
	churnChoice = 8
)

// deletable are the paths of what a cloud is made of.
var deletable = []string{wire.Zones, wire.Clusters, wire.Hosts, wire.PrimaryStorages, wire.InstanceOfferings,
	wire.L2Networks, wire.L3Networks, "/ip-ranges", wire.VMs}

// TestChurn makes whole clouds with guests in them while others delete whatever
// they find, also what something is just being made of. Afterwards nothing
// refers to what is gone, and when all is deleted nothing is left.
func TestChurn(t *testing.T) {
	each(t, true, func(l *lab) {
		l.set("flow", "undo.interval", "1")
		before := l.s.Counts(l.db)
		end := time.Now().Add(churnTime)
		var mu sync.Mutex
		done := map[string]int{}
		count := func(what string, err error) {
			mu.Lock()
			defer mu.Unlock()
			done[what]++
			if err != nil {
				done[what+" failed"]++
			}
		}
		var wg sync.WaitGroup
		for i := range churnMakers {
			wg.Go(func() {
				for n := 0; time.Now().Before(end); n++ {
					cloud, err := wire.NewCloud(l.Context(), l.c, wire.Spec{Name: fmt.Sprintf("c-%d-%d", i, n), Hosts: 2, TakenIPs: 10000*i + 2*n})
					count("cloud", err)
					if err != nil {
						continue
					}
					var guests sync.WaitGroup
					for g := range churnGuests {
						guests.Go(func() {
							_, err := l.c.Create(l.Context(), wire.VMs, cloud.VM(fmt.Sprintf("g-%d", g)))
							count("guest", err)
						})
					}
					guests.Wait()
				}
			})
		}
		for i := range churnErasers {
			wg.Go(func() {
				dice := rand.New(rand.NewPCG(2, uint64(i)))
				for time.Now().Before(end) {
					count("delete", l.erase(deletable[dice.IntN(len(deletable))], dice))
					time.Sleep(time.Duration(dice.IntN(100)) * time.Millisecond)
				}
			})
		}
		wg.Wait()
		l.Logf("%v", done)
		if done["cloud"]-done["cloud failed"] < 10 || done["guest"]-done["guest failed"] < 20 || done["delete"]-done["delete failed"] < 20 {
			l.Error("this was no churn")
		}
		l.s.Settle(l.db)
		l.s.Swept(l.db)
		l.s.AuditRows(l.db)
		for _, path := range []string{wire.Zones, wire.Images, wire.BackupStorages, wire.InstanceOfferings} {
			for _, o := range l.query(path) {
				l.remove(path + "/" + o.text("uuid"))
				if path == wire.Images {
					l.act(path+"/"+o.text("uuid"), "expungeImage", nil)
				}
			}
		}
		l.s.Settle(l.db)
		for _, d := range server.Differences(before, l.s.Counts(l.db)) {
			l.Error(d)
		}
		if w := l.s.World(); len(w.Hosts)+len(w.VMs)+len(w.Volumes)+len(w.Bridges)+len(w.Bindings)+len(w.Images) != 0 {
			l.Errorf("left in the simulated world: %d hosts, %d guests, %d volumes, %d bridges, %d bindings, %d images",
				len(w.Hosts), len(w.VMs), len(w.Volumes), len(w.Bridges), len(w.Bindings), len(w.Images))
		}
	})
}

// erase deletes one of the first few that a path has.
func (l *lab) erase(path string, dice *rand.Rand) error {
	ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
	defer cancel()
	list := path
	if path == "/ip-ranges" {
		list = wire.L3Networks + "/ip-ranges"
	}
	page, err := l.c.Query(ctx, list)
	if err != nil || len(page.Inventories) == 0 {
		return err
	}
	var o struct{ UUID string }
	if err := json.Unmarshal(page.Inventories[dice.IntN(min(len(page.Inventories), churnChoice))], &o); err != nil {
		return err
	}
	mode := ""
	if dice.IntN(3) == 0 {
		mode = "?deleteMode=Enforcing"
	}
	return l.c.Delete(ctx, path+"/"+o.UUID+mode)
}

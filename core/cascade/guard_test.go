package cascade_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

func guard(c *cloud, typeName, uuid string) error {
	return c.store.Update(ctx, func(tx *store.Tx) error { return cascade.Guard(ctx, tx, typeName, uuid) })
}

// TestGuard: no child comes to a parent whose deletion has begun, nor to one
// that is gone.
func TestGuard(t *testing.T) {
	c := newCloud(t)
	in, gate := make(chan struct{}), make(chan struct{})
	c.Register("Nic", cascade.Deleter{Delete: func(_ context.Context, uuid string, _ cascade.Mode) error {
		if uuid == "n1v2" {
			close(in)
			<-gate
		}
		return nil
	}})
	for _, uuid := range []string{"", "z"} {
		if err := guard(c, "Zone", uuid); err != nil {
			t.Errorf("guard %q: %v", uuid, err)
		}
	}
	done := make(chan error)
	go func() { done <- c.Delete(ctx, "Zone", "z", cascade.Permissive, flow.Options{}) }()
	<-in
	for typeName, uuid := range map[string]string{"Zone": "z", "Host": "h1", "Vm": "v2"} {
		if err := guard(c, typeName, uuid); errs.ClassOf(err) != errs.Refused {
			t.Errorf("guard %s while it is deleted: %v", uuid, err)
		}
	}
	if err := guard(c, "Zone", "y"); err != nil {
		t.Errorf("guard of another zone: %v", err)
	}
	for want, parents := range map[errs.Class][]cascade.Parent{
		"":            {{Type: "Zone", UUID: "y"}, {Type: "Host"}, {Type: "Zone", UUID: "y"}},
		errs.Refused:  {{Type: "Zone", UUID: "y"}, {Type: "Host", UUID: "h1"}, {Type: "Vm", UUID: "none"}},
		errs.NotFound: {{Type: "Zone", UUID: "y"}, {Type: "Vm", UUID: "none"}, {Type: "Host", UUID: "h1"}},
	} {
		err := c.store.Update(ctx, func(tx *store.Tx) error { return cascade.GuardAll(ctx, tx, parents...) })
		if errs.ClassOf(err) != want {
			t.Errorf("guard of %v: %v; want %q", parents, err, want)
		}
	}
	close(gate)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := guard(c, "Zone", "z"); errs.ClassOf(err) != errs.NotFound {
		t.Errorf("guard of what is gone: %v", err)
	}
	if err := guard(c, "Zone` --", "z"); errs.ClassOf(err) != errs.Internal {
		t.Errorf("guard of no type: %v", err)
	}
}

// TestGuardHolds: nobody marks or changes a guarded parent before the
// transaction that guards it has ended.
func TestGuardHolds(t *testing.T) {
	c := newCloud(t)
	for _, p := range []cascade.Parent{{Type: "Zone", UUID: "y"}, {Type: "Host", UUID: "h2"}, {Type: "Vm", UUID: "v3"}} {
		guarded, done := make(chan struct{}), make(chan error, 1)
		var ended atomic.Bool
		go func() {
			var once sync.Once
			done <- c.store.Update(ctx, func(tx *store.Tx) error {
				err := cascade.GuardAll(ctx, tx, cascade.Parent{Type: "Zone", UUID: "y"}, cascade.Parent{Type: "Host", UUID: "h2"}, cascade.Parent{Type: "Vm", UUID: "v3"})
				once.Do(func() { close(guarded) })
				time.Sleep(200 * time.Millisecond)
				ended.Store(true)
				return err
			})
		}()
		<-guarded
		err := c.store.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE `"+p.Type+"` SET `description` = ? WHERE `uuid` = ?", "changed", p.UUID)
			return err
		})
		if err != nil || !ended.Load() {
			t.Errorf("%s was changed while it was guarded: %v", p.Type, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestChildrenKeepComing deletes zones while others add VMs to them: in the
// end no VM is in a zone that is gone.
func TestChildrenKeepComing(t *testing.T) {
	for name, world := range map[string]bool{"rows": false, "world": true} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			if world {
				c.Register("Vm", cascade.Deleter{Delete: func(context.Context, string, cascade.Mode) error { return nil }})
			}
			stop := make(chan struct{})
			var wg sync.WaitGroup
			var added, refused atomic.Int64
			for w := range 4 {
				wg.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						err := c.store.Update(ctx, func(tx *store.Tx) error {
							zone := fmt.Sprint("zone", i%5)
							if err := cascade.Guard(ctx, tx, "Zone", zone); err != nil {
								return err
							}
							return store.Insert(ctx, tx, vms, &row{Base: base(fmt.Sprintf("w%d-%d", w, i)), ZoneUUID: zone})
						})
						switch errs.ClassOf(err) {
						case "":
							added.Add(1)
						case errs.Refused, errs.NotFound:
							refused.Add(1)
						default:
							t.Error(err)
							return
						}
					}
				})
			}
			for range 4 {
				for z := range 5 {
					zone := fmt.Sprint("zone", z)
					insert(c, zones, &row{Base: base(zone)})
					time.Sleep(3 * time.Millisecond)
					if err := c.Delete(ctx, "Zone", zone, cascade.Permissive, flow.Options{}); err != nil {
						t.Error(err)
					}
				}
			}
			close(stop)
			wg.Wait()
			orphans, err := store.Count(ctx, c.store, vms.Type, "`zoneUuid` IN (?)", []string{"zone0", "zone1", "zone2", "zone3", "zone4"})
			if err != nil || orphans != 0 || added.Load() == 0 || refused.Load() == 0 {
				t.Errorf("%d orphans (%v), %d added, %d refused", orphans, err, added.Load(), refused.Load())
			}
			c.quiet()
		})
	}
}

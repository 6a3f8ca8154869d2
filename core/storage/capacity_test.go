package storage_test

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// model is what a storage must have left, by host; "" for a shared one.
type model struct {
	total, promised map[string]int64
	reserved        int64
}

func (m *model) left(host string) int64 { return m.total[host] - m.promised[host] }

// Whatever is planned, given up, cached, grown and shrunk, in whatever order, what
// is left is what there is less what was promised: on each host, and in sum.
func TestCapacityIsWhatIsNotPromised(t *testing.T) {
	for name, local := range map[string]bool{"shared": false, "local": true} {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			r := rand.New(rand.NewPCG(seed, 1))
			defer func() {
				if t.Failed() {
					t.Logf("the seed was %d", seed)
				}
			}()
			c, hosts := newCloud(t), []string{""}
			if local {
				var second string
				c, second = localSite(t)
				hosts = []string{c.s.Host, second}
			}
			m := &model{total: map[string]int64{}, promised: map[string]int64{}, reserved: 1 << 10}
			c.Do("APIUpdateGlobalConfigMsg", P{"category": "primaryStorage", "name": "reservedCapacity", "value": "1024"})
			resize := func(h string) {
				m.total[h] = r.Int64N(1 << 20)
				c.World.Space(c.s.Primary, h, m.total[h], m.total[h])
				c.Do("APISyncPrimaryStorageCapacityMsg", P{"primaryStorageUuid": c.s.Primary})
			}
			for _, h := range hosts {
				resize(h)
			}
			var there [][]*contract.VolumePlan
			for i := range 300 {
				h := hosts[r.IntN(len(hosts))]
				switch n := r.IntN(10); {
				case n < 5:
					v := plan(1+r.IntN(3), r.Int64N(1<<17), r.Int64N(1<<17), 0)
					if c.planned(m, v, h, r.IntN(4)) {
						there = append(there, v)
					}
				case n < 8 && len(there) > 0:
					k := r.IntN(len(there))
					c.unplanned(m, there[k], h, local)
					there = slices.Delete(there, k, k+1)
				case n < 9:
					size := r.Int64N(1<<12) - 1<<10
					m.promised[h] += size
					c.Ok(c.Tx(func(tx *store.Tx) error { return c.Storage.Use(t.Context(), tx, c.s.Primary, h, size) }))
				default:
					resize(h)
				}
				c.agrees(m, i, local)
				if t.Failed() {
					return
				}
			}
		})
	}
}

var errGivenUp = errors.New("given up")

// planned plans volumes, and tells whether they are there. One time in four it
// gives up the transaction, and what does not fit must leave one that goes on as
// it was.
func (c *cloud) planned(m *model, v []*contract.VolumePlan, host string, dice int) bool {
	c.t.Helper()
	var size int64
	for _, p := range v {
		size += p.Size
	}
	at := c.at(cmp.Or(host, c.s.Host)) // a shared one is not bound to the host
	giveUp, full := dice == 0, error(nil)
	err := c.Tx(func(tx *store.Tx) error {
		full = c.Storage.Plan(c.t.Context(), tx, at, v)
		switch {
		case errs.ClassOf(full) == errs.Exhausted:
			return nil
		case full != nil:
			return full
		case giveUp:
			return errGivenUp
		}
		return nil
	})
	if err == nil {
		err = full
	}
	fits := size == 0 || m.left(host)-m.reserved >= size
	switch {
	case errs.ClassOf(err) == errs.Exhausted:
		if fits {
			c.t.Errorf("%d bytes were refused, %d are left: %v", size, m.left(host), err)
		}
	case giveUp && errors.Is(err, errGivenUp):
		if !fits {
			c.t.Errorf("%d bytes were taken, %d are left", size, m.left(host))
		}
	default:
		c.Ok(err)
		if !fits {
			c.t.Errorf("%d bytes were taken, %d are left", size, m.left(host))
		}
		m.promised[host] += size
		return true
	}
	return false
}

// unplanned gives volumes up, twice: the second time gives nothing back.
func (c *cloud) unplanned(m *model, v []*contract.VolumePlan, host string, local bool) {
	c.t.Helper()
	for _, p := range v {
		if local {
			host = p.HostUUID
		}
		m.promised[host] -= p.Size
	}
	for range 2 {
		c.Ok(c.Tx(func(tx *store.Tx) error { return c.Storage.Unplan(c.t.Context(), tx, v) }))
	}
}

func (c *cloud) agrees(m *model, step int, local bool) {
	c.t.Helper()
	var left, total int64
	for h := range m.total {
		left, total = left+m.left(h), total+m.total[h]
		if local {
			if l := c.link(h); l.AvailableCapacity != m.left(h) || l.TotalCapacity != m.total[h] {
				c.t.Errorf("step %d: host %s has %d of %d left, want %d of %d", step, h, l.AvailableCapacity, l.TotalCapacity, m.left(h), m.total[h])
			}
		}
	}
	if p := c.primary(); p.Int("availableCapacity") != left || p.Int("totalCapacity") != total {
		c.t.Errorf("step %d: %d of %d left, want %d of %d", step, p.Int("availableCapacity"), p.Int("totalCapacity"), left, total)
	}
}

// What is promised stays so when a host connects again.
func TestReconnectKeepsPromises(t *testing.T) {
	for name, local := range map[string]bool{"shared": false, "local": true} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			if local {
				c, _ = localSite(t)
			}
			c.VM(c.s, P{"hostUuid": c.s.Host})
			before := c.Dump("PrimaryStorage", "PrimaryStorageHostRef")
			c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
			c.Do("APIReconnectPrimaryStorageMsg", P{"uuid": c.s.Primary})
			c.Want("what is there", c.Dump("PrimaryStorage", "PrimaryStorageHostRef"), before)
		})
	}
}

// The last byte that is not reserved is a volume's, and the one after it is not.
func TestTheLastByte(t *testing.T) {
	for name, local := range map[string]bool{"shared": false, "local": true} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			host, left := "", func() int64 { return c.primary().Int("availableCapacity") }
			if local {
				c, _ = localSite(t)
				host, left = c.s.Host, func() int64 { return c.link(c.s.Host).AvailableCapacity }
			}
			c.World.Space(c.s.Primary, host, 5*giB, 5*giB)
			c.Do("APISyncPrimaryStorageCapacityMsg", P{"primaryStorageUuid": c.s.Primary})
			for _, more := range []int64{1, 4 * giB} {
				if err := c.planAt(c.s.Host, plan(1, 4*giB+more)); errs.ClassOf(err) != errs.Exhausted {
					t.Errorf("%d bytes of 5 GiB with 1 GiB reserved: %v", 4*giB+more, err)
				}
				c.Want("left", left(), int64(5*giB))
			}
			all := plan(2, giB, 3*giB)
			c.Ok(c.planAt(c.s.Host, all))
			c.Want("left", left(), int64(giB))
			if err := c.planAt(c.s.Host, plan(1, 1)); errs.ClassOf(err) != errs.Exhausted {
				t.Errorf("a byte of what is reserved: %v", err)
			}
			c.Ok(c.planAt(c.s.Host, plan(1, 0))) // takes nothing
			c.Ok(c.Tx(func(tx *store.Tx) error { return c.Storage.Unplan(t.Context(), tx, all) }))
			c.Want("left", left(), int64(5*giB))
		})
	}
}

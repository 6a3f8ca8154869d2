package main

import (
	"context"
	"fmt"
	"time"

	"github.com/kumo-cloud/kumo/integration/wire"
	"github.com/kumo-cloud/kumo/plugins/simulator/world"
)

// settleTimeout bounds how long the server may take, after it was killed, to
// finish or undo what it had begun.
const settleTimeout = 2 * time.Minute

// kill kills the server with creations in flight, starts it again and looks for
// what was lost or left behind.
func (b *bench) kill(ctx context.Context) error {
	b.say("killing the server with %d creations in flight", b.inFlight)
	o := b.load(min(b.clients, b.inFlight)).beginVMs(b.cloud, b.serial, b.inFlight)
	b.serial += b.inFlight
	if o.Errors > 0 {
		b.fail("creations before kill -9: %d of %d failed, such as: %s", o.Errors, o.Count, o.First)
	}
	if err := b.srv.kill(); err != nil {
		return err
	}
	again, err := b.srv.start(ctx)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err = b.login(ctx); err != nil {
		return err
	}
	again += time.Since(begin)
	b.add(row{Name: fmt.Sprintf("kill -9 to serving again, %d creations accepted", b.inFlight), Value: again.Seconds(), Unit: " s",
		Goal: "< 2 s", Met: yes(again < 2*time.Second)})
	return b.settle(ctx, begin)
}

// settle waits until database and simulated world agree.
func (b *bench) settle(ctx context.Context, begin time.Time) error {
	var last difference
	for time.Since(begin) < settleTimeout {
		var err error
		if last, err = b.compare(ctx); err != nil {
			return err
		}
		if last.none() {
			b.add(row{Name: "kill -9 to nothing leaked", Value: time.Since(begin).Seconds(), Unit: " s",
				Notes: fmt.Sprintf("%d VMs run", last.running), Goal: "nothing leaked", Met: yes(true)})
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	b.add(row{Name: "kill -9 to nothing leaked", Value: settleTimeout.Seconds(), Unit: " s", Notes: last.String(),
		Goal: "nothing leaked", Met: yes(false), Errors: 1})
	b.fail("after kill -9: %s", last)
	return nil
}

// difference counts the same things in the database and in the world.
type difference struct {
	vms, running, volumes, nics   int64
	simRunning, simVolumes, simIP int64
	violations                    []string
}

func (d difference) none() bool {
	return d.vms == d.running && d.running == d.simRunning && d.volumes == d.simVolumes && d.nics == d.simIP && len(d.violations) == 0
}

// String tells all numbers.
func (d difference) String() string {
	return fmt.Sprintf("database: %d VMs, %d running, %d volumes, %d NICs; simulated: %d running, %d volumes, %d NICs; violations %v",
		d.vms, d.running, d.volumes, d.nics, d.simRunning, d.simVolumes, d.simIP, d.violations)
}

func (b *bench) compare(ctx context.Context) (difference, error) {
	var d difference
	for _, q := range []struct {
		into       *int64
		path       string
		conditions []string
	}{
		{&d.vms, wire.VMs, nil}, {&d.running, wire.VMs, []string{"state=Running"}},
		{&d.volumes, wire.Volumes, nil}, {&d.nics, wire.VMNics, nil},
	} {
		var err error
		if *q.into, err = b.client.Count(ctx, q.path, q.conditions...); err != nil {
			return d, err
		}
	}
	w, err := b.world()
	if err != nil {
		return d, err
	}
	for _, v := range w.VMs {
		if v.Active() {
			d.simRunning++
		}
	}
	d.simVolumes, d.simIP, d.violations = int64(len(w.Volumes)), int64(len(w.Bindings)), w.Violations()
	return d, nil
}

// world reads the simulator's log below the data folder.
func (b *bench) world() (world.World, error) {
	found, err := world.Find(b.dir)
	if err != nil {
		return world.World{}, err
	}
	if len(found) != 1 {
		return world.World{}, fmt.Errorf("%d simulated worlds are below %s; want one", len(found), b.dir)
	}
	return world.Load(found[0])
}

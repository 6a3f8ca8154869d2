package kerneltest_test

import (
	"context"
	"testing"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/event"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// lamp is the resource of a sample service: it is lit by a plugin's call.
type lamp struct {
	resource.Base
	resource.Owned
}

var lampType = resource.Define[lamp](resource.Type{Name: "Lamp", Path: "/lamps"})

type lamps struct {
	*kernel.Kernel
	light *flow.Def[lighting]
}

type lighting struct{ UUID, Name, Account string }

func newLamps(k *kernel.Kernel) *lamps {
	s := &lamps{Kernel: k}
	s.light = flow.Define("light-lamp",
		flow.Tx("insert", func(ctx context.Context, tx *store.Tx, st *lighting) error {
			row := &lamp{}
			row.UUID, row.Name, row.AccountUUID = st.UUID, st.Name, st.Account
			tx.OnCommit(func() { s.Events.Publish(event.Event{Type: "Lamp", Verb: "created", UUID: st.UUID}) })
			return store.Insert(ctx, tx, lampType, row)
		}, func(ctx context.Context, tx *store.Tx, st *lighting) error {
			return store.Delete(ctx, tx, lampType.Type, st.UUID)
		}),
		flow.Do("light", func(ctx context.Context, st *lighting) error {
			hv, err := s.Plugins.Hypervisor(kerneltest.FakeType)
			if err == nil {
				_, err = hv.StartVM(ctx, &pluginv1.StartVMRequest{Host: &pluginv1.Host{Uuid: "h"}, Vm: &pluginv1.VM{Uuid: st.UUID}})
			}
			return err
		}, func(ctx context.Context, st *lighting) error {
			hv, err := s.Plugins.Hypervisor(kerneltest.FakeType)
			if err == nil {
				_, err = hv.DestroyVM(ctx, &pluginv1.DestroyVMRequest{Host: &pluginv1.Host{Uuid: "h"}, VmUuid: st.UUID})
			}
			return err
		}),
	)
	return s
}

func (s *lamps) register() error {
	flow.Register(s.Flows, s.light)
	type params struct {
		Name string `api:"name,required,max=8"`
	}
	action.Register(s.Actions, action.Action{Message: "APICreateLampMsg", Method: "POST", Path: "/lamps", Async: true, Create: true,
		Access: action.Normal, Returns: "Lamp"}, func(ctx context.Context, c *action.Call, p *params) (action.Ref, error) {
		st := &lighting{c.ResourceUUID, p.Name, c.Caller.AccountUUID}
		return action.Ref{Type: "Lamp", UUID: st.UUID}, flow.Run(ctx, s.Flows, s.light, st, flow.Options{Job: c.Job, Key: st.UUID})
	})
	if err := s.RegisterUpdate(lampType.Type, action.Normal, nil); err != nil {
		return err
	}
	return s.RegisterDelete(lampType.Type, action.Normal)
}

func newCloud(t *testing.T) (*kerneltest.Cloud, *kerneltest.Fake) {
	t.Helper()
	world := kerneltest.NewFake()
	c := kerneltest.New(t, kerneltest.Options{Types: []*resource.Type{lampType.Type}, Plugins: []pluginsdk.Plugin{world.Plugin()}})
	c.Register(newLamps(c.Kernel).register)
	return c, world
}

func TestCallsGoThroughEveryCheck(t *testing.T) {
	c, _ := newCloud(t)
	mine, other := c.Account(), c.Account()
	uuid := c.As(mine).Create("APICreateLampMsg", kerneltest.P{"name": "a"})
	if got := c.Get("Lamp", uuid); got.Text("name") != "a" || got.Text("uuid") != uuid {
		t.Fatalf("got %v", got)
	}
	c.As(mine).Refused(errs.Invalid, "APICreateLampMsg", kerneltest.P{}, "name")
	c.As(mine).Refused(errs.Invalid, "APICreateLampMsg", kerneltest.P{"name": "much too long"}, "at most 8")
	c.As(mine).Do("APIUpdateLampMsg", kerneltest.P{"uuid": uuid, "name": "b"})
	if rows := c.List("Lamp", "name=b"); len(rows) != 1 || rows[0].Text("uuid") != uuid {
		t.Fatalf("got %v", rows)
	}
	if _, err := c.As(other).Call("APIUpdateLampMsg", kerneltest.P{"uuid": uuid, "name": "c"}); err == nil {
		t.Fatal("an account changed what another one owns")
	}
	c.Do("APIDeleteLampMsg", kerneltest.P{"uuid": uuid})
	if c.Get("Lamp", uuid) != nil {
		t.Fatal("it is still there")
	}
}

func TestPluginCallsAreRecordedAndFail(t *testing.T) {
	c, world := newCloud(t)
	uuid := c.Create("APICreateLampMsg", kerneltest.P{"name": "a"})
	if r, ok := kerneltest.Last[*pluginv1.StartVMRequest](c.Calls, "StartVM"); !ok || r.GetVm().GetUuid() != uuid {
		t.Fatalf("recorded %v", c.Calls.Methods())
	}
	if len(world.Guests("h")) != 1 {
		t.Fatalf("guests %v", world.Guests("h"))
	}
	c.Calls.Fail("StartVM", errs.New(errs.Unavailable, "host h", "is on fire"))
	c.Refused(errs.Unavailable, "APICreateLampMsg", kerneltest.P{"name": "b"}, "on fire")
	c.Calls.Fail("StartVM", nil)
	// The answer is lost: it may have worked, so the flow must undo it.
	c.Calls.After("StartVM", func(any) error { return errs.New(errs.Timeout, "host h", "no answer") })
	c.Refused(errs.Timeout, "APICreateLampMsg", kerneltest.P{"name": "c"})
	if got := world.Guests("h"); len(got) != 1 || len(c.List("Lamp")) != 1 {
		t.Fatalf("left over: %v %v", got, c.List("Lamp"))
	}
}

func TestEventsAndJobsAreWaitedFor(t *testing.T) {
	c, _ := newCloud(t)
	began, goOn := make(chan bool, 1), make(chan bool)
	c.Calls.On("StartVM", func(any) error { began <- true; <-goOn; return nil })
	job := c.As(kerneltest.Admin).Begin("APICreateLampMsg", kerneltest.P{"name": "a"})
	<-began
	c.Until("inserted", func() bool { return len(c.List("Lamp")) == 1 })
	close(goOn)
	row, err := c.Wait(job)
	if err != nil || row.Text("name") != "a" {
		t.Fatalf("%v %v", row, err)
	}
	c.Idle(row.Text("uuid"))
}

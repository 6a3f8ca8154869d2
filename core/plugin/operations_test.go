package plugin_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// What a plugin asks is asked for the operation that it works for, whose context the
// core gets; not for one that has ended, nor for another plugin's.
func TestAsksForItsOperation(t *testing.T) {
	c := start(t, func(cfg *plugin.Config) {
		install(t, cfg.Dir, "asker", "sample")
		install(t, cfg.Dir, "asker2", "other")
		cfg.Enabled = []string{"sample", "other"}
	})
	of := func(name, id string) context.Context {
		return pluginsdk.WithOperationID(context.WithValue(t.Context(), who{}, name), id)
	}
	for _, id := range []string{"op", ""} { // each call has one
		r, err := c.sample(t).CheckHost(of("alice", id), host("ask"))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.GetChecks()[0].GetName() + ", " + r.GetChecks()[1].GetName(); got != "alice, sample for alice" {
			t.Errorf("operation %q asks for %s", id, got)
		}
		_, err = c.sample(t).CheckHost(of("bob", "op2"), host("ask late"))
		if errs.ClassOf(err) != errs.Refused || !strings.Contains(err.Error(), "no operation") {
			t.Errorf("an operation that has ended: %v", err)
		}
	}
	other, err := c.Hypervisor("Other")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(of("alice", "another's"))
	var watching sync.WaitGroup
	watching.Go(func() {
		_ = other.WatchHost(ctx, &pluginv1.WatchHostRequest{Host: &pluginv1.Host{}}, func(*pluginv1.VMStatus) error { // ended by stop
			_, err := c.sample(t).CheckHost(of("bob", "op3"), host("ask as another"))
			if errs.ClassOf(err) != errs.Refused || !strings.Contains(err.Error(), `no operation "another's"`) {
				t.Errorf("another plugin's operation: %v", err)
			}
			_, err = other.CheckHost(of("bob", "op4"), host("ask as another"))
			if err != nil {
				t.Errorf("its own operation, which is a stream: %v", err)
			}
			stop()
			return nil
		})
	})
	watching.Wait()
	eventually(t, 5*time.Second, "forgotten", func() bool {
		_, err = other.CheckHost(of("bob", "op5"), host("ask as another"))
		return errs.ClassOf(err) == errs.Refused
	})
	_, err = c.sample(t).CheckHost(of("alice", "op6"), host("ask of others"))
	if errs.ClassOf(err) != errs.Denied || !strings.Contains(err.Error(), `"query:Other"`) {
		t.Errorf("a type that it reaches into: %v", err)
	}
}

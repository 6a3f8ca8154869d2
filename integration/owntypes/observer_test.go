package owntypes

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// A plugin that is asked before calls denies one with a reason, which arrives at the
// client; when it hangs, calls are refused in its time or go on, as it asked. Switched off, it is
// not asked.
func TestAskedBefore(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{Plugins: []string{"simulator", "sizelimit"}})
	ctx, c := t.Context(), s.Client
	cloud, err := wire.NewCloud(ctx, c, wire.Spec{Name: "asked", Hosts: 1})
	if err != nil {
		t.Fatal(err)
	}
	p := &place{t, s, c}
	guest := func(name string, size int64) (time.Duration, error) {
		vm := cloud.VM(name)
		vm["rootDiskSize"] = size
		began := time.Now()
		_, err := c.Create(ctx, wire.VMs, vm)
		return time.Since(began), err
	}
	if _, err := guest("big", 200<<30); err == nil || !strings.Contains(err.Error(), "a root disk has at most 100 GiB here") ||
		!strings.Contains(err.Error(), "choose a smaller one") || !strings.Contains(err.Error(), "sizelimit") {
		t.Errorf("a guest that is too big: %v", err)
	}
	if took, err := guest("hang", 1<<30); err == nil || !strings.Contains(err.Error(), "plugin sizelimit must be asked") || took > 20*time.Second {
		t.Errorf("asked a plugin that hangs: %v after %v", err, took)
	}
	p.want("the guests", len(s.States()), 0)
	p.create(c, wire.InstanceOfferings, wire.Params{"name": "hang", "cpuNum": 1, "memorySize": 1 << 30}) // goes on without it
	if _, err := guest("small", 1<<30); err != nil {
		t.Error(err)
	}
	page, err := c.Query(ctx, "/plugins", "name=sizelimit")
	if err != nil || len(page.Inventories) != 1 {
		t.Fatal(page, err)
	}
	var limit struct{ UUID string }
	if err := json.Unmarshal(page.Inventories[0], &limit); err != nil {
		t.Fatal(err)
	}
	state := func(event string) {
		if _, err := c.Act(ctx, "/plugins/"+limit.UUID, "changePluginState", wire.Params{"stateEvent": event}); err != nil {
			t.Fatal(err)
		}
	}
	state("disable")
	if _, err := guest("of a size", 200<<30); err != nil {
		t.Errorf("the plugin is off, and is asked: %v", err)
	}
	state("enable")
	if _, err := guest("big again", 200<<30); err == nil {
		t.Error("the plugin is on again, and is not asked")
	}
	text, err := c.Call(ctx, http.MethodGet, wire.VMs+"?count=true", nil)
	if err != nil || !strings.Contains(string(text), `"total":2`) {
		t.Errorf("the guests: %s %v", text, err)
	}
}

package serve

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"

	"github.com/kumo-cloud/kumo/core/identity"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/web/api"
)

// start takes up what the last process left and begins the background work,
// which ends with ctx.
func (p *parts) start(ctx context.Context) error {
	if err := p.order.Prepare(ctx); err != nil {
		return err
	}
	return p.order.Start(ctx)
}

// bootstrap makes the administrator's account at the first start. Its password
// is the given one; else "password" when only this machine can reach the API,
// and otherwise a random one that is printed once.
func (p *parts) bootstrap(ctx context.Context) error {
	password, told := p.options.AdminPassword, true
	if password == "" {
		password = "password"
		if !p.options.loopbackOnly() {
			var b [15]byte
			if _, err := rand.Read(b[:]); err != nil {
				return fmt.Errorf("make the administrator's password: %w", err)
			}
			password, told = base64.RawURLEncoding.EncodeToString(b[:]), false
		}
	}
	before, err := store.Count(ctx, p.kernel.Store, identity.AccountType.Type, "")
	if err != nil {
		return err
	}
	if err := unusedFolder(p.options.DataDir, before == 0); err != nil {
		return err
	}
	if err := p.identity.Bootstrap(ctx, password); err != nil {
		return err
	}
	if err := markFolder(p.options.DataDir); err != nil {
		return err
	}
	if before == 0 && !told {
		fmt.Fprintf(os.Stdout, "account admin was made; its password, shown only now: %s\n", password)
	}
	return nil
}

// samples are the measured values for /metrics.
func (p *parts) samples() []api.Sample {
	var list []api.Sample
	gauge := func(name, help string, v float64, labels map[string]string) {
		list = append(list, api.Sample{Name: name, Help: help, Labels: labels, Value: v})
	}
	d := p.kernel.Dispatch.Stats()
	gauge("kumo_dispatch_queued", "Work that waits for its turn.", float64(d.Queued), nil)
	gauge("kumo_dispatch_running", "Work that runs.", float64(d.Running), nil)
	gauge("kumo_dispatch_keys", "Resources with work that runs or waits.", float64(d.Keys), nil)
	for kind, st := range d.Kinds {
		gauge("kumo_dispatch_kind_queued", "Work of a kind that waits for its turn.", float64(st.Queued), map[string]string{"kind": kind})
		gauge("kumo_dispatch_kind_running", "Work of a kind that runs.", float64(st.Running), map[string]string{"kind": kind})
	}
	f := p.kernel.Flows.Stats()
	gauge("kumo_flows_running", "Flows that run.", float64(f.Active), nil)
	gauge("kumo_flows_parked", "Flows that could not be noted in the database and go on later.", float64(f.Parked), nil)
	gauge("kumo_flows_open", "Flows that neither run nor are over.", float64(f.Open), nil)
	gauge("kumo_flows_undo_failed", "Open flows that have failed and are not undone yet.", float64(f.Undoing), nil)
	list = append(list, api.Sample{Name: "kumo_flow_traces_lost_total", Help: "Traces of flows that came faster than the database took them.",
		Value: float64(f.LostTraces), Counter: true})
	if n, err := p.kernel.Cascade.Left(context.Background()); err == nil {
		gauge("kumo_garbage", "What deletes have left outside and is still to be cleaned up.", float64(n), nil)
	}
	for _, st := range p.kernel.Plugins.Status() {
		list = append(list, api.Sample{Name: "kumo_plugin_restarts_total", Help: "Restarts of a plugin process.",
			Labels: map[string]string{"plugin": st.Name}, Value: float64(st.Restarts), Counter: true})
	}
	return list
}

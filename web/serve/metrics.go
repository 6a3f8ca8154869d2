package serve

import (
	"context"

	"github.com/kumo-cloud/kumo/web/api"
)

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
		gauge("kumo_dispatch_kind_lent", "Work of a kind that waits for hosts and has lent its place to other work.", float64(st.Lent), map[string]string{"kind": kind})
	}
	f := p.kernel.Flows.Stats()
	gauge("kumo_flows_running", "Flows that run.", float64(f.Active), nil)
	gauge("kumo_flows_parked", "Flows that could not be noted in the database and go on later.", float64(f.Parked), nil)
	gauge("kumo_flows_open", "Flows that neither run nor are over.", float64(f.Open), nil)
	gauge("kumo_flows_undo_failed", "Open flows that have failed and are not undone yet.", float64(f.Undoing), nil)
	list = append(list, api.Sample{Name: "kumo_flow_traces_lost_total", Help: "Traces of flows that came faster than the database took them.",
		Value: float64(f.LostTraces), Counter: true})
	e := p.kernel.Events.Stats()
	gauge("kumo_event_readers", "Clients that read the stream of events.", float64(e.Readers), nil)
	for name, n := range e.Backlog {
		gauge("kumo_outbox_backlog", "Events that a durable subscriber has not taken yet.", float64(n), map[string]string{"subscriber": name})
	}
	if n, err := p.kernel.Cascade.Left(context.Background()); err == nil {
		gauge("kumo_garbage", "What deletes have left outside and is still to be cleaned up.", float64(n), nil)
	}
	for _, st := range p.kernel.Plugins.Status() {
		list = append(list, api.Sample{Name: "kumo_plugin_restarts_total", Help: "Restarts of a plugin process.",
			Labels: map[string]string{"plugin": st.Name}, Value: float64(st.Restarts), Counter: true})
	}
	return list
}

package main

import (
	"slices"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func TestConformance(t *testing.T) {
	w := newWorld()
	h := w.host("h1")
	w.group("g", "g")
	w.guest(1, "h1", "g")
	conn := plugintest.Loopback(t, newPlugin(), plugintest.WithCore(w.core()))
	named := func(values map[string]any) map[string]*pluginv1.Value {
		v, err := pluginsdk.Values(values)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	t.Run("groups", func(t *testing.T) {
		plugintest.ResourceProvider(t, plugintest.ResourceProviderFixture{
			Conn: conn,
			New: func(_ int, uuid string) *pluginv1.Resource {
				return &pluginv1.Resource{Type: typeGroup, Uuid: uuid, AccountUuid: "a", Values: named(map[string]any{"name": "web"})}
			},
			Change: func(r *pluginv1.Resource) []string {
				r.Values = named(map[string]any{"name": "other"})
				return []string{"name"}
			},
			Actions: groupActs(named),
		})
	})
	t.Run("observer", func(t *testing.T) {
		f := plugintest.ObserverFixture{Conn: conn, Subject: func(point, uuid string) *pluginv1.PointSubject {
			return &pluginv1.PointSubject{Type: "VmInstance", Uuid: uuid, HostUuid: "h1", Nics: []*pluginv1.PointNIC{{Uuid: "n1"}}}
		}}
		for _, s := range conn.Manifest.Subscriptions {
			if s.Phase == pluginsdk.PhaseAfter {
				f.After = append(f.After, &pluginv1.AfterRequest{Type: s.Type, Verb: s.Verb, Uuid: plugintest.NewUUID()})
			}
		}
		plugintest.Observer(t, f)
		if !slices.Contains(h.keys(), "group-g") && len(h.told()) == 0 {
			t.Error("the host was never told anything")
		}
	})
}

// groupActs are the actions of groups with parameters that fit the world of the test.
func groupActs(named func(map[string]any) map[string]*pluginv1.Value) []*pluginv1.ActOnResourceRequest {
	act := func(message string, p map[string]any) *pluginv1.ActOnResourceRequest {
		return &pluginv1.ActOnResourceRequest{Type: typeGroup, Message: message, AccountUuid: "a", Admin: true, Params: named(p)}
	}
	one := map[string]any{"type": ingress, "protocol": "TCP", "dstPortRange": "80"}
	return []*pluginv1.ActOnResourceRequest{
		act(addRules, map[string]any{"rules": []map[string]any{one}, "priority": -1}),
		act(changeRules, map[string]any{"ruleUuids": []string{"rg"}, "state": disabled}),
		act(orderRules, map[string]any{"type": egress, "rules": []map[string]any{}}),
		act(validateRule, one),
		act(attachL3, map[string]any{"l3NetworkUuid": "l3"}),
		act(detachL3, map[string]any{"l3NetworkUuid": "l3"}),
		act(addNICs, map[string]any{"vmNicUuids": []string{"n1"}}),
		act(deleteNICs, map[string]any{"vmNicUuids": []string{"n1"}}),
		act(candidateNICs, nil),
		act(setGroups, map[string]any{paramNIC: "n1", "refs": []map[string]any{}}),
		act(changePolicy, map[string]any{paramNIC: "n1", "ingressPolicy": allow}),
		act(deleteRules, map[string]any{"ruleUuids": []string{}}),
	}
}

package main

import (
	"context"
	"testing"

	"github.com/kumo-cloud/kumo/integration/nimbus"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func TestConformance(t *testing.T) {
	cloud := nimbus.Start(t)
	values := func(v map[string]any) map[string]*pluginv1.Value {
		told, err := pluginsdk.Values(v)
		if err != nil {
			t.Fatal(err)
		}
		return told
	}
	conn := plugintest.Loopback(t, plugin())
	endpoint := &pluginv1.Resource{Type: account.Name, Uuid: plugintest.NewUUID(), Values: values(map[string]any{"url": cloud.URL, "key": nimbus.Key, "secret": nimbus.Secret})}
	in := map[string]*pluginv1.ForeignRef{"zoneUuid": {Type: zone.Name, ForeignId: "z-1"}}
	t.Run("inventory", func(t *testing.T) {
		cloud.Throttle(3)
		plugintest.Inventory(t, plugintest.InventoryFixture{Conn: conn, Endpoint: endpoint,
			Denied:  func(r *pluginv1.Resource) { r.Values["secret"].Kind = &pluginv1.Value_Text{Text: "wrong-secret"} },
			Restart: func() *plugintest.Conn { return plugintest.Loopback(t, plugin()) }})
	})
	t.Run("instances", func(t *testing.T) {
		plugintest.ResourceProvider(t, plugintest.ResourceProviderFixture{Conn: conn,
			New: func(_ int, uuid string) *pluginv1.Resource {
				return &pluginv1.Resource{Type: instance.Name, Uuid: uuid, Endpoint: endpoint, Refs: in, Values: values(map[string]any{"name": "n", "size": 2})}
			},
			Refused: func(r *pluginv1.Resource) { r.Values = values(map[string]any{"name": "n", "size": 99}) },
			Exists: func(_ context.Context, uuid string) (bool, error) {
				n := 0
				for _, i := range cloud.Things("instances") {
					if i.Token == uuid {
						n++
					}
				}
				if n > 1 {
					t.Errorf("instance %s was made %d times", uuid, n)
				}
				return n > 0, nil
			}})
	})
	t.Run("price", func(t *testing.T) {
		ask := func(size int) *pluginv1.PriceRequest {
			return &pluginv1.PriceRequest{Type: instance.Name, Endpoint: endpoint, Refs: in, Params: values(map[string]any{"size": size})}
		}
		plugintest.HybridCloud(t, plugintest.HybridCloudFixture{Conn: conn, Priced: ask(2), Unpriced: ask(99),
			Count: func(context.Context) (int, error) { return len(cloud.Things("instances")), nil }})
	})
}

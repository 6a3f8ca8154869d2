package owntypes

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// Without its plugin a type sleeps: rows can be read, everything else says which
// plugin is missed, and what was deleted by force is cleaned up when that is back.
func TestDormant(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"sqlite", "mariadb"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := server.Options{Plugins: []string{sample}, Dir: server.Folder(t)}
			if kind == "mariadb" {
				o.DB = mariadb.Start(t)
			}
			s := server.Start(t, o)
			p := &place{t, s, s.Client}
			zone := p.create(p.c, wire.Zones, wire.Params{"name": "z"}).text("uuid")
			ring := p.create(p.c, rings, wire.Params{"name": "r"}).text("uuid")
			pair := p.create(p.c, pairs, wire.Params{"name": "k", "publicKey": key, "zoneUuid": zone, "ringUuid": ring}).text("uuid")
			s.Stop()

			o.Plugins = []string{"flat"}
			s = server.Start(t, o)
			p.s, p.c = s, s.Client
			missed := []string{"plugin " + sample + " is not enabled", "--plugins"}
			p.want("rows", p.count(p.c, pairs, "zone.name=z", "ring.name=r"), int64(1))
			p.want("zones by them", p.count(p.c, wire.Zones, "sampleKeyPairs.name=k"), int64(1))
			for _, call := range []struct {
				method, path string
				body         any
			}{
				{http.MethodPost, pairs, map[string]any{"params": wire.Params{"name": "l", "publicKey": key}}},
				{http.MethodPut, pairs + "/" + pair + "/actions", map[string]any{"updateSampleKeyPair": wire.Params{"name": "l"}}},
				{http.MethodPut, pairs + "/" + pair + "/actions", map[string]any{"changeSampleKeyPairState": wire.Params{"stateEvent": "disable"}}},
				{http.MethodPut, pairs + "/actions", map[string]any{"revokeSampleKeyPairs": wire.Params{"uuids": []string{pair}, "reason": "lost"}}},
				{http.MethodPost, rings, map[string]any{"params": wire.Params{"name": "l"}}},
				{http.MethodDelete, pairs + "/" + pair, nil}, {http.MethodDelete, wire.Zones + "/" + zone, nil}, {http.MethodDelete, rings + "/" + ring, nil},
			} {
				p.refused(p.c, call.method, call.path, call.body, missed...)
			}
			var schema struct {
				Types map[string]struct{ Dormant bool }
			}
			if text, err := p.c.Call(t.Context(), http.MethodGet, "/schema", nil); err != nil || json.Unmarshal(text, &schema) != nil || !schema.Types["SampleKeyPair"].Dormant {
				t.Errorf("the schema does not say that the type is dormant: %v", err)
			}
			p.want("rows after all that", p.count(p.c, pairs)+p.count(p.c, rings)+p.count(p.c, wire.Zones), int64(3))
			if _, err := p.c.Call(t.Context(), http.MethodDelete, wire.Zones+"/"+zone+"?deleteMode=Enforcing", nil); err != nil {
				t.Fatal(err)
			}
			p.want("rows after the zone was deleted by force", p.count(p.c, pairs), int64(0))
			p.want("what is left to clean up", p.count(p.c, "/gc-jobs", "resourceUuid="+pair), int64(1))
			p.want("files, which nobody could remove", len(p.published()), 1)
			s.Stop()

			o.Plugins = []string{sample}
			s = server.Start(t, o)
			p.s, p.c = s, s.Client
			page, err := p.c.Query(t.Context(), "/gc-jobs", "resourceUuid="+pair)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range page.Inventories { // it may have been collected already
				var left struct{ UUID string }
				if err := json.Unmarshal(text, &left); err != nil {
					t.Fatal(err)
				}
				if _, err := p.c.Act(t.Context(), "/gc-jobs/"+left.UUID, "triggerGCJob", nil); err != nil && p.count(p.c, "/gc-jobs") > 0 {
					t.Fatal(err)
				}
			}
			p.want("files when the plugin is back", len(p.published()), 0)
			p.want("a pair made as before", p.create(p.c, pairs, wire.Params{"name": "k", "publicKey": key, "ringUuid": ring}).text("state"), "Enabled")
		})
	}
}

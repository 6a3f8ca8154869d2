package owntypes

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// A plugin that is enabled while the server runs is there as one that it started with:
// nothing of its types before, all of them then; disabled they sleep, enabled again
// they go on, and all that without another start.
func TestEnabledOnARunningServer(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"sqlite", "mariadb"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			server.Build(t, sample)
			o := server.Options{Plugins: []string{"flat"}, Dir: server.Folder(t)}
			if kind == "mariadb" {
				o.DB = mariadb.Start(t)
			}
			s := server.Start(t, o)
			p := &place{t, s, s.Client}
			env := p.env()
			if _, err := p.c.Count(t.Context(), pairs); err == nil || !strings.Contains(err.Error(), "404") {
				t.Errorf("the type before its plugin is enabled: %v", err)
			}
			if typ, has := p.schema().Types["SampleKeyPair"]; has {
				t.Errorf("the schema has it: %+v", typ)
			}
			p.kumo(env, "plugin enable "+sample)
			p.everywhere(env)

			zone := p.create(p.c, wire.Zones, wire.Params{"name": "z"}).text("uuid")
			_, me := p.account("me")
			pair := p.create(me, pairs, wire.Params{"name": "k", "publicKey": key, "passphrase": "secret", "zoneUuid": zone}, "rotation::30").text("uuid")
			p.want("rows by what they refer to, and their tags", p.count(me, pairs, "zone.name=z", "__systemTag__=rotation::30"), int64(1))
			p.want("files", len(p.published()), 1)

			p.kumo(env, "plugin disable "+sample)
			p.want("rows when it is disabled", p.count(me, pairs), int64(1))
			p.want("the plugin's state", p.schema().Plugins[sample].State, "disabled")
			rename := map[string]any{"updateSampleKeyPair": wire.Params{"name": "l"}}
			p.refused(me, http.MethodPut, pairs+"/"+pair+"/actions", rename, "plugin "+sample, "kumo plugin enable")
			p.refused(p.c, http.MethodDelete, wire.Zones+"/"+zone, nil, "plugin "+sample)

			p.kumo(env, "plugin enable "+sample)
			p.call(me, http.MethodPut, pairs+"/"+pair+"/actions", rename)
			p.want("the zone's, renamed", p.count(p.c, wire.Zones, "sampleKeyPairs.name=l"), int64(1))
			s.Stop()
			s = server.Start(t, o)
			p.s, p.c = s, s.Client
			if err := p.c.Delete(t.Context(), wire.Zones+"/"+zone); err != nil {
				t.Fatal(err)
			}
			p.want("rows after the zone", p.count(p.c, pairs), int64(0))
			p.want("files after the zone", len(p.published()), 0)
		})
	}
}

// A plugin that is purged is as if it had never been: its rows, and what they stood for,
// its types and their tables are gone; what they hung on stays. Abandoned, what they
// stood for stays where it is, and nobody is asked.
func TestPurge(t *testing.T) {
	each(t, func(p *place) {
		env := p.env()
		zone := p.create(p.c, wire.Zones, wire.Params{"name": "z"}).text("uuid")
		for _, c := range []struct {
			line  string
			off   bool
			files int
		}{{"plugin purge " + sample + " --yes", false, 0}, {"plugin purge " + sample + " --abandon --yes", true, 1}, {"plugin purge " + sample + " --abandon --yes", false, 1}} {
			ring := p.create(p.c, rings, wire.Params{"name": "r"}).text("uuid")
			for _, name := range []string{"k", "l"} {
				p.create(p.c, pairs, wire.Params{"name": name, "publicKey": key, "zoneUuid": zone, "ringUuid": ring}, "rotation::30")
			}
			if c.off {
				p.kumo(env, "plugin disable "+sample)
			}
			before := len(p.published())
			p.kumo(env, c.line)
			p.want("files after "+c.line, len(p.published()), c.files*before)
			if _, err := p.c.Count(p.Context(), pairs); err == nil || !strings.Contains(err.Error(), "404") {
				p.Errorf("the type after %s: %v", c.line, err)
			}
			db := p.s.Database()
			for table, n := range p.s.Counts(db) {
				if strings.HasPrefix(table, "Sample") || n > 0 && (table == "SystemTag" || table == "PluginType" || table == "GCJob" || table == "DeletingResource") {
					p.Errorf("after %s there is table %s with %d rows", c.line, table, n)
				}
			}
			p.want("zones after "+c.line, p.count(p.c, wire.Zones), int64(1))
			p.kumo(env, "plugin enable "+sample)
			p.want("rows when it is enabled again", p.count(p.c, pairs)+p.count(p.c, rings), int64(0))
		}
	})
}

package owntypes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// A new version of a hypervisor's plugin is tried in one zone: what is killed of one
// version disturbs the hosts of the other's zones not at all.
func TestCanaryZone(t *testing.T) {
	t.Parallel()
	o := server.Options{Plugins: []string{"rack"}, PluginDir: t.TempDir()}
	binary := filepath.Join(o.PluginDir, "kumo-plugin-rack")
	build := func(version string) {
		t.Helper()
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version="+version, "-o", binary+".new", "./integration/samples/rack")
		cmd.Dir, cmd.Env = server.Root(), append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if err := os.Rename(binary+".new", binary); err != nil {
			t.Fatal(err)
		}
		if err := server.Sums(o.PluginDir); err != nil {
			t.Fatal(err)
		}
	}
	build("1")
	s := server.Start(t, o)
	p := &place{t, s, s.Client}
	env := p.env()
	zones, hosts := map[string]string{}, map[string]string{}
	for i, name := range []string{"east", "west"} {
		zones[name] = p.create(p.c, wire.Zones, wire.Params{"name": name}).text("uuid")
		cluster := p.create(p.c, wire.Clusters, wire.Params{"name": name, "zoneUuid": zones[name], "hypervisorType": "Rack"}).text("uuid")
		hosts[name] = p.create(p.c, wire.Hosts+"/racks", wire.Params{"name": name, "clusterUuid": cluster, "managementIp": fmt.Sprintf("192.0.2.%d", i+1)}).text("uuid")
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for begin := time.Now(); !ok(); time.Sleep(20 * time.Millisecond) {
			if time.Since(begin) > time.Minute {
				t.Fatalf("not seen: %s", what)
			}
		}
	}
	served := func(east, west string) {
		t.Helper()
		for name, version := range map[string]string{"east": east, "west": west} {
			until(name+" is served by version "+version, func() bool {
				return p.count(p.c, wire.Hosts, "uuid="+hosts[name], "status=Connected", "servedBy="+version) == 1
			})
		}
	}
	served("1", "1")
	build("2")
	p.kumo(env, "plugin upgrade rack --zone-uuids "+zones["east"])
	served("2", "1")
	p.want("rows with a canary", p.count(p.c, "/plugins", "name=rack", "version=1", "canaryVersion=2", "canaryZones="+zones["east"]), int64(1))
	if err := syscall.Kill(s.Plugin("rack"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until("another process for the other zone", func() bool { return s.Plugin("rack") != 0 && p.count(p.c, "/plugins", "name=rack", "restarts=1") == 1 })
	served("2", "1")

	p.kumo(env, "plugin rollback rack")
	served("1", "1")
	p.want("rows without a canary", p.count(p.c, "/plugins", "name=rack", "version=1", "canaryVersion is null"), int64(1))

	build("2")
	p.kumo(env, "plugin upgrade rack --zone-uuids "+zones["east"]+","+zones["west"])
	served("2", "2")
	p.kumo(env, "plugin upgrade rack")
	p.want("rows when it has all zones", p.count(p.c, "/plugins", "name=rack", "version=2", "canaryVersion is null"), int64(1))
	served("2", "2")
}

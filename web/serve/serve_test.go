package serve

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/action/catalogue"
	"github.com/kumo-cloud/kumo/core/plugin/life"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
)

func TestMain(m *testing.M) { os.Exit(mariadb.Main(m)) }

// TestMigrations proves that the migrations make the tables of all types of
// the core, on both databases. After a change of a type, run it with -update-migrations.
func TestMigrations(t *testing.T) {
	storetest.Migrations(t, filepath.Join("..", "..", "sql", "migrations"), mariadb.Start, Types()...)
}

// additions are messages that the catalogue does not have, and differences
// that are meant.
var additions = []string{
	"APIQueryAuditMsg",     // who changed what
	"APIQueryHostCheckMsg", // what is looked at on hosts

	// The plugins decide which hypervisors there are, not a list.
	"APICreateClusterMsg: parameter hypervisorType: values is [], the catalogue says [KVM Simulator baremetal baremetal2 xdragon]",
	// And which switches.
	"APICreateL2NoVlanNetworkMsg: parameter vSwitchType: values is [LinuxBridge], the catalogue says [LinuxBridge MacVlan OvsDpdk]",
	"APICreateL2VlanNetworkMsg: parameter vSwitchType: values is [LinuxBridge], the catalogue says [LinuxBridge MacVlan OvsDpdk]",
	// A format that is given is that of the bytes, or refused; which there are, the plugins know.
	"APIUpdateImageMsg: parameter format: values is [], the catalogue says [iso qcow2 raw]",
	// An account reads how its own networks are served.
	"APIQueryNetworkServiceL3NetworkRefMsg: access is normal, the catalogue says admin",
	// Work that is stuck, and what the flows of a job did.
	"APIForgetFlowMsg", "APIGetFlowDefinitionsMsg", "APIGetJobTraceMsg", "APIQueryFlowMsg", "APIQueryJobMsg", "APIRetryFlowMsg",
	// Plugins as resources.
	"APIChangePluginStateMsg", "APIGetPluginLogsMsg", "APIGrantPluginMsg", "APIPurgePluginMsg", "APIQueryPluginMsg", "APIRestartPluginMsg", "APIRevokePluginMsg", "APIRollbackPluginMsg", "APIUpgradePluginMsg",
	// Which provider gives a service can be changed in one call.
	"APIAttachNetworkServiceToL3NetworkMsg: parameter replace is not in the catalogue",
	// What there is outside, such as in other clouds.
	"APIApplyInventorySyncMsg", "APIQueryInventorySyncItemMsg", "APIQueryInventorySyncMsg", "APISyncInventoryMsg",
	// The type is named as its path and its messages are.
	"APIQueryGCJobMsg: inventory is GCJobInventory, the catalogue says GarbageCollectorInventory",
	"APITriggerGCJobMsg: parameter uuid: resource type is GCJob, the catalogue says GarbageCollector",
	// A UUID that is too long names nothing.
	"APIUpdateSshKeyPairMsg: parameter uuid: maxLength is 0, the catalogue says 32",
}

// TestWire compares every registered message, those that plugins declare
// included, with the facts of the wire, and what is published of them with the
// golden files.
func TestWire(t *testing.T) {
	p := whole(t)
	catalogue.Check(t, p.kernel.Actions, additions...)
	t.Run("OpenAPI", func(t *testing.T) { testOpenAPI(t, p) })
	t.Run("schema", func(t *testing.T) { testSchema(t, p) })
	t.Run("open endpoints", func(t *testing.T) { testOpenEndpoints(t, p) })
}

// whole builds a server with the plugins of the tree, which does not serve.
func whole(t *testing.T) *parts {
	plugins := t.TempDir()
	names := []string{"kvm", "localstorage", "imagestore", "flat", "vlan", "simulator"}
	buildPlugins(t, plugins, names)
	o := Options{DataDir: t.TempDir(), PluginDir: plugins, Plugins: names}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	p, err := build(ctx, o, "test", storetest.Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.order.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

// buildPlugins builds plugins into a folder.
func buildPlugins(t *testing.T, dir string, names []string) {
	t.Helper()
	for _, name := range names {
		c := exec.Command("go", "build", "-o", filepath.Join(dir, "kumo-plugin-"+name), "github.com/kumo-cloud/kumo/plugins/"+name)
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("build plugin %s: %v\n%s", name, err, out)
		}
	}
	ship(t, dir, names...)
}

// ship has the checksums of plugins in their folder, as make build does: they are
// granted what they ask for.
func ship(t *testing.T, dir string, names ...string) {
	t.Helper()
	var text strings.Builder
	for _, name := range names {
		file := "kumo-plugin-" + name
		data, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(data), file)
	}
	if err := os.WriteFile(filepath.Join(dir, life.Sums), []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOptions(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		name := filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "_")+".yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	none := func(string) bool { return false }
	env := func(m map[string]string) func(string) (string, bool) {
		return func(k string) (string, bool) { v, ok := m[k]; return v, ok }
	}
	t.Run("order", func(t *testing.T) {
		f := file("listen: 127.0.0.1:1\ndb: sqlite:/a\nplugins: [kvm]\ndata-dir: /d\n")
		o, err := resolve(Options{Config: f, Listen: "127.0.0.1:3"}, nil, func(n string) bool { return n == "listen" || n == "config" },
			env(map[string]string{"KUMO_LISTEN": "127.0.0.1:2", "KUMO_DB": "sqlite:/b", "KUMO_PLUGINS": "flat, kvm"}))
		if err != nil {
			t.Fatal(err)
		}
		if o.Listen != "127.0.0.1:3" || o.DB != "sqlite:/b" || len(o.Plugins) != 2 || o.DataDir != "/d" {
			t.Fatalf("got %+v", o)
		}
	})
	bad := map[string]struct{ text, want string }{
		"unknown key":   {"lisen: 127.0.0.1:1\n", "lisen"},
		"no port":       {"listen: 127.0.0.1\n", "listen"},
		"log level":     {"log-level: loud\n", "loud"},
		"open profiles": {"profile-listen: 0.0.0.0:6060\n", "profile-listen"},
	}
	for name, tt := range bad {
		t.Run(name, func(t *testing.T) {
			_, err := resolve(Options{Config: file(tt.text)}, nil, none, env(nil))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want an error about %s", err, tt.want)
			}
		})
	}
	for address, want := range map[string]bool{"127.0.0.1:80": true, "localhost:80": true, "[::1]:80": true, "0.0.0.0:80": false, ":80": false} {
		if o := (Options{Listen: address}); o.loopbackOnly() != want {
			t.Errorf("loopbackOnly(%s) is %t", address, !want)
		}
	}
}

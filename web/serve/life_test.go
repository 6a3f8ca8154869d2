package serve

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/plugin/life"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// plugin returns the row of a plugin as an administrator sees it.
func (f *office) plugin(name string) (row struct {
	UUID, State, Status, Version, Provides, Permissions, Missing, LastError, SHA256 string
	Memory, ProcessID                                                               int64
	Grants                                                                          []string
}) {
	f.Helper()
	body, err := f.s.kernel.AskQuery(f.Context(), "Plugin", url.Values{"q": {"name=" + name}}, action.Caller{Admin: true})
	var page struct{ Inventories []json.RawMessage }
	if err == nil {
		err = json.Unmarshal(body, &page)
	}
	if err != nil || len(page.Inventories) != 1 {
		f.Fatalf("plugin %s: %s %v", name, body, err)
	}
	if err := json.Unmarshal(page.Inventories[0], &row); err != nil {
		f.Fatal(err)
	}
	return row
}

// tell asks for an action on a plugin, and returns its error.
func (f *office) tell(name, message string, more params) error {
	f.Helper()
	p := params{"uuid": f.plugin(name).UUID}
	for k, v := range more {
		p[k] = v
	}
	_, err := f.s.kernel.Actions.DoSystem(f.Context(), message, p)
	return err
}

// The life of plugins by the API: what is shipped runs; what asks for more than it is
// granted stays off, and the server serves; a grant starts it; what is disabled is
// seen, does not answer, and stays so over a restart of the server.
func TestPluginsByAPI(t *testing.T) {
	plugins := t.TempDir()
	buildPlugins(t, plugins, []string{"simulator", "localstorage"})
	ship(t, plugins, "simulator")
	f := &office{T: t, o: Options{DataDir: t.TempDir(), PluginDir: plugins, Listen: "127.0.0.1:0", AdminPassword: "first"}}
	if err := errors.Join(f.o.complete(), dataFolder(f.o.DataDir)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.end)
	f.serve()
	if p := f.plugin("simulator"); p.State != life.Enabled || p.Status != life.Running || p.ProcessID == 0 || p.Memory < 1<<20 ||
		!strings.Contains(p.Provides, "hypervisor type ") || len(p.SHA256) != 64 {
		t.Errorf("what is shipped: %+v", p)
	}
	p := f.plugin("localstorage")
	if p.State != life.Enabled || p.Status != life.NotGranted || p.Missing != "host-call" || p.Permissions != "host-call" || !strings.Contains(p.LastError, "kumo plugin grant localstorage --permissions host-call") {
		t.Errorf("what asks for too much: %+v", p)
	}
	add := params{"name": "s", "url": "/tmp/s", "zoneUuid": f.zone()}
	if err := f.create("APIAddLocalPrimaryStorageMsg", add); !errors.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "not granted: host-call") {
		t.Errorf("a storage of it: %v", err)
	}
	if err := f.tell("localstorage", "APIGrantPluginMsg", params{"permissions": []string{"root"}}); !errors.Is(err, errs.Invalid) {
		t.Errorf("a permission that there is not: %v", err)
	}
	if err := f.tell("localstorage", "APIGrantPluginMsg", params{"permissions": []string{"host-call", "setting"}}); err != nil {
		t.Fatal(err)
	}
	if p := f.plugin("localstorage"); p.Status != life.Running || p.Missing != "" || strings.Join(p.Grants, " ") != "host-call setting" {
		t.Errorf("after the grant: %+v", p)
	}
	if err := f.create("APIAddLocalPrimaryStorageMsg", add); err != nil {
		t.Errorf("a storage of it after the grant: %v", err)
	}
	before := f.plugin("localstorage").ProcessID
	if err := f.tell("localstorage", "APIRestartPluginMsg", nil); err != nil || f.plugin("localstorage").ProcessID == before {
		t.Errorf("restart: %v, process %d was %d", err, f.plugin("localstorage").ProcessID, before)
	}
	if err := f.tell("localstorage", "APIUpgradePluginMsg", nil); err != nil {
		t.Errorf("upgrade: %v", err)
	}
	if err := f.tell("localstorage", "APIChangePluginStateMsg", params{"stateEvent": "disable"}); err != nil {
		t.Fatal(err)
	}
	f.disabled(add)
	f.end()
	f.serve()
	f.disabled(add)
	if err := f.tell("localstorage", "APIChangePluginStateMsg", params{"stateEvent": "enable"}); err != nil {
		t.Fatal(err)
	}
	add["url"] = "/tmp/s2"
	if err := f.create("APIAddLocalPrimaryStorageMsg", add); err != nil {
		t.Errorf("a storage of it when it is enabled again: %v", err)
	}
	if err := f.tell("localstorage", "APIRevokePluginMsg", params{"permissions": []string{"host-call"}}); err != nil || f.plugin("localstorage").Status != life.NotGranted {
		t.Errorf("revoke: %v, %+v", err, f.plugin("localstorage"))
	}
}

// disabled checks that localstorage is off, and that what it provides is known.
func (f *office) disabled(add params) {
	f.Helper()
	if p := f.plugin("localstorage"); p.State != life.Disabled || p.Status != life.Stopped || p.ProcessID != 0 || !strings.Contains(p.Provides, "primary storage type ") {
		f.Errorf("what is disabled: %+v", p)
	}
	if err := f.create("APIAddLocalPrimaryStorageMsg", add); !errors.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "it is not enabled") {
		f.Errorf("a storage of it: %v", err)
	}
}

func (f *office) zone() string {
	f.Helper()
	ref, err := f.s.kernel.Actions.DoSystem(f.Context(), "APICreateZoneMsg", params{"name": "z"})
	if err != nil {
		f.Fatal(err)
	}
	return ref.(action.Ref).UUID
}

func (f *office) create(message string, p params) error {
	_, err := f.s.kernel.Actions.DoSystem(f.Context(), message, p)
	return err
}

// Checksums count when they are those of the file, and when nobody else can write them.
func TestShipped(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, life.Sums)
	s := life.New(life.Options{Dir: dir, Grants: map[string][]string{"b": {"setting"}}, Log: hclog.NewNullLogger()})
	granted := func(name string, sum byte) string {
		p, err := s.Granted(context.Background(), name, []byte{sum}, []string{"host-call"})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(p, " ")
	}
	write := func(mode os.FileMode) {
		if err := errors.Join(os.WriteFile(path, []byte("0A  kumo-plugin-a\n0b *kumo-plugin-b\n"), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when, name string, sum byte, want string) {
		t.Helper()
		if got := granted(name, sum); got != want {
			t.Errorf("%s, %s with sum %d is granted %q, want %q", when, name, sum, got, want)
		}
	}
	check("no file", "a", 10, "")
	write(0o644)
	check("a file", "a", 10, "host-call")
	check("a file", "a", 11, "")
	check("a file", "b", 11, "host-call")
	check("a file", "b", 10, "setting")
	write(0o664)
	check("a file that a group can write", "a", 10, "")
}

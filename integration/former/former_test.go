// Package former proves that the core takes plugins of the contract before today's:
// binaries built from the SDK as it was, of which testdata/former.tar.gz has the sources
// (make former). It must not import core or web.
package former

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

// built builds the plugins as they were.
func built(t *testing.T, plugins ...string) string {
	t.Helper()
	source, dir := t.TempDir(), server.Folder(t)
	archive, err := filepath.Abs("testdata/former.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	run := func(in, name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir, cmd.Env = in, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	run(source, "tar", "-xzf", archive)
	for _, p := range plugins {
		run(source, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", filepath.Join(dir, "kumo-plugin-"+p), "./plugins/"+p)
	}
	if err := server.Sums(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A hypervisor, storages, networks and their services, and an observer with resource
// types of its own, all of the contract before: guests live, and rows come and go.
func TestFormerPlugins(t *testing.T) {
	plugins := []string{"simulator", "securitygroup"}
	s := server.Start(t, server.Options{Plugins: plugins, PluginDir: built(t, plugins...)})
	cloud, err := wire.NewCloud(t.Context(), s.Client, wire.Spec{Hosts: 2})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Client.AttachServices(t.Context(), cloud.L3Network, "SecurityGroup", "SecurityGroup"))
	vm, err := s.Client.Create(t.Context(), wire.VMs, cloud.VM("web"))
	must(err)
	state := func(want string) {
		t.Helper()
		if n, err := s.Client.Count(t.Context(), wire.VMs, "uuid="+vm, "state="+want); err != nil || n != 1 {
			t.Errorf("the guest is not %s: %v", want, err)
		}
	}
	act := func(action string, params wire.Params) {
		t.Helper()
		_, err := s.Client.Act(t.Context(), wire.VMs+"/"+vm, action, params)
		must(err)
	}
	state("Running")
	act("stopVmInstance", wire.Params{"type": "cold"})
	state("Stopped")
	act("startVmInstance", wire.Params{})
	act("rebootVmInstance", wire.Params{})
	state("Running")
	group, err := s.Client.Create(t.Context(), "/security-groups", wire.Params{"name": "g"})
	must(err)
	_, err = s.Client.Call(t.Context(), http.MethodPost, "/security-groups/"+group+"/rules",
		map[string]any{"params": wire.Params{"rules": []wire.Params{{"type": "Ingress", "protocol": "TCP", "startPort": 80, "endPort": 80, "allowedCidr": "0.0.0.0/0"}}}})
	must(err)
	if n, err := s.Client.Count(t.Context(), "/security-groups/rules", "securityGroupUuid="+group, "startPort=80"); err != nil || n != 1 {
		t.Errorf("its rule: %d, %v", n, err)
	}
	must(s.Client.Delete(t.Context(), "/security-groups/"+group))
	must(s.Client.Delete(t.Context(), wire.VMs+"/"+vm))
	must(s.Client.Delete(t.Context(), wire.Hosts+"/"+cloud.Hosts[0]))
	must(s.Client.Delete(t.Context(), wire.L3Networks+"/"+cloud.L3Network+"?deleteMode=Enforcing"))
}

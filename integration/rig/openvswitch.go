package rig

import (
	"os"
	"os/exec"
	"testing"
)

// OpenVSwitch lists the packages of a host whose kernel has no VLANs.
var OpenVSwitch = []string{"openvswitch-switch", "tcpdump", "ethtool"}

// StartOpenVSwitch starts Open vSwitch in the sandbox, without kernel modules; it ends
// with the test. The package must have been asked for (OpenVSwitch).
func StartOpenVSwitch(t *testing.T) {
	t.Helper()
	if !Sandboxed() {
		t.Fatal("Open vSwitch needs a sandbox: call rig.Main from TestMain")
	}
	const folder = "/run/openvswitch"
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, tail(out))
		}
	}
	stop := func(daemon string) {
		if out, err := exec.Command("ovs-appctl", "-t", daemon, "exit").CombinedOutput(); err != nil {
			t.Errorf("stop %s: %v: %s", daemon, err, tail(out))
		}
	}
	run("ovsdb-tool", "create", folder+"/conf.db", "/usr/share/openvswitch/vswitch.ovsschema")
	run("ovsdb-server", folder+"/conf.db", "--remote=punix:"+folder+"/db.sock", "--pidfile", "--detach", "--no-chdir", "--log-file="+folder+"/db.log")
	t.Cleanup(func() { stop("ovsdb-server") })
	run("ovs-vsctl", "--no-wait", "init")
	run("ovs-vswitchd", "--pidfile", "--detach", "--no-chdir", "--log-file="+folder+"/vswitchd.log")
	t.Cleanup(func() { stop("ovs-vswitchd") })
}

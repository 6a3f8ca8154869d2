package guests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// connectTimeout is how long the host may take to be connected anew.
const connectTimeout = 30 * time.Second

// Alone starts a server without a cloud in it, on a sandbox that is to be its
// only host, with more plugins than every cloud has. End ends the test.
func Alone(t testing.TB, plugins ...string) *Cloud {
	t.Helper()
	rig.Libvirtd(t)
	plugUplink(t)
	before := look(t, "/", exec.Command)
	c := Serve(t, Options{Plugins: plugins})
	c.before = before
	return c
}

// Here brings up a cloud whose only host is the sandbox itself, with more plugins
// than every cloud has. End ends the test.
func Here(t testing.TB, plugins ...string) *Cloud {
	t.Helper()
	c := Alone(t, plugins...)
	c.Place()
	var err error
	if c.Host, err = c.AddHost("here", "127.0.0.1", "not-used"); err != nil {
		t.Fatal(err)
	}
	c.Fill(Options{})
	return c
}

// End stops the server, removes the files that Serve made beside its folder and
// those of the test that are given, and looks for what is left on the sandbox
// or gone from it.
func (c *Cloud) End(files ...string) {
	c.t.Helper()
	c.Stop()
	for _, file := range append(files, filepath.Join(Base, "config.yaml"), c.guestImage) {
		if err := os.Remove(file); err != nil {
			c.t.Error(err)
		}
	}
	Same(c.t, c.before, func() Traces { return look(c.t, "/", exec.Command) })
}

// plugUplink makes a pair of devices, of which one stands for a network card
// with an address of the machine's, and removes them with the test.
func plugUplink(t testing.TB) {
	t.Helper()
	IP(t, "link", "add", Uplink, "type", "veth", "peer", "name", Uplink+"p")
	IP(t, "link", "set", Uplink+"p", "up")
	IP(t, "addr", "add", Gateway+"/24", "dev", Uplink)
	IP(t, "link", "set", Uplink, "up")
	IP(t, "route", "add", Route, "via", Router)
	t.Cleanup(func() { IP(t, "link", "del", Uplink) })
}

// IP runs ip(8) and fails the test on an error.
func IP(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// Capacity is what the host and the storage have left, in cores and bytes.
type Capacity struct{ CPU, Memory, Bytes int64 }

// Free reads it.
func (c *Cloud) Free() Capacity {
	c.t.Helper()
	var h struct{ AvailableCPUCapacity, AvailableMemoryCapacity int64 }
	var p struct{ AvailableCapacity int64 }
	c.Get(wire.Hosts, c.Host, &h)
	c.Get(wire.PrimaryStorages, c.Primary, &p)
	return Capacity{h.AvailableCPUCapacity, h.AvailableMemoryCapacity, p.AvailableCapacity}
}

// WaitConnected waits until the host is connected: after a start of the server
// it is connected anew.
func (c *Cloud) WaitConnected() {
	c.t.Helper()
	var h struct{ Status string }
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if c.Get(wire.Hosts, c.Host, &h); h.Status == "Connected" {
			return
		}
		if time.Since(begin) > connectTimeout {
			c.t.Fatalf("the host is %s after %s", h.Status, connectTimeout)
		}
	}
}

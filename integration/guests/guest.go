package guests

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/integration/wire"
)

const (
	// bootTimeout is for an emulated guest on a busy machine.
	bootTimeout = 120 * time.Second
	// askTimeout is for a command that reads a small disk there.
	askTimeout = 60 * time.Second
)

// asked is the end of what Ask's command prints; its echo has $? in it.
var asked = regexp.MustCompile(`asked=(\d+)\n`)

// Guest is one VM. Its methods fail the test.
type Guest struct {
	UUID, Name, IP, MAC, RootVolume string

	cloud *Cloud
	root  string // of the machine that it runs on
	run   runner
}

// inventory is what tests read of a VM.
type inventory struct {
	UUID, Name, State, HostUUID, RootVolumeUUID string
	VMNics                                      []struct{ IP, MAC string }
}

// Spec are the parameters that create a guest from the cloud's parts.
func (c *Cloud) Spec(name string) wire.Params {
	return wire.Params{"name": name, "instanceOfferingUuid": c.Offering, "imageUuid": c.Image, "l3NetworkUuids": []string{c.L3}}
}

// Tags are a guest's system tags for its host name and its user data.
func Tags(hostname, userData string) []string {
	tags := []string{"hostname::" + hostname}
	if userData != "" {
		tags = append(tags, "userdata::"+base64.StdEncoding.EncodeToString([]byte(userData)))
	}
	return tags
}

// Create creates a guest and waits for the answer, not for its boot. machine is
// where it is to run, nil for the sandbox.
func (c *Cloud) Create(machine *rig.Machine, params wire.Params, tags ...string) *Guest {
	c.t.Helper()
	answer, err := c.Client.Call(c.t.Context(), http.MethodPost, wire.VMs, map[string]any{"params": params, "systemTags": tags})
	if err != nil {
		c.t.Fatal(err)
	}
	var got struct{ Inventory inventory }
	if err := json.Unmarshal(answer, &got); err != nil {
		c.t.Fatal(err)
	}
	vm := got.Inventory
	if len(vm.VMNics) != 1 {
		c.t.Fatalf("VM %s has %d NICs", vm.Name, len(vm.VMNics))
	}
	g := &Guest{UUID: vm.UUID, Name: vm.Name, IP: vm.VMNics[0].IP, MAC: vm.VMNics[0].MAC, RootVolume: vm.RootVolumeUUID,
		cloud: c, root: "/", run: exec.Command}
	if machine != nil {
		g.root, g.run = machine.Folder, machine.Command
	}
	return g
}

// MovedTo has what is asked of the guest be asked on the machine where it is now.
func (g *Guest) MovedTo(machine *rig.Machine) { g.root, g.run = machine.Folder, machine.Command }

// Path is the guest's path in the API.
func (g *Guest) Path() string { return wire.VMs + "/" + g.UUID }

// State is what the API says, "" for a guest that is gone.
func (g *Guest) State() string {
	g.cloud.t.Helper()
	var vm inventory
	g.cloud.Get(wire.VMs, g.UUID, &vm)
	return vm.State
}

// Disk is the file of its root volume, seen from here.
func (g *Guest) Disk() string {
	return filepath.Join(g.root, PrimaryFolder, "volumes", g.RootVolume+".qcow2")
}

// Console is all that the guest wrote to its serial console since it was made.
func (g *Guest) Console() string {
	text, err := os.ReadFile(filepath.Join(g.root, "/var/log/libvirt/qemu", g.UUID+"-console.log"))
	if err != nil && !os.IsNotExist(err) {
		g.cloud.t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r", "")
}

// Boots is how often the guest has come up, by its console.
func (g *Guest) Boots() int { return strings.Count(g.Console(), "GUEST-READY") }

// WaitBoot waits until the guest has come up n times and returns what it told
// the last time.
func (g *Guest) WaitBoot(n int) string {
	g.cloud.t.Helper()
	g.wait(bootTimeout, fmt.Sprintf("up for the %d. time", n), func() bool { return g.Boots() >= n })
	parts := strings.Split(g.Console(), "GUEST-READY")
	return parts[n-1]
}

// wait has no event to wait for: a console is a file.
func (g *Guest) wait(limit time.Duration, what string, done func() bool) {
	g.cloud.t.Helper()
	for begin := time.Now(); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Since(begin) > limit {
			console := g.Console()
			g.cloud.t.Fatalf("guest %s is not %s after %s; its console ends with:\n%s", g.Name, what, limit, console[max(0, len(console)-1500):])
		}
	}
}

// WaitState waits until the API tells a state, and returns how long it took.
func (g *Guest) WaitState(state string, limit time.Duration) time.Duration {
	g.cloud.t.Helper()
	begin := time.Now()
	g.wait(limit, state, func() bool { return g.State() == state })
	return time.Since(begin)
}

// Wants fails the test for each pattern that is not in the text.
func (g *Guest) Wants(text string, patterns ...string) {
	g.cloud.t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile("(?m)" + p).MatchString(text) {
			g.cloud.t.Errorf("guest %s does not tell %q; it told:\n%s", g.Name, p, text)
		}
	}
}

// Pings reports whether the guest answers a ping.
func (g *Guest) Pings() bool {
	return exec.Command("ping", "-n", "-c", "1", "-W", "2", g.IP).Run() == nil
}

// Page fetches the guest's web page.
func (g *Guest) Page() string {
	g.cloud.t.Helper()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + g.IP + "/")
	if err != nil {
		g.cloud.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		g.cloud.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// Type types a line at the guest's console, where a shell listens, and waits for
// its echo: QEMU looks only now and then whether somebody has opened the console,
// and forgets what was typed when it is closed before.
func (g *Guest) Type(line string) {
	g.cloud.t.Helper()
	out, err := g.run("virsh", "-q", "-c", "qemu:///system", "ttyconsole", g.UUID).CombinedOutput()
	if err != nil {
		g.cloud.t.Fatalf("console of %s: %v: %s", g.Name, err, out)
	}
	tty, err := os.OpenFile(strings.TrimSpace(string(out)), os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		g.cloud.t.Fatal(err)
	}
	defer func() { _ = tty.Close() }() // all was echoed
	for _, text := range []string{"# typed by a test", line} {
		seen := strings.Count(g.Console(), text)
		if _, err := tty.WriteString("\n" + text + "\n"); err != nil {
			g.cloud.t.Fatal(err)
		}
		g.wait(10*time.Second, "echoing "+text, func() bool { return strings.Count(g.Console(), text) > seen })
	}
}

// Ask types a command of at most some 50 characters at the guest's console and
// returns what it prints. It fails the test when the command fails.
func (g *Guest) Ask(command string) string {
	g.cloud.t.Helper()
	line := command + "; echo asked=$?"
	begin := len(g.Console())
	g.Type(line)
	var out string
	var end []int
	g.wait(askTimeout, "answering "+command, func() bool {
		text := g.Console()[begin:]
		out = text[strings.LastIndex(text, line)+len(line):]
		end = asked.FindStringSubmatchIndex(out)
		return end != nil
	})
	if code := out[end[2]:end[3]]; code != "0" {
		g.cloud.t.Errorf("guest %s: %s ends with %s: %s", g.Name, command, code, out[:end[0]])
	}
	return strings.TrimSpace(out[:end[0]])
}

// Domain reports whether libvirt knows the guest.
func (g *Guest) Domain() bool {
	out, err := g.run("virsh", "-q", "-c", "qemu:///system", "list", "--all", "--uuid").Output()
	if err != nil {
		g.cloud.t.Fatal(err)
	}
	return strings.Contains(strings.ReplaceAll(string(out), "-", ""), g.UUID)
}

// Emulator is the PID of the guest's QEMU, 0 when it does not run.
func (g *Guest) Emulator() int {
	g.cloud.t.Helper()
	return Emulator(g.cloud.t, g.UUID)
}

// Emulator is the PID of the QEMU of a guest, 0 when it does not run.
func Emulator(t testing.TB, uuid string) int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), "\x00guest="+uuid+",") {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(file, "/proc/%d/cmdline", &pid); err == nil {
			return pid
		}
	}
	return 0
}

// Lookup asks the network's DNS service, which has an address among the
// guests', for a name.
func (c *Cloud) Lookup(name string) []string {
	c.t.Helper()
	var l3 struct{ UUID string }
	if !c.Get(wire.L3Networks, c.L3, &l3) {
		c.t.Fatal("the network is gone")
	}
	page, err := c.Client.Query(c.t.Context(), "/system-tags", "resourceUuid="+c.L3, "tag~=flatNetwork::DhcpServer::%")
	if err != nil || len(page.Inventories) != 1 {
		c.t.Fatalf("%d tags tell the address of the DHCP service: %v", len(page.Inventories), err)
	}
	var tag struct{ Tag string }
	if err := json.Unmarshal(page.Inventories[0], &tag); err != nil {
		c.t.Fatal(err)
	}
	service := strings.Split(tag.Tag, "::")[2]
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", net.JoinHostPort(service, "53"))
	}}
	ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
	defer cancel()
	found, err := resolver.LookupHost(ctx, name)
	if err != nil {
		c.t.Logf("look up %s: %v", name, err)
	}
	return found
}

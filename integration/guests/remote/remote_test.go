// Package remote proves hosts that are reached by SSH: machines beside the
// server's, with file systems, libvirtd and SSH servers of their own.
package remote

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/guests"
	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/integration/wire"
)

func TestMain(m *testing.M) { guests.Main(m) }

const (
	managementIP = "10.77.0.254"
	hostIP       = "10.77.0.2"
	nobodyIP     = "10.77.0.99" // on the network, but nobody has it
	password     = "correct horse 'battery' $(staple)"
	agentAddress = hostIP + ":7171"
)

// machine is another machine with a management network and one for guests, on
// which the test is the gateway.
func machine(t *testing.T) *rig.Machine {
	t.Helper()
	m := rig.NewMachine(t, "far")
	m.Plug("near0", managementIP+"/24", "eth0", hostIP+"/24")
	m.Plug("guests0", guests.Gateway+"/24", guests.Uplink, "172.31.0.2/24")
	m.Libvirtd()
	m.SSH(hostIP, password)
	return m
}

// TestRemoteHost adds a machine by SSH, runs a guest on it, and removes it again.
func TestRemoteHost(t *testing.T) {
	m := machine(t)
	before := guests.LookAt(t, m)
	o := guests.Options{ImageListen: "0.0.0.0:7172", ImageHostname: managementIP}
	c := guests.Serve(t, o)
	c.Place()
	refusals(t, c, m, before)

	begin := time.Now()
	var err error
	if c.Host, err = c.AddHost("far", hostIP, password); err != nil {
		t.Fatal(err)
	}
	t.Logf("host added in %s", time.Since(begin).Round(time.Millisecond))
	c.Fill(o)
	mutualTLS(t, m)

	g := c.Create(m, c.Spec("remote"), guests.Tags("far-1", "#!/bin/sh\necho \"guest: user data ran on $(hostname)\"\n")...)
	console := g.WaitBoot(1)
	t.Logf("guest up %s after the host was asked for", time.Since(begin).Round(time.Millisecond))
	g.Wants(console, "^guest: address eth0 "+g.IP+"/24 mac "+g.MAC, "^guest: metadata instance-id "+g.UUID+" hostname far-1$", "^guest: user data ran on far-1$")
	if !g.Pings() {
		t.Error("it does not answer a ping")
	}
	if got := g.Page(); got != "hello from far-1" {
		t.Errorf("its page says %q", got)
	}
	noSecrets(t, c, m)
	coreRestart(t, c, g)
	hostKeyChanged(t, c, m, g)

	// The host takes along what is on its disks; a stopped guest is no exception.
	still := c.Create(m, c.Spec("still"))
	c.Do(still.Path(), "stopVmInstance", wire.Params{"type": "cold"})
	c.Remove(wire.Hosts + "/" + c.Host)
	if g.Emulator() != 0 {
		t.Error("the guest runs on")
	}
	for _, gone := range []*guests.Guest{g, still} {
		if state := gone.State(); state != "" {
			t.Errorf("without its host guest %s is %s", gone.Name, state)
		}
	}
	guests.Same(t, before, func() guests.Traces { return guests.LookAt(t, m) })
	for _, path := range []string{wire.Clusters + "/" + c.Cluster, wire.Zones + "/" + c.Zone} {
		c.Remove(path)
	}
	for path, uuid := range map[string]string{wire.VMs: g.UUID, wire.Volumes: g.RootVolume, wire.PrimaryStorages: c.Primary, wire.L3Networks: c.L3} {
		if n, err := c.Client.Count(t.Context(), path, "uuid="+uuid); err != nil || n != 0 {
			t.Errorf("%s/%s is left: %d, %v", path, uuid, n, err)
		}
	}
}

// refusals are additions of hosts that cannot succeed. They say why, and leave
// neither rows nor anything on the machine.
func refusals(t *testing.T, c *guests.Cloud, m *rig.Machine, before guests.Traces) {
	t.Helper()
	db := c.Database()
	counts := c.Counts(db)
	for _, tc := range []struct{ name, address, password, want string }{
		{"wrong password", hostIP, "wrong", `user "root" cannot sign in by SSH at 10\.77\.0\.2:22: wrong user name or password`},
		{"unreachable", nobodyIP, password, `SSH at 10\.77\.0\.99:22 cannot be reached`},
		{"no such address", "300.1.1.1", password, `300\.1\.1\.1`},
	} {
		begin := time.Now()
		_, err := c.AddHost(tc.name, tc.address, tc.password)
		if err == nil || !regexp.MustCompile(tc.want).MatchString(err.Error()) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if err != nil && strings.Contains(err.Error(), tc.password) && tc.password == password {
			t.Errorf("%s: the error tells the password: %v", tc.name, err)
		}
		t.Logf("%s after %s: %v", tc.name, time.Since(begin).Round(time.Millisecond), err)
	}
	c.Settle(db)
	for table, n := range c.Counts(db) {
		if n != counts[table] {
			t.Errorf("table %s had %d rows and has %d", table, counts[table], n)
		}
	}
	guests.Same(t, before, func() guests.Traces { return guests.LookAt(t, m) })
	for _, file := range pluginFiles(t, c) {
		if strings.Contains(file, "/hosts/") || strings.Contains(file, "/host-") {
			t.Errorf("the plugin keeps %s of a host that was not added", file)
		}
	}
}

func pluginFiles(t *testing.T, c *guests.Cloud) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(filepath.Join(c.Dir, "plugins", "kvm"), func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files = append(files, path)
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// mutualTLS looks at what the agent shows to callers without its plugin's
// certificate.
func mutualTLS(t *testing.T, m *rig.Machine) {
	t.Helper()
	if text := strings.TrimSpace(m.Run("stat", "-c", "%a", guests.StateFolder+"/tls/agent.key")); text != "600" {
		t.Errorf("the agent's key has mode %s", text)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	foreign := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	for name, certificates := range map[string][]tls.Certificate{"none": nil, "of another CA": {foreign}} {
		dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: &tls.Config{
			MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, Certificates: certificates, NextProtos: []string{"h2"}}}
		conn, err := dialer.DialContext(t.Context(), "tcp", agentAddress)
		if err != nil {
			continue // refused in the handshake
		}
		// The client of TLS 1.3 learns with its first reading that it was
		// refused (RFC 8446, section 4.4.2.4).
		if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadAll(conn)
		var alert *net.OpError
		if !errors.As(err, &alert) || !strings.Contains(err.Error(), "tls: ") {
			t.Errorf("a client with certificate %s is not refused: %v", name, err)
		}
		_ = conn.Close() // it was refused
	}
	conn, err := net.DialTimeout("tcp", agentAddress, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // nothing was sent in it that matters
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(conn); err == nil && strings.Contains(string(text), "\x00\x00\x00\x04") {
		t.Errorf("the agent speaks without TLS: %q", text)
	}
}

// noSecrets looks where a password must not be.
func noSecrets(t *testing.T, c *guests.Cloud, m *rig.Machine) {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(c.Dir, "kumo.log"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := c.Client.Query(t.Context(), wire.Hosts, "uuid="+c.Host)
	if err != nil || len(page.Inventories) != 1 {
		t.Fatalf("%d hosts, %v", len(page.Inventories), err)
	}
	out, err := exec.Command("ps", "-eo", "args").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"the server's log": string(log), "the host's inventory": string(page.Inventories[0]),
		"a process's arguments": string(out), "the agent's log": m.Run("cat", guests.StateFolder+"/hostd.log")} {
		if strings.Contains(text, "correct horse") {
			t.Errorf("%s has the password", name)
		}
	}
}

func agentPID(m *rig.Machine) string {
	return strings.TrimSpace(m.Run("cat", guests.StateFolder+"/hostd.pid"))
}

// coreRestart kills the server: guest and agent go on, and are found again.
func coreRestart(t *testing.T, c *guests.Cloud, g *guests.Guest) {
	t.Helper()
	emulator := g.Emulator()
	c.Kill()
	if g.Emulator() != emulator || !g.Pings() {
		t.Error("the guest did not go on")
	}
	c.Again()
	waitStatus(t, c, "Connected")
	g.WaitState("Running", 10*time.Second)
	if g.Emulator() != emulator {
		t.Error("the guest was started anew")
	}
}

func waitStatus(t *testing.T, c *guests.Cloud, want string) {
	t.Helper()
	var h struct{ Status string }
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if c.Get(wire.Hosts, c.Host, &h); h.Status == want {
			return
		}
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("the host is %s, not %s, after 30 s", h.Status, want)
		}
	}
}

// hostKeyChanged is what a machine in between looks like, or a host that was
// installed anew.
func hostKeyChanged(t *testing.T, c *guests.Cloud, m *rig.Machine, g *guests.Guest) {
	t.Helper()
	agent := agentPID(m)
	keys, err := filepath.Glob(filepath.Join(c.Dir, "plugins", "kvm", "hosts", c.Host+".key"))
	if err != nil || len(keys) != 1 {
		t.Fatalf("remembered keys %v, %v", keys, err)
	}
	remembered, err := os.ReadFile(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	m.SSH(hostIP, password)
	c.Kill() // the connection that is there would go on being used
	c.Again()
	_, err = c.Client.Act(t.Context(), wire.Hosts+"/"+c.Host, "reconnectHost", nil)
	if err == nil || !strings.Contains(err.Error(), "it is another machine, or somebody is in between") || !strings.Contains(err.Error(), keys[0]) {
		t.Errorf("another host key: %v", err)
	}
	waitStatus(t, c, "Disconnected")
	if !g.Pings() || agentPID(m) != agent {
		t.Error("guest or agent did not go on")
	}
	if now, err := os.ReadFile(keys[0]); err != nil || string(now) != string(remembered) {
		t.Errorf("the remembered key was changed: %v", err)
	}
	// The operator does what the error says.
	if err := os.Remove(keys[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Client.Act(t.Context(), wire.Hosts+"/"+c.Host, "reconnectHost", nil); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, c, "Connected")
	g.WaitState("Running", 10*time.Second)
}

package hostlink

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func TestMain(m *testing.M) {
	rig.Main(m, rig.WithPackages(rig.Hypervisor...), rig.WithPackages("openssh-server", "openssl"))
}

const (
	uuid     = "11111111111111111111111111111111"
	password = "correct horse"
	remoteIP = "10.77.0.2"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, input string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// remoteHost is a network namespace with an SSH server that takes root's
// password. It shares the file system, so its libvirt is the sandbox's.
func remoteHost(t *testing.T) {
	t.Helper()
	rig.Libvirtd(t)
	run(t, "", "ip", "netns", "add", "far")
	run(t, "", "ip", "link", "add", "near0", "type", "veth", "peer", "name", "eth0", "netns", "far")
	run(t, "", "ip", "addr", "add", "10.77.0.1/24", "dev", "near0")
	run(t, "", "ip", "link", "set", "near0", "up")
	run(t, "", "ip", "-n", "far", "addr", "add", remoteIP+"/24", "dev", "eth0")
	run(t, "", "ip", "-n", "far", "link", "set", "eth0", "up")
	run(t, "", "ip", "-n", "far", "link", "set", "lo", "up")

	dir := t.TempDir()
	shadow, err := os.ReadFile("/etc/shadow")
	must(t, err)
	lines := strings.Split(string(shadow), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "root:") {
			lines[i] = "root:" + run(t, password, "openssl", "passwd", "-6", "-stdin") + ":19000:0:99999:7:::"
		}
	}
	private := filepath.Join(dir, "shadow")
	must(t, os.WriteFile(private, []byte(strings.Join(lines, "\n")), 0o640))
	must(t, unix.Mount(private, "/etc/shadow", "", unix.MS_BIND, ""))
	run(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, "key"))
	startSSH(t, filepath.Join(dir, "key"))
	t.Cleanup(func() {
		must(t, unix.Unmount("/etc/shadow", unix.MNT_DETACH))
		run(t, "", "ip", "link", "del", "near0")
		run(t, "", "ip", "netns", "del", "far")
	})
}

// startSSH runs sshd in the far namespace until the test ends or stop.
func startSSH(t *testing.T, key string) (stop func()) {
	t.Helper()
	config := key + ".config"
	must(t, os.WriteFile(config, []byte("Port 22\nHostKey "+key+"\nPidFile none\nPermitRootLogin yes\nUsePAM no\nPasswordAuthentication yes\nSubsystem sftp internal-sftp\n"), 0o600))
	cmd := exec.Command("nsenter", "--net=/run/netns/far", "/usr/sbin/sshd", "-D", "-e", "-f", config)
	must(t, cmd.Start())
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			must(t, cmd.Process.Kill())
			_ = cmd.Wait() // killed
		}
	}
	t.Cleanup(stop)
	deadline := time.Now().Add(10 * time.Second)
	for exec.Command("bash", "-c", "exec 3<>/dev/tcp/"+remoteIP+"/22").Run() != nil {
		if time.Now().After(deadline) {
			t.Fatal("sshd does not start")
		}
		time.Sleep(50 * time.Millisecond)
	}
	return stop
}

func testConfig(t *testing.T) Config {
	t.Helper()
	program := filepath.Join(t.TempDir(), "kumo-hostd")
	rig.Build(t, "./plugins/kvm/cmd/kumo-hostd", program)
	state, err := os.MkdirTemp("/run", "k")
	must(t, err)
	must(t, os.Chmod(state, 0o755))
	libvirt, err := ParseLibvirt("")
	must(t, err)
	cfg := Config{DataDir: t.TempDir(), Hostd: program, StateDir: state, Port: 7171, Libvirt: libvirt, Log: hclog.NewNullLogger(), Sign: plugintest.Authority(t)}
	must(t, cfg.Check())
	return cfg
}

func host(ip, word string) *pluginv1.Host {
	return &pluginv1.Host{Uuid: uuid, ManagementIp: ip, Fields: map[string]string{"username": "root", "password": word, "sshPort": "22"}}
}

func TestRemoteHost(t *testing.T) {
	remoteHost(t)
	cfg := testConfig(t)
	_, err := Connect(t.Context(), cfg, host(remoteIP, "wrong"))
	if !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), remoteIP) || !strings.Contains(err.Error(), "root") || strings.Contains(err.Error(), "wrong\"") {
		t.Fatalf("a wrong password: %v", err)
	}
	begin := time.Now()
	l, err := Connect(t.Context(), cfg, host(remoteIP, password))
	must(t, err)
	t.Logf("connected in %s", time.Since(begin))
	if l.Local || l.Address.String() != remoteIP || l.Info.GetCpuNum() < 1 {
		t.Errorf("link %v %v %v", l.Local, l.Address, l.Info)
	}
	// The agent works in the remote machine's network, not in ours.
	agent := hostv1.NewHostAgentServiceClient(l.Agent())
	_, err = agent.Apply(t.Context(), &hostv1.ApplyRequest{Owner: "flat", Upsert: []*hostv1.Fragment{
		{Key: "l2", Kind: &hostv1.Fragment_Bridge{Bridge: &hostv1.Bridge{Name: "br_far", Alias: "test"}}}}})
	must(t, err)
	run(t, "", "ip", "-n", "far", "link", "show", "br_far")
	pid := read(t, cfg.StateDir+"/hostd.pid")
	l.Close()

	begin = time.Now()
	l, err = Connect(t.Context(), cfg, host(remoteIP, password))
	must(t, err)
	t.Logf("connected again in %s", time.Since(begin))
	if now := read(t, cfg.StateDir+"/hostd.pid"); now != pid {
		t.Error("the agent was started again")
	}
	l.Close()

	// An authority that is another one now, and one of this plugin's own as there were.
	cfg.Sign = plugintest.Authority(t)
	must(t, os.WriteFile(filepath.Join(cfg.DataDir, "tls", "ca.key"), []byte("a former one"), 0o600))
	l, err = Connect(t.Context(), cfg, host(remoteIP, password))
	must(t, err)
	if now := read(t, cfg.StateDir+"/hostd.pid"); now == pid {
		t.Error("the agent goes on with a certificate of another authority")
	}
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "tls", "ca.key")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the former authority's key is left: %v", err)
	}
	strangers(t, cfg)
	must(t, Disconnect(t.Context(), cfg, host(remoteIP, password)))
	must(t, Disconnect(t.Context(), cfg, host(remoteIP, password)))
	if err := exec.Command("ip", "-n", "far", "link", "show", "br_far").Run(); err == nil {
		t.Error("the bridge is left")
	}
	l.Close()
}

// strangers checks who may call the agent: only this plugin's certificate.
func strangers(t *testing.T, cfg Config) {
	t.Helper()
	other := cfg
	other.DataDir = t.TempDir()
	ring, err := openKeyring(filepath.Join(other.DataDir, "tls"), plugintest.Authority(t))
	must(t, err)
	config, err := ring.clientTLS(t.Context(), uuid, false)
	must(t, err)
	certificate, key := run(t, "", "cat", filepath.Join(other.DataDir, "tls", "client.pem")), filepath.Join(other.DataDir, "tls", "client.key")
	if certificate == "" || key == "" || config == nil {
		t.Fatal("no certificate")
	}
	command := exec.Command("openssl", "s_client", "-connect", remoteIP+":7171", "-tls1_3", "-ign_eof",
		"-cert", filepath.Join(other.DataDir, "tls", "client.pem"), "-key", key)
	command.Stdin = strings.NewReader("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	out, _ := command.CombinedOutput() // it ends with an alert, which is no success
	if !strings.Contains(string(out), "alert") {
		t.Errorf("a certificate of another CA was accepted: %s", out)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return string(text)
}

func TestHostKeyIsRemembered(t *testing.T) {
	remoteHost(t)
	cfg := testConfig(t)
	h := host(remoteIP, password)
	ip, err := hostAddress(t.Context(), h)
	must(t, err)
	s, err := dialSSH(t.Context(), cfg, h, ip)
	must(t, err)
	s.close()
	known := filepath.Join(cfg.DataDir, "hosts", uuid+".key")
	text := read(t, known)
	// Another key of the same kind, as of another machine.
	other := filepath.Join(t.TempDir(), "other")
	run(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other)
	must(t, os.WriteFile(known, []byte(read(t, other+".pub")), 0o600))
	_, err = dialSSH(t.Context(), cfg, h, ip)
	if !errors.Is(err, errs.Refused) || !strings.Contains(err.Error(), known) {
		t.Fatalf("another key: %v", err)
	}
	must(t, os.WriteFile(known, []byte(text), 0o600))
	s, err = dialSSH(t.Context(), cfg, h, ip)
	must(t, err)
	s.close()
	<-s.lost
}

func TestUnreachableHost(t *testing.T) {
	run(t, "", "ip", "link", "add", "hole0", "type", "veth", "peer", "name", "hole1")
	run(t, "", "ip", "addr", "add", "10.78.0.1/24", "dev", "hole0")
	run(t, "", "ip", "link", "set", "hole0", "up")
	run(t, "", "ip", "link", "set", "hole1", "up")
	t.Cleanup(func() { run(t, "", "ip", "link", "del", "hole0") })
	cfg := testConfig(t)
	begin := time.Now()
	_, err := Connect(t.Context(), cfg, host("10.78.0.2", password))
	if !errors.Is(err, errs.Unavailable) || time.Since(begin) > 20*time.Second {
		t.Errorf("after %s: %v", time.Since(begin), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	must(t, Disconnect(ctx, cfg, host("10.78.0.2", password)))
	for _, ip := range []string{"", "0.0.0.0", "224.0.0.1", "300.1.1.1", "host.invalid"} {
		if _, err := Connect(t.Context(), cfg, host(ip, password)); !errors.Is(err, errs.Invalid) && !errors.Is(err, errs.Unavailable) {
			t.Errorf("address %q: %v", ip, err)
		}
		// It was never anybody's, so there is nothing to take off.
		must(t, Disconnect(t.Context(), cfg, host(ip, password)))
	}
	local, err := hostAddress(t.Context(), host("localhost", password))
	if err != nil || !local.IsLoopback() {
		t.Errorf("a name: %v, %v", local, err)
	}
	for _, folder := range []string{"hosts", "tls"} {
		left, err := filepath.Glob(filepath.Join(cfg.DataDir, folder, "*"+uuid+"*"))
		if err != nil || len(left) > 0 {
			t.Errorf("%v is kept of a host that was forgotten (%v)", left, err)
		}
	}
}

func TestParseLibvirt(t *testing.T) {
	for text, want := range map[string]Libvirt{
		"":                                     {sockets: defaultSockets},
		"qemu:///system":                       {sockets: defaultSockets},
		"qemu+unix:///system?socket=/run/x.sk": {sockets: []string{"/run/x.sk"}},
		"qemu+tcp:///system":                   {tcpPort: "16509"},
		"qemu+tcp://:1234/system":              {tcpPort: "1234"},
	} {
		got, err := ParseLibvirt(text)
		if err != nil || got.tcpPort != want.tcpPort || strings.Join(got.sockets, " ") != strings.Join(want.sockets, " ") {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	for _, bad := range []string{"qemu:///session", "qemu+ssh://host/system", "qemu+tcp://host/system", "qemu+tcp://:0/system", "qemu+tcp://:65536/system", "xen:///system", "x y", "qemu+unix:///system?socket=a;b"} {
		if _, err := ParseLibvirt(bad); !errors.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestCommandLine(t *testing.T) {
	for _, tc := range []struct {
		user string
		args []string
		want string
	}{
		{"root", []string{"a", "b c", "$(d)", "it's"}, `'a' 'b c' '$(d)' 'it'\''s'`},
		{"kumo", []string{"a"}, `'sudo' '-n' '--' 'a'`},
	} {
		if got := commandLine(tc.user, tc.args); got != tc.want {
			t.Errorf("%s, want %s", got, tc.want)
		}
	}
}

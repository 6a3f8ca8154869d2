package rig

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const libvirtdSocket = "/run/libvirt/libvirt-sock"

// libvirtdStart is generous: the first start probes QEMU under load.
const libvirtdStart = 60 * time.Second

// libvirtdStop is how long one may take to end by SIGTERM.
const libvirtdStop = 20 * time.Second

// libvirtdPort is libvirt's own for TCP; in the sandbox nobody else has it.
const libvirtdPort = "16509"

// sandboxed is the sandbox's libvirtd.
var sandboxed struct {
	once   sync.Once
	daemon *libvirtd
	err    error
}

// Libvirtd returns the socket of the sandbox's libvirtd, and starts it for the
// first caller. It ends with the sandbox, and its guests with it. Guests run as
// root with software emulation; there is no default network.
func Libvirtd(t testing.TB) (socket string) {
	t.Helper()
	if !Sandboxed() {
		t.Fatal("libvirtd needs a sandbox: call rig.Main from TestMain")
	}
	sandboxed.once.Do(func() {
		sandboxed.daemon = &libvirtd{command: exec.Command}
		if sandboxed.err = sandboxed.daemon.configure(); sandboxed.err == nil {
			sandboxed.err = sandboxed.daemon.start()
		}
	})
	if sandboxed.err != nil {
		t.Fatalf("libvirtd: %v", sandboxed.err)
	}
	return libvirtdSocket
}

// RestartLibvirtd ends the sandbox's libvirtd and starts another, as an update
// of its package does. Guests go on.
func RestartLibvirtd(t testing.TB) {
	t.Helper()
	StopLibvirtd(t)
	StartLibvirtd(t)
}

// StopLibvirtd ends the sandbox's libvirtd until StartLibvirtd. Guests go on.
func StopLibvirtd(t testing.TB) {
	t.Helper()
	Libvirtd(t)
	if err := sandboxed.daemon.stop(); err != nil {
		t.Fatalf("stop libvirtd: %v", err)
	}
}

// StartLibvirtd starts the one that StopLibvirtd has ended.
func StartLibvirtd(t testing.TB) {
	t.Helper()
	if err := sandboxed.daemon.start(); err != nil {
		t.Fatalf("start libvirtd: %v", err)
	}
}

// LibvirtdTCP has the sandbox's libvirtd listen on TCP at 127.0.0.1 too, without
// authentication, until the test ends, and returns the port, which is libvirt's
// own. It starts the daemon anew: guests go on, connections end.
func LibvirtdTCP(t testing.TB) (port string) {
	t.Helper()
	listen := func(on bool) {
		t.Helper()
		StopLibvirtd(t)
		sandboxed.daemon.tcp = on
		if err := sandboxed.daemon.configure(); err != nil {
			t.Fatalf("configure libvirtd: %v", err)
		}
		StartLibvirtd(t)
	}
	listen(true)
	t.Cleanup(func() { listen(false) })
	return libvirtdPort
}

// libvirtd is one daemon, of the sandbox or of a machine in it.
type libvirtd struct {
	// root is where the daemon's / with its private folders is, seen from here.
	root    string
	command func(name string, args ...string) *exec.Cmd
	// tcp is whether configure and start make it listen on TCP.
	tcp   bool
	cmd   *exec.Cmd
	ended chan error
}

func (d *libvirtd) path(path string) string { return filepath.Join("/", d.root, path) }

func (d *libvirtd) configure() error {
	// Guests move only between hosts that differ in it; machines have it from the hardware
	// that they share.
	id, err := os.ReadFile("/proc/sys/kernel/random/uuid")
	if err != nil {
		return err
	}
	sockets := "host_uuid = \"" + strings.TrimSpace(string(id)) + "\"\nunix_sock_group = \"root\"\nunix_sock_rw_perms = \"0700\"\nauth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\n"
	if d.tcp {
		sockets += "listen_tls = 0\nlisten_tcp = 1\nlisten_addr = \"127.0.0.1\"\ntcp_port = \"" + libvirtdPort + "\"\nauth_tcp = \"none\"\n"
	}
	for file, text := range map[string]string{
		"libvirtd.conf": sockets,
		"qemu.conf": "user = \"root\"\ngroup = \"root\"\nsecurity_driver = \"none\"\nremember_owner = 0\n" +
			"stdio_handler = \"file\"\ncgroup_controllers = []\nnamespaces = []\n",
	} {
		if err := os.WriteFile(d.path("/etc/libvirt/"+file), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, folder := range []string{"/var/lib/libvirt/qemu", "/var/lib/libvirt/images", "/var/log/libvirt/qemu", "/var/cache/libvirt/qemu"} {
		if err := os.MkdirAll(d.path(folder), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// start runs the daemon and waits until it tells its readiness the way it tells
// systemd: by a socket, which lies where both sides see it.
func (d *libvirtd) start() error {
	socket := d.path("/var/lib/libvirt/notify")
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { _ = notify.Close() }() // nobody listens any more
	file, err := os.OpenFile(d.path("/var/log/libvirt/libvirtd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // the daemon has a descriptor of its own
	var args []string
	if d.tcp {
		args = []string{"--listen"} // without it the settings of TCP do nothing
	}
	d.cmd = d.command("libvirtd", args...)
	d.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET=/var/lib/libvirt/notify")
	d.cmd.Stdout, d.cmd.Stderr = file, file
	if err := d.cmd.Start(); err != nil {
		return err
	}
	d.ended = make(chan error, 1)
	go func() {
		d.ended <- d.cmd.Wait()
		close(d.ended) // it may be stopped twice
	}()
	if err := notify.SetReadDeadline(time.Now().Add(libvirtdStart)); err != nil {
		return err
	}
	message := make([]byte, 512)
	for {
		n, err := notify.Read(message)
		if err != nil {
			text, _ := os.ReadFile(file.Name()) // the log only adds to the error
			return fmt.Errorf("not ready after %s: %w: %s", libvirtdStart, err, text)
		}
		if strings.Contains(string(message[:n]), "READY=1") {
			preferGuests()
			return nil
		}
	}
}

// preferGuests gives guests more of the processors than the tests around them
// have: libvirt puts all of them in one group, which otherwise counts as much as
// one session that is busy. It does what the machine lets it do; without such a
// group, guests are as fast as others.
func preferGuests() {
	const file, shares = "/sys/fs/cgroup/cpu/machine/cpu.shares", "20480" // 1024 is usual
	if f, err := os.OpenFile(file, os.O_WRONLY, 0); err == nil {
		_, _ = f.WriteString(shares)
		_ = f.Close()
	}
}

func (d *libvirtd) stop() error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-d.ended: // how it ends does not matter
		return nil
	case <-time.After(libvirtdStop):
		return fmt.Errorf("libvirtd (process %d) does not end within %s", d.cmd.Process.Pid, libvirtdStop)
	}
}

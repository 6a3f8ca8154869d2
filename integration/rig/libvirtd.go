package rig

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const libvirtdSocket = "/run/libvirt/libvirt-sock"

// libvirtdStart is generous: the first start probes QEMU under load.
const libvirtdStart = 60 * time.Second

var startLibvirtd = sync.OnceValue(runLibvirtd)

// Libvirtd returns the socket of the sandbox's libvirtd, and starts it for the
// first caller. It ends with the sandbox, and its guests with it. Guests run as
// root with software emulation; there is no default network.
func Libvirtd(t *testing.T) (socket string) {
	t.Helper()
	if !Sandboxed() {
		t.Fatal("libvirtd needs a sandbox: call rig.Main from TestMain")
	}
	if err := startLibvirtd(); err != nil {
		t.Fatalf("libvirtd: %v", err)
	}
	return libvirtdSocket
}

func runLibvirtd() error {
	for file, text := range map[string]string{
		"libvirtd.conf": "unix_sock_group = \"root\"\nunix_sock_rw_perms = \"0700\"\nauth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\n",
		"qemu.conf": "user = \"root\"\ngroup = \"root\"\nsecurity_driver = \"none\"\nremember_owner = 0\n" +
			"stdio_handler = \"file\"\ncgroup_controllers = []\nnamespaces = []\n",
	} {
		if err := os.WriteFile(filepath.Join("/etc/libvirt", file), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, folder := range []string{"/var/lib/libvirt/qemu", "/var/lib/libvirt/images", "/var/log/libvirt/qemu", "/var/cache/libvirt/qemu"} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	// libvirtd tells its readiness the way it tells systemd.
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/run/libvirtd-notify", Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { _ = notify.Close() }() // nobody listens any more
	cmd := exec.Command("libvirtd")
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET=/run/libvirtd-notify")
	file, err := os.Create("/var/log/libvirt/libvirtd.log")
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		return err
	}
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
			return nil
		}
	}
}

package rig

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// nameKey names a machine.
const nameKey = "KUMO_RIG_MACHINE"

// machineStart bounds how long a machine and its daemons take to be ready.
const machineStart = 20 * time.Second

// Machine is another machine beside the sandbox: it has network, mount, process,
// host name and IPC namespaces of its own. Its programs are the sandbox's, and
// so is what is not listed at NewMachine.
type Machine struct {
	// Folder has its private folders, by their path.
	Folder string

	t        testing.TB
	pid      int
	libvirtd *libvirtd
	sshd     *exec.Cmd
}

// NewMachine makes a machine of that host name; it is off when the test ends.
// /run, /root and libvirt's folders are empty and private, /etc/shadow has a
// root without password. Use Plug to connect it.
func NewMachine(t testing.TB, name string) *Machine {
	t.Helper()
	if !Sandboxed() {
		t.Fatal("another machine needs a sandbox: call rig.Main from TestMain")
	}
	folder, err := os.MkdirTemp(os.Getenv(folderKey), "machine-")
	if err == nil {
		err = os.Chmod(folder, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	m := &Machine{Folder: folder, t: t}
	if err := m.boot(name); err != nil {
		t.Fatalf("machine %s: %v", name, err)
	}
	return m
}

func (m *Machine) boot(name string) error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = read.Close() }() // read to its end below
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), stageKey+"=machine", folderKey+"="+m.Folder, nameKey+"="+name)
	cmd.ExtraFiles = []*os.File{write}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, write.Close())
	}
	m.pid = cmd.Process.Pid
	m.t.Cleanup(func() {
		// The end of its first process is that of all.
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			m.t.Error(err)
		}
		_ = cmd.Wait() // it was killed
	})
	if err := errors.Join(write.Close(), read.SetReadDeadline(time.Now().Add(machineStart))); err != nil {
		return err
	}
	word, err := io.ReadAll(read)
	if string(word) != "ready" {
		return errors.Join(fmt.Errorf("it said %q instead of ready", word), err)
	}
	return nil
}

// asMachine is the first process of a machine. It reaps what others leave, and
// ends by being killed.
func asMachine() error {
	folder := os.Getenv(folderKey)
	if err := mountAll(folder); err != nil {
		return err
	}
	if err := makePrivate(folder, "/root"); err != nil {
		return err
	}
	shadow := filepath.Join(folder, "shadow")
	if err := setRootPassword(shadow, "*"); err != nil {
		return err
	}
	if err := unix.Mount(shadow, "/etc/shadow", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount /etc/shadow: %w", err)
	}
	if err := unix.Sethostname([]byte(os.Getenv(nameKey))); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("bring loopback up: %w: %s", err, out)
	}
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	ready := os.NewFile(3, "ready")
	if _, err := ready.WriteString("ready"); err != nil {
		return err
	}
	if err := ready.Close(); err != nil {
		return err
	}
	for range children {
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if err != syscall.EINTR && pid <= 0 {
				break
			}
		}
	}
	return nil
}

// setRootPassword writes a shadow(5) file like the system's with another hash
// for root. It writes into the file that is there: it may be mounted.
func setRootPassword(file, hash string) error {
	text, err := os.ReadFile("/etc/shadow")
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "root:") {
			lines[i] = "root:" + hash + ":19000:0:99999:7:::"
		}
	}
	return os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o640)
}

// Command prepares a program that runs on the machine.
func (m *Machine) Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(m.pid), "-n", "-m", "-u", "-p", "-i", "--", name}, args...)...)
	cmd.Dir = "/"
	return cmd
}

// Run runs a program on the machine, fails the test when it fails, and returns
// what it says.
func (m *Machine) Run(name string, args ...string) string {
	m.t.Helper()
	out, err := m.Command(name, args...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, tail(out))
	}
	return string(out)
}

// Plug lays a cable between the sandbox's new device near and the machine's far.
// An address, such as 10.77.0.1/24, may be "". The sandbox's end goes with the
// machine's.
func (m *Machine) Plug(near, nearAddress, far, farAddress string) {
	m.t.Helper()
	ip := func(args ...string) {
		m.t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			m.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", strconv.Itoa(m.pid))
	if nearAddress != "" {
		ip("addr", "add", nearAddress, "dev", near)
	}
	ip("link", "set", near, "up")
	if farAddress != "" {
		m.Run("ip", "addr", "add", farAddress, "dev", far)
	}
	m.Run("ip", "link", "set", far, "up")
}

// Libvirtd starts the machine's libvirtd.
func (m *Machine) Libvirtd() {
	m.t.Helper()
	root, err := filepath.Rel("/", m.Folder)
	if err != nil {
		m.t.Fatal(err)
	}
	m.libvirtd = &libvirtd{root: root, command: m.Command}
	if err := errors.Join(m.libvirtd.configure(), m.libvirtd.start()); err != nil {
		m.t.Fatalf("the machine's libvirtd: %v", err)
	}
}

// SSH runs the machine's SSH server on port 22 of an address of its own, with a
// new host key; root signs in by the password. An earlier one ends.
func (m *Machine) SSH(address, password string) {
	m.t.Helper()
	if m.sshd != nil {
		m.Run("kill", strings.TrimSpace(m.Run("cat", "/run/sshd.pid")))
		_ = m.sshd.Wait() // it was ended
	}
	hash := exec.Command("openssl", "passwd", "-6", "-stdin")
	hash.Stdin = strings.NewReader(password)
	out, err := hash.Output()
	if err == nil {
		err = setRootPassword(filepath.Join(m.Folder, "shadow"), strings.TrimSpace(string(out)))
	}
	key := filepath.Join(m.Folder, "ssh-"+strconv.FormatInt(time.Now().UnixNano(), 36))
	config := filepath.Join(m.Folder, "sshd.config")
	text := "Port 22\nHostKey " + key + "\nPidFile /run/sshd.pid\nPermitRootLogin yes\nUsePAM no\nPasswordAuthentication yes\nSubsystem sftp internal-sftp\n"
	if err = errors.Join(err, os.WriteFile(config, []byte(text), 0o600)); err != nil {
		m.t.Fatal(err)
	}
	m.Run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	m.sshd = m.Command("/usr/sbin/sshd", "-D", "-e", "-f", config)
	if err := m.sshd.Start(); err != nil {
		m.t.Fatal(err)
	}
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(address, "22"), time.Second)
		if err == nil {
			_ = conn.Close() // it only had to open
			return
		}
		if time.Since(begin) > machineStart {
			m.t.Fatalf("the machine's SSH server does not start: %v", err)
		}
	}
}

package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// stageKey tells the binary which of its lives it is in: "" outside, "init" as
// the first process of the sandbox, "test" as its second, "machine" as the first
// process of another machine (see NewMachine).
const stageKey = "KUMO_RIG_STAGE"

// folderKey names the sandbox's folder, which is outside and removed at the end.
const folderKey = "KUMO_RIG_FOLDER"

// Option asks for something that must be ready before the sandbox closes,
// because it has no network.
type Option func() error

// WithPackages installs missing Debian packages.
func WithPackages(names ...string) Option { return func() error { return install(names) } }

// WithGuestImage builds the tiny guest (see GuestImage).
func WithGuestImage() Option { return buildGuestImage }

// Main is called by TestMain and nothing else is: func TestMain(m *testing.M)
// { rig.Main(m, rig.WithPackages(rig.Hypervisor...)) }. It needs root. Inside,
// all IP networks are empty but for loopback, and /run and libvirt's folders
// are empty and private.
func Main(m *testing.M, options ...Option) {
	var code int
	var err error
	switch os.Getenv(stageKey) {
	case "":
		code, err = outside(options)
	case "init":
		code, err = asInit()
	case "machine":
		err = asMachine()
	default:
		code = m.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rig:", err)
		code = 1
	}
	os.Exit(code)
}

// Sandboxed reports whether this process runs under Main.
func Sandboxed() bool { return os.Getenv(stageKey) == "test" }

func outside(options []Option) (int, error) {
	if os.Geteuid() != 0 {
		return 1, fmt.Errorf("these tests make network namespaces and guests: run them as root")
	}
	for _, o := range options {
		if err := o(); err != nil {
			return 1, err
		}
	}
	folder, err := os.MkdirTemp("", "kumo-rig-")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(folder) }() // best effort: it is a temporary folder
	if err := os.Chmod(folder, 0o755); err != nil {
		return 1, err
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	// The death signal follows the thread that forked.
	runtime.LockOSThread()
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), stageKey+"=init", folderKey+"="+folder)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Run(); err != nil {
		if exit, ok := err.(*exec.ExitError); ok && exit.ExitCode() > 0 {
			return exit.ExitCode(), nil
		}
		return 1, err
	}
	return 0, nil
}

// asInit is process 1 of the sandbox: when it ends, the kernel kills the rest.
// It reaps everything, or libvirtd would wait for its probes' zombies.
func asInit() (int, error) {
	if err := mountAll(os.Getenv(folderKey)); err != nil {
		return 1, err
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("bring loopback up: %w: %s", err, out)
	}
	if err := os.Setenv(stageKey, "test"); err != nil {
		return 1, err
	}
	child, err := syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		return 1, fmt.Errorf("start the test: %w", err)
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if err == syscall.EINTR || (err == nil && pid != child) {
			continue
		}
		if err != nil {
			return 1, fmt.Errorf("wait for the test: %w", err)
		}
		if status.Signaled() {
			return 1, fmt.Errorf("the test was killed by signal %v", status.Signal())
		}
		return status.ExitStatus(), nil
	}
}

func mountAll(folder string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// A new /sys shows the devices of the new network namespace.
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	for _, path := range []string{"/run/libvirt", "/run/lock", "/run/netns", "/run/sshd"} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
	}
	// ip netns and we expect mounts below it to be shared among themselves.
	if err := unix.Mount("tmpfs", "/run/netns", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount /run/netns: %w", err)
	}
	return makePrivate(folder, "/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt")
}

// makePrivate puts folders of ours, empty at first, over those at the paths.
func makePrivate(folder string, paths ...string) error {
	for _, path := range paths {
		private := filepath.Join(folder, path)
		if err := os.MkdirAll(private, 0o755); err != nil {
			return err
		}
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(private, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", path, err)
		}
	}
	return nil
}

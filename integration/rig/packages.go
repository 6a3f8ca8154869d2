package rig

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// Hypervisor lists the Debian packages of a KVM host.
var Hypervisor = []string{"libvirt-daemon-system", "libvirt-clients", "qemu-system-x86", "qemu-utils", "ovmf", "dnsmasq-base", "nftables", "iproute2"}

// Client lists the packages with which tests play a guest.
var Client = []string{"busybox-static"}

// install installs Debian packages that are missing, without starting their
// services. Inside of a sandbox there is no network: use WithPackages.
func install(names []string) error {
	var missing []string
	for _, name := range names {
		out, err := exec.Command("dpkg-query", "-W", "-f", "${Status}", name).Output()
		if err != nil || string(out) != "install ok installed" {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if Sandboxed() {
		return fmt.Errorf("packages %s are missing: ask for them by WithPackages", strings.Join(missing, " "))
	}
	unlock, err := lock("packages")
	if err != nil {
		return err
	}
	defer unlock()
	// Exit code 101 of this file keeps Debian from starting services.
	const policy = "/usr/sbin/policy-rc.d"
	if _, err := os.Stat(policy); os.IsNotExist(err) {
		if err := os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
			return err
		}
		defer func() { _ = os.Remove(policy) }() // only ours is removed
	}
	args := append([]string{"install", "-q", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=600"}, missing...)
	cmd := exec.Command("apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("install %s: %w: %s", strings.Join(missing, " "), err, tail(out))
	}
	return nil
}

// lock keeps test binaries that run at once from doing the same work.
func lock(name string) (unlock func(), err error) {
	f, err := os.OpenFile(os.TempDir()+"/kumo-rig-"+name+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { _ = f.Close() }, nil // closing gives the lock back
}

func tail(out []byte) string {
	const most = 2000
	if len(out) > most {
		out = out[len(out)-most:]
	}
	return string(out)
}

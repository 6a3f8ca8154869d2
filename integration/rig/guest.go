package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Guest is the tiny test guest: a kernel with busybox that asks for an address
// by DHCP, reads its metadata, and says GUEST-READY on its serial console.
type Guest struct {
	// Disk is a bootable qcow2 image of 96 MiB; use it as a backing file only.
	Disk string
	// Kernel and Initrd boot it directly.
	Kernel, Initrd string
}

// GuestImage returns the tiny guest, and builds it when it is missing and there
// is a network; inside of a sandbox, ask for it by WithGuestImage.
func GuestImage(t testing.TB) Guest {
	t.Helper()
	if _, err := os.Stat(guest().Disk); err != nil {
		if Sandboxed() {
			t.Fatal("the guest image is missing: ask for it by WithGuestImage")
		}
		if err := buildGuestImage(); err != nil {
			t.Fatal(err)
		}
	}
	return guest()
}

func guest() Guest {
	folder := filepath.Join(Root(), ".cache", "guest")
	return Guest{
		Disk: filepath.Join(folder, "guest.qcow2"), Kernel: filepath.Join(folder, "vmlinuz"),
		Initrd: filepath.Join(folder, "initrd.img"),
	}
}

func buildGuestImage() error {
	unlock, err := lock("guest-image")
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(guest().Disk); err == nil {
		return nil
	}
	cmd := exec.Command("make", "-C", Root(), "guest-image")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the guest image: %w: %s", err, tail(out))
	}
	return nil
}

// Root is the project's folder.
func Root() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		panic("rig: built without file names")
	}
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Build compiles a program of the project, such as "./plugins/kvm", and puts
// it at the path. It works without a network.
func Build(t testing.TB, pkg, path string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-o", path, pkg)
	cmd.Dir = Root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v: %s", pkg, err, tail(out))
	}
}

package uefi

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kumo-cloud/kumo/integration/guests"
	"github.com/kumo-cloud/kumo/integration/rig"
)

const (
	// loader is the boot loader, which needs UEFI.
	loader = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
	// bootConfig has the loader write down in the firmware's variables what it
	// has started, as systems do with their boot entries.
	bootConfig = "timeout 0\ndefault @saved\n"
	// bootEntry starts the tiny guest; no_timer_check is for an emulated processor
	// on a busy machine, as in the guest's own disk.
	bootEntry = "title guest\nlinux /vmlinuz\ninitrd /initrd.img\noptions console=tty0 console=ttyS0 quiet no_timer_check\n"
	// written is the variable's name.
	written = "LoaderEntryLastBooted"
)

// makeDisk makes a disk that only UEFI can start, and returns its path: one FAT
// file system without boot code. The firmware takes the loader for its name, as
// no boot entry names another one (UEFI specification, section 3.5.1.1).
func makeDisk(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	raw, path := filepath.Join(folder, "disk.raw"), filepath.Join(guests.SourceFolder, "uefi.qcow2")
	config, entry := filepath.Join(folder, "loader.conf"), filepath.Join(folder, "guest.conf")
	for file, text := range map[string]string{config: bootConfig, entry: bootEntry} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	guest := rig.GuestImage(t)
	for _, args := range [][]string{
		{"truncate", "-s", "64M", raw},
		{"mformat", "-i", raw, "-v", "KUMOUEFI", "-T", "131072", "-h", "16", "-s", "63", "::"},
		{"mmd", "-i", raw, "::EFI", "::EFI/BOOT", "::loader", "::loader/entries"},
		{"mcopy", "-i", raw, loader, "::EFI/BOOT/BOOTX64.EFI"},
		{"mcopy", "-i", raw, config, "::loader/"},
		{"mcopy", "-i", raw, entry, "::loader/entries/"},
		{"mcopy", "-i", raw, guest.Kernel, guest.Initrd, "::"},
		{"qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", raw, path},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", args[0], err, out)
		}
	}
	return path
}

package hostd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

func TestCheckFolder(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Symlink("/etc", filepath.Join(dir, "link")))
	for _, bad := range []string{
		"", "relative", "/", "/etc", "/etc/kumo", "/usr/lib", "/proc/1", "/dev/shm/x", "/boot", "/var", "/var/lib", "/home",
		"/a/../b", "/a//b", "/a/", "/a/./b", "/a\nb", filepath.Join(dir, "link"), filepath.Join(dir, "link", "new"), "/" + strings.Repeat("a", 5000),
	} {
		if err := checkFolder(bad); !errors.Is(err, errs.Invalid) {
			t.Errorf("folder %.60q: %v", bad, err)
		}
	}
	for _, good := range []string{dir, filepath.Join(dir, "new", "er"), "/kumo_storage", "/var/lib/kumo/local", "/etcetera"} {
		if err := checkFolder(good); err != nil {
			t.Errorf("folder %q: %v", good, err)
		}
	}
}

func TestCheckBelow(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	must(t, os.Symlink(outside, filepath.Join(root, "out")))
	must(t, os.Symlink(filepath.Join(root, "in"), filepath.Join(root, "loop")))
	must(t, os.Symlink("/nowhere/at/all", filepath.Join(root, "broken")))
	for _, bad := range []string{
		root, root + "x/disk", filepath.Join(outside, "disk"), root + "/../disk", filepath.Join(root, "out", "disk"),
		filepath.Join(root, "out"), filepath.Join(root, "broken"), "/etc/passwd",
	} {
		if err := checkBelow(bad, root); !errors.Is(err, errs.Invalid) {
			t.Errorf("path %q: %v", bad, err)
		}
	}
	if err := checkBelow("/etc/passwd", "/etc"); !errors.Is(err, errs.Invalid) {
		t.Errorf("a system folder as root: %v", err)
	}
	must(t, checkBelow(filepath.Join(root, "a", "b.qcow2"), root))
	must(t, checkRemovable(filepath.Join(root, "a", "b.qcow2"), root))
	// A root that is itself reached by a link is fine.
	must(t, checkBelow(filepath.Join(root, "out", "b.qcow2"), filepath.Join(root, "out")))
}

// What a guest's firmware keeps can be removed, and nothing else done with it.
func TestCheckRemovable(t *testing.T) {
	const folder = "/var/lib/libvirt/qemu/nvram"
	must(t, checkRemovable(folder+"/guest_VARS.fd", folder))
	if err := checkBelow(folder+"/guest_VARS.fd", folder); !errors.Is(err, errs.Invalid) {
		t.Errorf("more than removing: %v", err)
	}
	for path, root := range map[string]string{
		folder:                                 folder,
		folder + "/../domain.xml":              folder,
		"/var/lib/libvirt/qemu/domain.xml":     folder,
		"/var/lib/libvirt/qemu/save/guest":     "/var/lib/libvirt/qemu/save",
		"/var/lib/libvirt/qemu/nvram/guest":    "/var/lib/libvirt/qemu",
		"/var/lib/libvirt/qemu/nvram/a/b/c.fd": folder + "/a",
	} {
		if err := checkRemovable(path, root); !errors.Is(err, errs.Invalid) {
			t.Errorf("path %q below %q: %v", path, root, err)
		}
	}
}

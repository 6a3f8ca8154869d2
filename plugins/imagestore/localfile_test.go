package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// The bytes of a file come from a listed folder, whatever leads there, and from
// nowhere else.
func TestFileFolders(t *testing.T) {
	path, data := makeImage(t)
	dir, outside := filepath.Dir(path), t.TempDir()
	secret := filepath.Join(outside, "kumo.db-wal")
	linked := filepath.Join(t.TempDir(), "linked")
	if err := errors.Join(
		os.WriteFile(secret, data, 0o600),
		os.Symlink(secret, filepath.Join(dir, "out.qcow2")),
		os.Symlink(outside, filepath.Join(dir, "outside")),
		os.Symlink("/etc/passwd", filepath.Join(dir, "passwd.raw")),
		os.Symlink("disk.qcow2", filepath.Join(dir, "in.qcow2")),
		os.Symlink("/dev/zero", filepath.Join(dir, "zero.raw")),
		os.Symlink(dir, linked),
		unix.Mkfifo(filepath.Join(dir, "fifo.raw"), 0o644),
		os.Mkdir(filepath.Join(dir, ".ssh"), 0o700),
		os.WriteFile(filepath.Join(dir, ".ssh", "id.raw"), []byte("key"), 0o600),
		os.WriteFile(filepath.Join(dir, imageUUID+".qcow2"), data, 0o600),
		os.Mkdir(dir+"-other", 0o700),
		os.WriteFile(dir+"-other/disk.qcow2", data, 0o600),
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir + "-other"); err != nil {
			t.Error(err)
		}
	})
	b := newBench(t, files(dir, linked+"/", " /nothing/there "))
	for name, c := range map[string]struct{ path, says string }{
		"outside":                {secret, "lists only " + dir},
		"name that begins alike": {dir + "-other/disk.qcow2", "lists only"},
		"system file":            {"/etc/passwd", "lists only"},
		"process":                {"/proc/self/environ", "lists only"},
		"what is not there":      {"/root/none", "lists only"},
		"link to a file outside": {dir + "/out.qcow2", "outside of the folders"},
		"link to a folder":       {dir + "/outside/kumo.db-wal", "outside of the folders"},
		"link to the system":     {dir + "/passwd.raw", "outside of the folders"},
		"link to a device":       {dir + "/zero.raw", "outside of the folders"},
		"fifo":                   {dir + "/fifo.raw", "not a regular file"},
		"folder":                 {dir + "/.ssh/..", "clean"},
		"the folder itself":      {dir, "outside of the folders"},
		"hidden":                 {dir + "/.ssh/id.raw", "hidden"},
		"another's disk":         {dir + "/" + imageUUID + ".qcow2", "disk of Kumo"},
		"missing file":           {dir + "/nothing", "no such file"},
		"dots":                   {dir + "/../" + filepath.Base(outside) + "/kumo.db-wal", "clean"},
		"encoded dots":           {dir + "/%2e%2e/" + filepath.Base(outside) + "/kumo.db-wal", "clean"},
		"relative":               {"disk.qcow2", "management node"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.add(t.Context(), "file://"+c.path, "raw", "")
			requireClass(t, err, errs.Invalid)
			if !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), imageUUID) {
				t.Errorf("error does not say %q of the image: %v", c.says, err)
			}
			b.requireEmpty(t)
		})
	}
	for name, path := range map[string]string{
		"file": path, "link inside": dir + "/in.qcow2", "folder listed as a link": linked + "/disk.qcow2",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, files(dir, linked))
			if _, err := b.add(t.Context(), "file://"+path, "qcow2", ""); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("no folder is listed", func(t *testing.T) {
		b := newBench(t)
		_, err := b.add(t.Context(), "file://"+path, "qcow2", "")
		requireClass(t, err, errs.Invalid)
		if !strings.Contains(err.Error(), settingFileFolders) || !strings.Contains(err.Error(), "no folder") {
			t.Error(err)
		}
		b.requireEmpty(t)
	})
}

// A list that opens the machine's or Kumo's secrets is refused at the start; a
// folder that became a link to them later opens nothing.
func TestForbiddenFileFolders(t *testing.T) {
	data := t.TempDir()
	for _, bad := range []string{"/", "/etc", "/etc/images", "/var", "/var/lib/../lib/kumo/server", "images", data, filepath.Dir(data), data + "/x", "/srv/ok,/run"} {
		if f, err := parseFileFolders(bad, data); errs.ClassOf(err) != errs.Invalid {
			t.Errorf("%q: %v %v", bad, f.listed, err)
		}
	}
	link := filepath.Join(t.TempDir(), "images")
	f, err := parseFileFolders(link, data)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", link); err != nil {
		t.Fatal(err)
	}
	if err := f.checkReal("image", "/etc/passwd"); errs.ClassOf(err) != errs.Invalid {
		t.Errorf("a folder that is a link to /etc: %v", err)
	}
}

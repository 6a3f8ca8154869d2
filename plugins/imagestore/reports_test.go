package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// This file tries what people reported of images that they added to clouds.

// What is not the disk that was said is never taken for one.
func TestReportedImages(t *testing.T) {
	dir := t.TempDir()
	_, data := makeImage(t)
	device := filepath.Join(dir, "device.qcow2")
	qemuImg(t, "create", "-u", "-f", "qcow2", "-b", "/dev/sdb", "-F", "raw", device, "5G")
	backed, err := os.ReadFile(device)
	if err != nil {
		t.Fatal(err)
	}
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("4d", 32) + "\nsize 12345678\n"
	for _, c := range []struct {
		report, name, format string
		data                 []byte
		says                 string // of the refusal; "" where it is taken
	}{
		{"https://github.com/apache/cloudstack/issues/11260", "/test-backing-file-sdb.qcow2", "qcow2", backed, "another file"},
		// The name of a file says nothing of its format.
		{"https://github.com/apache/cloudstack/issues/3224", "/xenial-server-cloudimg-amd64-disk1.img", "qcow2", data, ""},
		{"https://github.com/apache/cloudstack/issues/3224", "/xenial-server-cloudimg-amd64-disk1.img", "raw", data, "its bytes are qcow2"},
		// A few bytes that a web server said instead, under the disk's name.
		{"https://github.com/lxc/incus/issues/2919", "/talos-amd64.qcow2", "qcow2", []byte(pointer), "not qcow2"},
		{"https://github.com/lxc/incus/issues/2919", "/talos-amd64.raw", "raw", []byte(pointer), "not a disk"},
		{"https://github.com/lxc/incus/issues/2919", "/talos-amd64.raw", "raw", []byte("Not Found"), "not a disk"},
	} {
		b := newBench(t)
		_, err := b.add(t.Context(), serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/octet-stream")
			if _, err := w.Write(c.data); err != nil {
				t.Error(err)
			}
		})+c.name, c.format, "")
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s: %s as %s: %v", c.report, c.name, c.format, err)
		case c.says != "" && (errs.ClassOf(err) != errs.Invalid || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %s as %s is not refused for %q: %v", c.report, c.name, c.format, c.says, err)
		case c.says != "":
			b.requireEmpty(t)
		}
	}
}

// Lists of checksums are read as projects write them, and a sum of something else
// is none.
func TestReportedChecksums(t *testing.T) {
	sum, other := strings.Repeat("a", 64), strings.Repeat("1", 64)
	for _, c := range []struct{ report, file, list, want string }{
		{"https://github.com/bettercap/bettercap/issues/1058", "bettercap_linux_aarch64_v2.31.1.zip", "SHA256(bettercap)= " + sum + "\n", ""},
		{"https://github.com/Universal-Debloater-Alliance/universal-android-debloater-next-generation/issues/270", "uad-ng-linux", sum + " bin/uad-ng-linux\n", sum},
		{"https://github.com/bazelbuild/bazel/issues/440", "bazel-0.1.0-installer-linux-x86_64.sh", sum + "\n", sum},
		{"https://github.com/docker/buildx/issues/1070", "buildx-v0.8.2.linux-amd64", other + " buildx-v0.8.2.linux-arm-v6\n" + sum + " buildx-v0.8.2.linux-amd64\n", sum},
		{"https://github.com/electron/electron/pull/6896", "electron.zip", sum + " *electron.zip\r\n", sum},
		{"https://github.com/githubnext/ado-aw/issues/46", "ado-aw-linux-x64", sum + "  ado-aw-linux-x64.sig\n" + other + "  ado-aw\n", ""},
		{"https://github.com/agent-sh/agnix/issues/1154", "b.img", other + "  a.img\n" + sum + "  b.img\n", sum},
	} {
		got, err := findChecksum(c.list, "sha256", c.file)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v", c.report, got, err)
		}
	}
}

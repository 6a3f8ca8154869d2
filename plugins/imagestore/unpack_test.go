package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// packed runs bytes through a program that compresses.
func packed(t *testing.T, data []byte, tool ...string) []byte {
	t.Helper()
	cmd := exec.Command(tool[0], tool[1:]...)
	var problem bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(data), &problem
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", tool, err, problem.Bytes())
	}
	return out
}

// Publishers give images compressed; the checksum is of what they give.
func TestCompressedImages(t *testing.T) {
	raw := append(bytes.Repeat([]byte("kumo"), 300_000), make([]byte, 32<<20)...)
	disk := made(t, "qcow2")
	for _, c := range []struct {
		name, format string
		data         []byte
		tool         []string
	}{
		{"gzip", "raw", raw, []string{"gzip", "-c"}},
		{"gzip qcow2", "qcow2", disk, []string{"gzip", "-c"}},
		{"xz", "raw", raw, []string{"xz", "-c"}},
		{"xz of the highest level", "qcow2", disk, []string{"xz", "-9ce"}},
		{"xz by threads", "raw", raw, []string{"xz", "-c", "-T2", "--block-size=1MiB"}},
		{"bzip2", "raw", raw, []string{"bzip2", "-c"}},
		{"zstd", "qcow2", disk, []string{"zstd", "-cq", "-19"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			small := packed(t, c.data, c.tool...)
			sum := sha256.Sum256(small)
			checksum := "sha256:" + hex.EncodeToString(sum[:])
			resp, err := b.add(t.Context(), serveBytes(t, small)+"/disk."+c.format+".packed", c.format, checksum)
			requireClass(t, err, "")
			kept, err := os.ReadFile(resp.InstallPath)
			if err != nil || !bytes.Equal(kept, c.data) {
				t.Fatalf("%d of %d bytes are kept, %v", len(kept), len(c.data), err)
			}
			if resp.ActualBytes != int64(len(c.data)) {
				t.Errorf("its size is said to be %d", resp.ActualBytes)
			}
			var st syscall.Stat_t
			if err := syscall.Stat(resp.InstallPath, &st); err != nil || c.format == "raw" && st.Blocks*512 > 4<<20 {
				t.Errorf("%d bytes are on the disk, %v", st.Blocks*512, err)
			}
			again, err := b.add(t.Context(), "http://127.0.0.1:1/gone", c.format, checksum)
			if requireClass(t, err, ""); again.InstallPath != resp.InstallPath {
				t.Errorf("a repeat gives %s", again.InstallPath)
			}
			left, err := os.ReadDir(filepath.Dir(resp.InstallPath))
			if err != nil || len(left) != 2 {
				t.Errorf("beside the image and its record: %v, %v", left, err)
			}
		})
	}
}

// What is not whole in its compressed file is no image, nor is an archive.
func TestCompressedImagesThatAreWrong(t *testing.T) {
	disk := made(t, "qcow2")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "disk.qcow2"), disk, 0o600); err != nil {
		t.Fatal(err)
	}
	harmed := func(data []byte) []byte {
		data = bytes.Clone(data)
		data[len(data)/2] ^= 0x40
		return data
	}
	cut := func(data []byte) []byte { return data[:len(data)-len(data)/3] }
	gz, xz, bz, zst := packed(t, disk, "gzip", "-c"), packed(t, disk, "xz", "-c"), packed(t, disk, "bzip2", "-c"), packed(t, disk, "zstd", "-cq", "--check")
	for name, c := range map[string]struct {
		data   []byte
		format string
		max    int64
		class  errs.Class
		says   string
	}{
		"gzip cut off":   {cut(gz), "qcow2", 0, errs.Invalid, "cannot be unpacked (gzip)"},
		"xz cut off":     {cut(xz), "qcow2", 0, errs.Invalid, "cannot be unpacked (xz)"},
		"bzip2 cut off":  {cut(bz), "qcow2", 0, errs.Invalid, "cannot be unpacked (bzip2)"},
		"zstd cut off":   {cut(zst), "qcow2", 0, errs.Invalid, "cannot be unpacked (zstd)"},
		"gzip harmed":    {harmed(gz), "qcow2", 0, errs.Invalid, "cannot be unpacked (gzip)"},
		"xz harmed":      {harmed(xz), "qcow2", 0, errs.Invalid, "cannot be unpacked (xz)"},
		"bzip2 harmed":   {harmed(bz), "qcow2", 0, errs.Invalid, "cannot be unpacked (bzip2)"},
		"zstd harmed":    {harmed(zst), "qcow2", 0, errs.Invalid, "cannot be unpacked (zstd)"},
		"other format":   {gz, "raw", 0, errs.Invalid, "its bytes are qcow2"},
		"packed twice":   {packed(t, gz, "xz", "-c"), "qcow2", 0, errs.Invalid, "its bytes are gzip"},
		"archive":        {packed(t, nil, "tar", "-czf", "-", "-C", dir, "disk.qcow2"), "raw", 0, errs.Invalid, "its bytes are tar"},
		"too large":      {packed(t, make([]byte, 64<<20), "gzip", "-c"), "raw", 1 << 20, errs.Exhausted, "more than the 1048576 bytes"},
		"window of 1 GB": {packed(t, nil, "sh", "-c", "head -c 200000000 /dev/zero | zstd -cq --ultra -22 --long=30"), "raw", 0, errs.Invalid, "cannot be unpacked (zstd)"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			_, err := b.AddImage(t.Context(), &pluginv1.AddImageRequest{Store: b.row, ImageUuid: imageUUID, Url: serveBytes(t, c.data), Format: c.format, MaxBytes: c.max})
			if requireClass(t, err, c.class); !strings.Contains(err.Error(), c.says) {
				t.Errorf("does not say %q: %v", c.says, err)
			}
			b.requireEmpty(t)
		})
	}
}

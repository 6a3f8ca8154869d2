package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// noise are bytes that no format compresses.
func noise(n int) []byte {
	b, r := make([]byte, n), rand.NewChaCha8([32]byte{7})
	_, _ = r.Read(b) // never fails
	return b
}

// made are the bytes of 3 MiB of noise on a disk of 8 MiB in a format.
func made(t *testing.T, format string, options ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	raw, path := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "disk."+format)
	if err := os.WriteFile(raw, append(noise(3<<20), make([]byte, 5<<20)...), 0o600); err != nil {
		t.Fatal(err)
	}
	qemuImg(t, append(append([]string{"convert", "-f", "raw", "-O", format}, options...), raw, path)...)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// partitioned is a disk of 1 MiB with one partition that is told by an MBR or a GPT.
func partitioned(gpt bool) []byte {
	b := noise(1 << 20)
	clear(b[446:1024])
	b[510], b[511], b[446+4] = 0x55, 0xaa, 0x83
	binary.LittleEndian.PutUint32(b[446+8:], 64)
	binary.LittleEndian.PutUint32(b[446+12:], 2048-64)
	if gpt {
		b[446+4] = 0xee
		copy(b[512:], "EFI PART")
		binary.LittleEndian.PutUint64(b[512+32:], 2047)
	}
	return b
}

func isoImage() []byte {
	b := make([]byte, 1<<20)
	copy(b[isoMagicAt-1:], "\x01CD001")
	binary.LittleEndian.PutUint32(b[isoMagicAt-1+80:], 512)
	binary.LittleEndian.PutUint16(b[isoMagicAt-1+128:], 2048)
	return b
}

// A part of an image is no image, even when the server tells the part's length,
// or none and closes the connection.
func TestCutOffImages(t *testing.T) {
	for name, c := range map[string]struct {
		format string
		data   []byte
		cuts   []int
	}{
		"qcow2":            {"qcow2", made(t, "qcow2"), []int{1, 40000, 70000, 1 << 20, 3 << 20}},
		"small clusters":   {"qcow2", made(t, "qcow2", "-o", "cluster_size=512"), []int{1, 600, 1 << 20}},
		"compressed qcow2": {"qcow2", made(t, "qcow2", "-c", "-o", "compression_type=zlib"), []int{20000, 1 << 20}},
		"vmdk":             {"vmdk", made(t, "vmdk"), []int{1, 20000, 100000, 1 << 20}},
		"compressed vmdk":  {"vmdk", made(t, "vmdk", "-o", "subformat=streamOptimized"), []int{20000, 100000, 1 << 20}},
		"vdi":              {"vdi", made(t, "vdi"), []int{1, 20000, 1 << 20}},
		"vhdx":             {"vhdx", made(t, "vhdx"), []int{20000, 1 << 20}},
		"raw with MBR":     {"raw", partitioned(false), []int{1, 512, 500000}},
		"raw with GPT":     {"raw", partitioned(true), []int{1, 512, 500000}},
		"iso":              {"iso", isoImage(), []int{400000, 900000}},
	} {
		for _, cut := range append([]int{0}, c.cuts...) {
			t.Run(fmt.Sprintf("%s/%d", name, cut), func(t *testing.T) {
				b := newBench(t)
				_, err := b.add(t.Context(), serveBytes(t, c.data[:len(c.data)-cut])+"/disk?sign=s3cret", c.format, "")
				if cut == 0 {
					requireClass(t, err, "")
					return
				}
				requireClass(t, err, errs.Invalid)
				for _, says := range []string{"http://127.0.0.1", "/disk ", "cut off", "checksum"} {
					if !strings.Contains(err.Error(), says) {
						t.Errorf("does not say %q: %v", says, err)
					}
				}
				if strings.Contains(err.Error(), "s3cret") {
					t.Error(err)
				}
				b.requireEmpty(t)
			})
		}
	}
	half := made(t, "qcow2")
	b := newBench(t)
	_, err := b.add(t.Context(), serveSlowly(t, half[:len(half)/2]), "qcow2", "")
	requireClass(t, err, errs.Invalid)
	r := &pluginv1.AddImageRequest{Store: b.row, ImageUuid: imageUUID, Url: serveBytes(t, half[:len(half)-1]), Format: "qcow2", UsableFormats: []string{"raw"}}
	_, err = b.AddImage(t.Context(), r)
	requireClass(t, err, errs.Invalid)
	b.requireEmpty(t)
}

// Files that end within their last cluster, and such with clusters that nothing
// uses, are good.
func TestOddImagesThatAreWhole(t *testing.T) {
	dir := t.TempDir()
	for name, script := range map[string]string{
		"no data":        "qemu-img create -q -f qcow2 $F 64M",
		"odd size":       "qemu-img create -q -f qcow2 $F 1000448 && qemu-io -c 'write 983040 17408' $F",
		"metadata":       "qemu-img create -q -f qcow2 -o preallocation=metadata $F 1000448",
		"exact end":      "qemu-img create -q -f qcow2 $F 64M && qemu-io -c 'write -c 0 64k' $F",
		"snapshot":       "qemu-img create -q -f qcow2 $F 8M && qemu-io -c 'write 0 1M' $F && qemu-img snapshot -c s $F && qemu-io -c 'write 0 1M' $F",
		"subclusters":    "qemu-img create -q -f qcow2 -o extended_l2=on $F 64M && qemu-io -c 'write 1M 3k' $F",
		"unused cluster": "qemu-img create -q -f qcow2 -o lazy_refcounts=off $F 8M && qemu-io -c 'write 0 64k' $F && truncate -s 1M $F",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name+".qcow2")
			shell(t, strings.ReplaceAll(script, "$F", "'"+path+"'"))
			_, err := newBench(t, files(dir)).add(t.Context(), "file://"+strings.ReplaceAll(path, " ", "%20"), "qcow2", "")
			requireClass(t, err, "")
		})
	}
	// What leaks: an L1 entry that is taken away.
	path := filepath.Join(dir, "leak.qcow2")
	shell(t, "qemu-img create -q -f qcow2 "+path+" 8M && qemu-io -c 'write 0 64k' "+path)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	l1 := binary.BigEndian.Uint64(data[40:])
	clear(data[l1 : l1+8])
	_, err = newBench(t).add(t.Context(), serveBytes(t, data), "qcow2", "")
	requireClass(t, err, "")
}

func TestPagesAreNoDisks(t *testing.T) {
	page := "<!DOCTYPE html><html><body>Please log in" + strings.Repeat(" ", 5000)
	for name, c := range map[string]struct {
		mediaType, body string
		good            bool
	}{
		"log-in page":                 {"text/html; charset=utf-8", page, false},
		"page without type":           {"application/octet-stream", "\ufeff\n " + page, false},
		"object store":                {"application/xml", `<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>`, false},
		"API":                         {"application/json", "{ \"message\": \"no\" }", false},
		"JSON without type":           {"", `{"message":"no"}`, false},
		"message":                     {"text/plain", "404: no such file\n", false},
		"page in Latin":               {"text/html", "Ouvrez une session: \u00e9 " + page, false},
		"disk as text":                {"text/plain", string(noise(8192)), true},
		"disk as page":                {"text/html", string(noise(8192)), true},
		"disk that begins with zeros": {"text/html", string(make([]byte, 8192)), true},
		"disk of long lines":          {"text/plain", strings.Repeat("data on a disk without a file system\n", 200), true},
		"disk of a name's text":       {"application/octet-stream", "<b\x00" + page, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			_, err := b.add(t.Context(), serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.mediaType)
				if _, err := w.Write([]byte(c.body)); err != nil {
					t.Error(err)
				}
			}), "raw", "")
			if c.good {
				requireClass(t, err, "")
				return
			}
			requireClass(t, err, errs.Invalid)
			if !strings.Contains(err.Error(), "not a disk") {
				t.Error(err)
			}
			b.requireEmpty(t)
		})
	}
}

func TestPartitionsEnd(t *testing.T) {
	fat := partitioned(false)
	fat[446] = 'B' // a boot sector's code
	for name, c := range map[string]struct {
		head []byte
		want int64
	}{
		"none": {noise(8192), 0}, "short": {[]byte("x"), 0}, "MBR": {partitioned(false)[:512], 1 << 20}, "GPT": {partitioned(true)[:8192], 1 << 20},
		"boot sector": {fat, 0}, "protective alone": {append(partitioned(true)[:512:512], make([]byte, 7680)...), 0},
		"4 KiB sectors": {append(make([]byte, 4096), append([]byte("EFI PART"), bytes.Repeat([]byte{0}, 200)...)...), 4096},
	} {
		if got := partitionsEnd(c.head); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// A qemu-img that gets no thread says nothing of the image.
func TestNoThreadForQemuImg(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho \"arenas $MALLOC_ARENA_MAX\"\necho 'qemu: qemu_thread_create: Resource temporarily unavailable' >&2\nexit 134\n"
	if err := os.WriteFile(filepath.Join(dir, "qemu-img"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	out, problem, err := runQemuImg(t.Context(), "image x", time.Minute, "check", "x")
	if errs.ClassOf(err) != errs.Unavailable || problem != "" || string(out) != "arenas 1\n" {
		t.Errorf("%q, %q, %v", out, problem, err)
	}
}

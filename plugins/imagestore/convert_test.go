package main

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// An image that no storage can use is kept as one that some can: same content,
// its own checksum, and a repeat finds it by what was said of what came.
func TestConvert(t *testing.T) {
	path, _ := makeImage(t)
	dir := t.TempDir()
	for _, c := range []struct{ format, subformat string }{
		{"vmdk", "monolithicSparse"}, {"vmdk", "streamOptimized"}, {"vdi", ""}, {"vhdx", "dynamic"}, {"vhdx", "fixed"},
	} {
		t.Run(c.format+c.subformat, func(t *testing.T) {
			source := filepath.Join(dir, c.subformat+"."+c.format)
			options := "subformat=" + c.subformat
			if c.format == "vdi" {
				options = "static=off"
			}
			qemuImg(t, "convert", "-f", "qcow2", "-O", c.format, "-o", options, path, source)
			data, err := os.ReadFile(source)
			if err != nil {
				t.Fatal(err)
			}
			sum := md5.Sum(data)
			b := newBench(t)
			r := &pluginv1.AddImageRequest{Store: b.row, ImageUuid: imageUUID, Url: serveBytes(t, data), Format: c.format,
				Checksum: "md5:" + hex.EncodeToString(sum[:]), UsableFormats: []string{"iso", "raw", "qcow2"}}
			var paths []string
			for range 2 {
				got, err := b.AddImage(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				kept, err := os.ReadFile(got.InstallPath)
				if err != nil {
					t.Fatal(err)
				}
				is := md5.Sum(kept)
				if got.Format != "qcow2" || got.SizeBytes != 8<<20 || got.ActualBytes != int64(len(kept)) || got.Md5 != hex.EncodeToString(is[:]) {
					t.Errorf("answer %v", got)
				}
				paths = append(paths, got.InstallPath)
			}
			if paths[0] != paths[1] {
				t.Errorf("a repeat: %v", paths)
			}
			qemuImg(t, "compare", "-f", "qcow2", "-F", "qcow2", path, paths[0])
			left, err := filepath.Glob(b.root + "/*/*/*")
			if err != nil || len(left) != 2 { // the image and its record
				t.Errorf("files %v %v", left, err)
			}
			out, err := b.ExportImage(t.Context(), &pluginv1.ExportImageRequest{Store: b.row, ImageUuid: imageUUID, ReaderIp: "127.0.0.1"})
			if err != nil {
				t.Fatal(err)
			}
			kept, err := os.ReadFile(paths[0])
			if status, body := get(t, out.Source.Url); status != 200 || err != nil || out.Source.Format != "qcow2" || !bytes.Equal(body, kept) {
				t.Errorf("source %v: status %d, %d bytes: %v", out.Source, status, len(body), err)
			}
		})
	}
}

func TestKeptFormat(t *testing.T) {
	for _, c := range []struct {
		format, usable, want string
	}{
		{"vmdk", "", "vmdk"}, {"vmdk", "vmdk", "vmdk"}, {"vmdk", "raw,qcow2", "qcow2"}, {"vmdk", "iso,raw", "raw"},
		{"vdi", "qcow2,raw", "qcow2"}, {"vhdx", "raw", "raw"}, {"vhdx", "iso", ""},
		{"qcow2", "raw", "raw"}, {"raw", "qcow2", "qcow2"}, {"iso", "qcow2,iso", "iso"}, {"iso", "qcow2,raw", ""}, {"vmdk", "rbd", ""}, {"qcow2", "vmdk", ""},
	} {
		usable := strings.FieldsFunc(c.usable, func(r rune) bool { return r == ',' })
		got, err := keptFormat("image x", c.format, usable)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s for %s: %q %v", c.format, c.usable, got, err)
		}
		if err != nil && (errs.ClassOf(err) != errs.Unsupported || !strings.Contains(err.Error(), c.format) || !strings.Contains(err.Error(), usable[0])) {
			t.Errorf("%s for %s: %v", c.format, c.usable, err)
		}
	}
}

// An image gets no more of the store than it may, whether or not its size is
// known before.
func TestMaxBytes(t *testing.T) {
	_, data := makeImage(t)
	b := newBench(t)
	for name, url := range map[string]string{"size known": serveBytes(t, data), "size unknown": serveSlowly(t, data)} {
		t.Run(name, func(t *testing.T) {
			r := &pluginv1.AddImageRequest{Store: b.row, ImageUuid: imageUUID, Url: url, Format: "qcow2", MaxBytes: int64(len(data)) - 1}
			_, err := b.AddImage(t.Context(), r)
			requireClass(t, err, errs.Exhausted)
			b.requireEmpty(t)
			r.MaxBytes++
			if _, err := b.AddImage(t.Context(), r); err != nil {
				t.Error(err)
			}
			if _, err := b.DeleteImage(t.Context(), &pluginv1.DeleteImageRequest{Store: b.row, ImageUuid: imageUUID}); err != nil {
				t.Error(err)
			}
		})
	}
}

// A store takes no folder of other things, and a known one is not made anew in
// an empty folder, as that of a disk that is not mounted.
func TestStoresFolder(t *testing.T) {
	connect := func(b *bench, root string, known bool) error {
		_, err := b.ConnectStore(t.Context(), &pluginv1.ConnectStoreRequest{Store: &pluginv1.Storage{
			Uuid: storeUUID, Url: root, Fields: map[string]string{"hostname": "h"}}, Known: known})
		return err
	}
	b := newBench(t)
	home := t.TempDir()
	if err := os.Mkdir(home+"/.ssh", 0o700); err != nil {
		t.Fatal(err)
	}
	requireClass(t, connect(b, home, false), errs.Invalid)
	if got, err := os.ReadDir(home); err != nil || len(got) != 1 {
		t.Errorf("folder of other things: %v %v", got, err)
	}
	requireClass(t, connect(b, home, true), errs.Unavailable)

	root := t.TempDir()
	requireClass(t, connect(b, root, true), errs.Unavailable)
	requireClass(t, connect(b, root+"/none", true), errs.Unavailable)
	if err := os.Mkdir(root+"/lost+found", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, known := range []bool{false, true, false} {
		if err := connect(b, root, known); err != nil {
			t.Errorf("known %v: %v", known, err)
		}
	}
	row := &pluginv1.Storage{Uuid: storeUUID, Url: root}
	if _, err := b.StoreCapacity(t.Context(), &pluginv1.StoreCapacityRequest{Store: row}); err != nil {
		t.Error(err)
	}
	if err := os.Remove(root + "/" + marker); err != nil { // as those made before have none
		t.Fatal(err)
	}
	_, err := b.StoreCapacity(t.Context(), &pluginv1.StoreCapacityRequest{Store: row})
	requireClass(t, err, errs.Unavailable)
	if err := connect(b, root, true); err != nil {
		t.Error(err)
	}
	if _, err := b.StoreCapacity(t.Context(), &pluginv1.StoreCapacityRequest{Store: row}); err != nil {
		t.Error(err)
	}
}

// serveSlowly serves bytes without telling how many.
func serveSlowly(t *testing.T, data []byte) string {
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		_, _ = w.Write(data) // a reader that has enough hangs up
	})
}

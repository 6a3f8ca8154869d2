package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	storeUUID = "0123456789abcdef0123456789abcdef"
	imageUUID = "11111111111111111111111111111111"
)

func TestMain(m *testing.M) { rig.Main(m, rig.WithPackages("qemu-utils")) }

// bench is a store behind real gRPC, with short limits.
type bench struct {
	pluginsdk.BackupStorageClient
	core *plugintest.Core
	row  *pluginv1.Storage
	root string
}

func newBench(t *testing.T, opts ...plugintest.Option) *bench {
	t.Helper()
	return benchAt(t, filepath.Join(t.TempDir(), "store"), opts...)
}

func benchAt(t *testing.T, root string, opts ...plugintest.Option) *bench {
	t.Helper()
	s := newStore()
	s.limits.idle = 400 * time.Millisecond
	s.limits.retry = 2 * time.Millisecond
	s.limits.firstUpload = 5 * time.Second
	b := &bench{core: &plugintest.Core{}, root: root}
	b.BackupStorageClient = plugintest.Loopback(t, pluginOf(s), append(opts, plugintest.WithCore(b.core))...).BackupStorage()
	b.row = &pluginv1.Storage{
		Uuid: storeUUID, Name: "images", Type: "ImageStoreBackupStorage", Url: b.root,
		Fields: map[string]string{"hostname": "127.0.0.1"},
	}
	if _, err := b.ConnectStore(t.Context(), &pluginv1.ConnectStoreRequest{Store: b.row}); err != nil {
		t.Fatal(err)
	}
	return b
}

// files lists folders from which file:// images may be added.
func files(dirs ...string) plugintest.Option {
	return plugintest.WithSettings(map[string]string{settingFileFolders: strings.Join(dirs, ",")})
}

func (b *bench) add(ctx context.Context, url, format, checksum string) (*pluginv1.AddImageResponse, error) {
	return b.AddImage(ctx, &pluginv1.AddImageRequest{
		Store: b.row, ImageUuid: imageUUID, Url: url, Format: format, Checksum: checksum,
	})
}

func (b *bench) remove(t *testing.T) {
	t.Helper()
	if _, err := b.DeleteImage(t.Context(), &pluginv1.DeleteImageRequest{Store: b.row, ImageUuid: imageUUID}); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) requireEmpty(t *testing.T) {
	t.Helper()
	for _, dir := range []string{"images", "incoming"} {
		entries, err := os.ReadDir(filepath.Join(b.root, dir))
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) > 0 {
			t.Errorf("%s is not empty: %v", dir, entries)
		}
	}
}

func requireClass(t *testing.T, err error, want errs.Class) {
	t.Helper()
	if got := errs.ClassOf(err); got != want {
		t.Fatalf("class %q, want %q: %v", got, want, err)
	}
}

func qemuImg(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img %v: %v: %s", args, err, out)
	}
}

// makeImage makes a qcow2 of 8 MiB with some data in it.
func makeImage(t *testing.T) (path string, data []byte) {
	t.Helper()
	dir := t.TempDir()
	raw := filepath.Join(dir, "disk.raw")
	content := bytes.Repeat([]byte("kumo image content, not all of it the same\n"), 20000)
	if err := os.WriteFile(raw, content, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(raw, 8<<20); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "disk.qcow2")
	qemuImg(t, "convert", "-f", "raw", "-O", "qcow2", raw, path)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, data
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func serveBytes(t *testing.T, data []byte) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	})
}

func get(t *testing.T, url string, header ...string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

func TestAddExportDelete(t *testing.T) {
	path, data := makeImage(t)
	sum := md5.Sum(data)
	for name, url := range map[string]string{
		"http": serveBytes(t, data) + "/disk.qcow2?token=secret",
		"file": "file://" + path,
		"redirect": serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/to" {
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
				return
			}
			http.Redirect(w, r, "/to", http.StatusFound)
		}),
		"unknown length": serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			if _, err := w.Write(data); err != nil {
				t.Error(err)
			}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, files(filepath.Dir(path)))
			ctx := pluginsdk.WithOperationID(t.Context(), "op-1")
			got, err := b.add(ctx, url, "qcow2", "md5:"+strings.ToUpper(hex.EncodeToString(sum[:])))
			if err != nil {
				t.Fatal(err)
			}
			if got.SizeBytes != 8<<20 || got.ActualBytes != int64(len(data)) || got.Md5 != hex.EncodeToString(sum[:]) {
				t.Errorf("answer %v", got)
			}
			again, err := b.add(ctx, url, "qcow2", "")
			if err != nil || again.InstallPath != got.InstallPath {
				t.Errorf("repeat: %v %v", again, err)
			}
			_, err = b.add(ctx, url, "raw", "")
			requireClass(t, err, errs.Exists)
			reports := b.core.Reports()
			if last := reports[len(reports)-1]; last.Percent != 100 || last.OperationID != "op-1" {
				t.Errorf("progress %v", reports)
			}

			out, err := b.ExportImage(ctx, &pluginv1.ExportImageRequest{Store: b.row, ImageUuid: imageUUID, ReaderIp: "127.0.0.1"})
			if err != nil {
				t.Fatal(err)
			}
			src := out.Source
			if src.Format != "qcow2" || src.Md5 != got.Md5 || src.SizeBytes != int64(len(data)) {
				t.Errorf("source %v", src)
			}
			if status, body := get(t, src.Url); status != http.StatusOK || !bytes.Equal(body, data) {
				t.Errorf("status %d, %d bytes", status, len(body))
			}
			if status, body := get(t, src.Url, "Range", "bytes=100-199"); status != http.StatusPartialContent || !bytes.Equal(body, data[100:200]) {
				t.Errorf("range: status %d, %d bytes", status, len(body))
			}

			for range 2 { // the second finds nothing
				if _, err := b.DeleteImage(ctx, &pluginv1.DeleteImageRequest{Store: b.row, ImageUuid: imageUUID}); err != nil {
					t.Fatal(err)
				}
			}
			b.requireEmpty(t)
			if status, _ := get(t, src.Url); status != http.StatusNotFound {
				t.Errorf("link of a deleted image: status %d", status)
			}
			_, err = b.ExportImage(ctx, &pluginv1.ExportImageRequest{Store: b.row, ImageUuid: imageUUID})
			requireClass(t, err, errs.NotFound)
		})
	}
}

func TestAddFailureLeavesNothing(t *testing.T) {
	path, data := makeImage(t)
	dir := filepath.Dir(path)
	backed, external, sparse := filepath.Join(dir, "backed.qcow2"), filepath.Join(dir, "ext.qcow2"), filepath.Join(dir, "flat.vmdk")
	qemuImg(t, "create", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", backed)
	qemuImg(t, "create", "-f", "qcow2", "-o", "data_file="+filepath.Join(dir, "ext.data"), external, "1M")
	qemuImg(t, "create", "-f", "vmdk", "-o", "subformat=monolithicFlat", sparse, "1M")
	for _, err := range []error{
		os.WriteFile(filepath.Join(dir, "empty.raw"), nil, 0o600),
		os.WriteFile(filepath.Join(dir, "zip.raw"), []byte("\x1f\x8bpacked"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	stuck := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5000000")
		if _, err := w.Write(data[:1000]); err != nil {
			t.Error(err)
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	cases := map[string]struct {
		url, format, checksum string
		class                 errs.Class
		says                  string
	}{
		"404":             {serve(t, http.NotFound), "qcow2", "", errs.Invalid, "404"},
		"500":             {serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }), "qcow2", "", errs.Unavailable, "500"},
		"nobody listens":  {"http://127.0.0.1:1/x", "qcow2", "", errs.Unavailable, "refused"},
		"wrong md5":       {"file://" + path, "qcow2", "md5:" + strings.Repeat("0", 32), errs.Invalid, "md5"},
		"wrong sha256":    {"file://" + path, "qcow2", "sha256:" + strings.Repeat("0", 64), errs.Invalid, "sha256"},
		"odd checksum":    {"file://" + path, "qcow2", "crc:12", errs.Invalid, "checksum"},
		"stalled":         {serve(t, stuck), "qcow2", "", errs.Unavailable, "no byte came"},
		"never answers":   {serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), "qcow2", "", errs.Unavailable, "no answer"},
		"qcow2 not raw":   {"file://" + path, "raw", "", errs.Invalid, "its bytes are qcow2"},
		"text not qcow2":  {"file://" + filepath.Join(dir, "disk.raw"), "qcow2", "", errs.Invalid, "something else"},
		"raw not iso":     {"file://" + filepath.Join(dir, "disk.raw"), "iso", "", errs.Invalid, "not iso"},
		"packed":          {"file://" + filepath.Join(dir, "zip.raw"), "raw", "", errs.Invalid, "cannot be unpacked (gzip)"},
		"empty":           {"file://" + filepath.Join(dir, "empty.raw"), "raw", "", errs.Invalid, "empty"},
		"unknown format":  {"file://" + path, "doc", "", errs.Invalid, "format"},
		"backing file":    {"file://" + backed, "qcow2", "", errs.Invalid, "another file"},
		"external data":   {"file://" + external, "qcow2", "", errs.Invalid, "another file"},
		"vmdk descriptor": {"file://" + sparse, "vmdk", "", errs.Invalid, "vmdk"},
		"cut off qcow2":   {serveBytes(t, data[:90]), "qcow2", "", errs.Invalid, "cut off"},
		"other machine":   {"file://otherhost/x", "raw", "", errs.Invalid, "management node"},
		"ftp":             {"ftp://127.0.0.1/x", "raw", "", errs.Invalid, "ftp"},
		"no server":       {"http:///x", "raw", "", errs.Invalid, "server"},
		"cloud metadata":  {"http://169.254.169.254/latest", "raw", "", errs.Denied, "link-local"},
		"redirect to file": {serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}), "raw", "", errs.Unavailable, "unsupported protocol"},
		"truncated": {serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5000000")
			if _, err := w.Write(data); err != nil {
				t.Error(err)
			}
		}), "qcow2", "", errs.Unavailable, "ended after"},
	}
	b := newBench(t, files(dir))
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, err := b.add(t.Context(), c.url, c.format, c.checksum)
			requireClass(t, err, c.class)
			if !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), imageUUID) {
				t.Errorf("error does not say %q of the image: %v", c.says, err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
			b.requireEmpty(t)
		})
	}
	if data, err := os.ReadFile(path); err != nil || len(data) == 0 {
		t.Errorf("the source of failed images was changed: %v", err)
	}
}

func TestSecretsStayOutOfErrors(t *testing.T) {
	b := newBench(t)
	url := strings.Replace(serve(t, http.NotFound), "http://", "http://user:pa55word@", 1) + "/x?signature=s3cret"
	for _, u := range []string{url, "http://user:pa55word@127.0.0.1:1/?signature=s3cret", "http://user:pa55word@127.0.0.1:bad/?signature=s3cret"} {
		_, err := b.add(t.Context(), u, "raw", "")
		if err == nil || strings.Contains(err.Error(), "pa55word") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v", err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	root := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(root, 0); err != nil {
			t.Error(err)
		}
	})
	b := benchAt(t, root)
	big := noise(4 << 20)
	var sent atomic.Int64
	for name, url := range map[string]string{
		"size known": serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(big))
		}),
		"size unknown": serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			n, _ := w.Write(big) // the reader hangs up
			sent.Add(int64(n))
		}),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.add(t.Context(), url, "raw", "")
			requireClass(t, err, errs.Exhausted)
			b.requireEmpty(t)
		})
	}
	c, err := b.StoreCapacity(t.Context(), &pluginv1.StoreCapacityRequest{Store: b.row})
	if err != nil || c.Capacity.TotalBytes != 2<<20 {
		t.Errorf("capacity %v %v", c, err)
	}
}

func TestOneDownloadForManyCalls(t *testing.T) {
	_, data := makeImage(t)
	var requests atomic.Int32
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		time.Sleep(50 * time.Millisecond)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	})
	b := newBench(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := b.add(t.Context(), url, "qcow2", ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := requests.Load(); n != 1 {
		t.Errorf("%d downloads", n)
	}
}

func TestCancelThenDelete(t *testing.T) {
	b := newBench(t)
	began := make(chan struct{})
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		w.(http.Flusher).Flush()
		close(began)
		for r.Context().Err() == nil {
			if _, err := w.Write([]byte("x")); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := b.add(ctx, url, "raw", "")
		failed <- err
	}()
	<-began
	cancel()
	requireClass(t, <-failed, errs.Cancelled)
	if _, err := b.DeleteImage(t.Context(), &pluginv1.DeleteImageRequest{Store: b.row, ImageUuid: imageUUID}); err != nil {
		t.Fatal(err)
	}
	b.requireEmpty(t)
}

func TestSweepTakesOnlyWhatNobodyUses(t *testing.T) {
	b := newBench(t)
	old := time.Now().Add(-2 * sweepAge)
	f := folder{root: b.root}
	left, err := f.newDraft(imageUUID, "raw", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(f.incoming(), "crashed"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{left.dir, filepath.Join(f.incoming(), "crashed")} {
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	sweepLeaves := func(want int) {
		t.Helper()
		if _, err := b.ConnectStore(t.Context(), &pluginv1.ConnectStoreRequest{Store: b.row}); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(f.incoming())
		if err != nil || len(entries) != want {
			t.Errorf("%v %v, want %d", entries, err, want)
		}
	}
	sweepLeaves(1)
	if err := left.lock.Close(); err != nil { // as when its process ends
		t.Fatal(err)
	}
	sweepLeaves(0)
}

func TestBadStores(t *testing.T) {
	b := newBench(t)
	for name, change := range map[string]func(*pluginv1.Storage){
		"relative":      func(s *pluginv1.Storage) { s.Url = "images" },
		"dots":          func(s *pluginv1.Storage) { s.Url = "/srv/../etc/images" },
		"system folder": func(s *pluginv1.Storage) { s.Url = "/proc/images" },
		"not a folder":  func(s *pluginv1.Storage) { s.Url = b.root + "/file" },
		"hostname":      func(s *pluginv1.Storage) { s.Fields["hostname"] = "a b/c" },
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(b.root+"/file", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			row := &pluginv1.Storage{Uuid: storeUUID, Url: b.root, Fields: map[string]string{"hostname": "h"}}
			change(row)
			_, err := b.ConnectStore(t.Context(), &pluginv1.ConnectStoreRequest{Store: row})
			requireClass(t, err, errs.Invalid)
			if !strings.Contains(err.Error(), storeUUID) {
				t.Errorf("error does not name the store: %v", err)
			}
		})
	}
}

func FuzzImageURL(f *testing.F) {
	for _, s := range []string{
		"http://h/x", "https://u:p@h:1/x?q#f", "file:///tmp/x.qcow2", "file:///etc/../tmp/x", "file:////etc/passwd",
		"file:///%65tc/passwd", "file:///tmp/%00", "upload://x", "file:/etc/shadow", "FILE:///proc/1/mem", "file:///tmp/.x/y",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := parseImageURL("image x", text)
		if err != nil {
			if errs.ClassOf(err) != errs.Invalid {
				t.Fatalf("class %s: %v", errs.ClassOf(err), err)
			}
			return
		}
		switch u.Scheme {
		case "http", "https":
			if u.Hostname() == "" {
				t.Fatal("no server")
			}
		case "file":
			if !filepath.IsAbs(u.Path) || filepath.Clean(u.Path) != u.Path {
				t.Fatalf("path %q", u.Path)
			}
		case "upload":
		default:
			t.Fatalf("scheme %q", u.Scheme)
		}
	})
}

func FuzzStoreURL(f *testing.F) {
	for _, s := range []string{"/srv/images", "/srv//x", "/srv/./x", "//etc/x", "/etc", "/", "", "/a,b", "/a\nb", "/srv/x/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, url string) {
		got, err := folderOf(&pluginv1.Storage{Uuid: storeUUID, Url: url})
		if err != nil {
			requireClass(t, err, errs.Invalid)
			return
		}
		if filepath.Clean(got.root) != got.root || got.root == "/" || strings.ContainsAny(got.root, ",:\n\x00 '\"") || within(got.root, storeForbidden) != "" {
			t.Fatalf("accepted %q", url)
		}
	})
}

func shell(t *testing.T, script string) {
	t.Helper()
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
}

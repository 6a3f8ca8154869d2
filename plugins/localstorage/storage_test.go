package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	storageUUID = "0123456789abcdef0123456789abcdef"
	hostUUID    = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	imageUUID   = "11111111111111111111111111111111"
	volumeUUID  = "22222222222222222222222222222222"
	miB         = 1 << 20
)

func TestMain(m *testing.M) { rig.Main(m, rig.WithPackages("qemu-utils")) }

// bench is the plugin behind real gRPC with the real agent on its one host.
type bench struct {
	pluginsdk.PrimaryStorageClient
	core *plugintest.Core
	row  *pluginv1.Storage
	host *pluginv1.Host
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return benchAt(t, filepath.Join(t.TempDir(), "storage"))
}

func benchAt(t *testing.T, root string) *bench {
	t.Helper()
	core := newCore(t)
	return attach(t, plugintest.Loopback(t, newPlugin(), plugintest.WithCore(core)), core, root)
}

func newCore(t *testing.T) *plugintest.Core {
	t.Helper()
	agent := plugintest.AgentAt(t, rig.HostAgent(t))
	return &plugintest.Core{Hosts: map[string]hostv1.HostAgentServiceClient{hostUUID: agent}}
}

func attach(t *testing.T, conn *plugintest.Conn, core *plugintest.Core, root string) *bench {
	t.Helper()
	b := &bench{
		PrimaryStorageClient: conn.PrimaryStorage(), core: core,
		row:  &pluginv1.Storage{Uuid: storageUUID, Type: "LocalStorage", Url: root},
		host: &pluginv1.Host{Uuid: hostUUID, HypervisorType: "KVM"},
	}
	for range 2 { // the core repeats it whenever the host connects
		got, err := b.AttachHost(t.Context(), &pluginv1.AttachHostRequest{Storage: b.row, Host: b.host})
		if err != nil {
			t.Fatal(err)
		}
		if got.Capacity.TotalBytes <= 0 || got.Capacity.AvailableBytes <= 0 {
			t.Fatalf("capacity %v", got.Capacity)
		}
	}
	return b
}

func (b *bench) ensure(ctx context.Context, src *pluginv1.ImageSource) (*pluginv1.EnsureImageResponse, error) {
	return b.EnsureImage(ctx, &pluginv1.EnsureImageRequest{Storage: b.row, Host: b.host, ImageUuid: imageUUID, Source: src})
}

func (b *bench) create(t *testing.T, size int64, backing string) (*pluginv1.CreateVolumeResponse, error) {
	return b.CreateVolume(t.Context(), &pluginv1.CreateVolumeRequest{
		Storage: b.row, Host: b.host, VolumeUuid: volumeUUID, SizeBytes: size, BackingPath: backing,
	})
}

func (b *bench) remove(t *testing.T, installPath string) error {
	_, err := b.DeleteVolume(t.Context(), &pluginv1.DeleteVolumeRequest{
		Storage: b.row, Host: b.host, VolumeUuid: volumeUUID, InstallPath: installPath,
	})
	return err
}

func (b *bench) list(t *testing.T) []string {
	t.Helper()
	got, err := b.ListVolumes(t.Context(), &pluginv1.ListVolumesRequest{Storage: b.row, Host: b.host})
	if err != nil {
		t.Fatal(err)
	}
	return got.VolumeUuids
}

func requireClass(t *testing.T, err error, want errs.Class) {
	t.Helper()
	if got := errs.ClassOf(err); got != want {
		t.Fatalf("class %q, want %q: %v", got, want, err)
	}
}

func qemuImg(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.Command("qemu-img", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("qemu-img %v: %v: %s", args, err, out)
	}
	return out
}

// image makes a qcow2 of 8 MiB, with text in its first bytes.
func image(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	raw, qcow2 := filepath.Join(dir, "raw"), filepath.Join(dir, "qcow2")
	if err := os.WriteFile(raw, bytes.Repeat([]byte("content "), miB), 0o600); err != nil {
		t.Fatal(err)
	}
	qemuImg(t, "convert", "-f", "raw", "-O", "qcow2", raw, qcow2)
	data, err := os.ReadFile(qcow2)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// source serves data, as a backup storage does, and counts the downloads.
func source(t *testing.T, data []byte, format string) (*pluginv1.ImageSource, *atomic.Int32) {
	t.Helper()
	count := &atomic.Int32{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "of the source" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		count.Add(1)
		time.Sleep(30 * time.Millisecond)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(s.Close)
	sum := md5.Sum(data)
	return &pluginv1.ImageSource{
		Url: s.URL + "/x", Headers: map[string]string{"X-Key": "of the source"},
		SizeBytes: int64(len(data)), Md5: hex.EncodeToString(sum[:]), Format: format,
	}, count
}

type diskInfo struct {
	VirtualSize   int64  `json:"virtual-size"`
	Format        string `json:"format"`
	Backing       string `json:"backing-filename"`
	BackingFormat string `json:"backing-filename-format"`
}

func info(t *testing.T, path string) (d diskInfo) {
	t.Helper()
	if err := json.Unmarshal(qemuImg(t, "info", "--output=json", path), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestVolumeOnImage(t *testing.T) {
	for name, c := range map[string]struct {
		format, backingFormat string
		asked, want           int64
	}{
		"smaller than the image": {"qcow2", "qcow2", miB, 8 * miB},
		"size of the image":      {"qcow2", "qcow2", 0, 8 * miB},
		"larger":                 {"qcow2", "qcow2", 20 * miB, 20 * miB},
		"raw image":              {"raw", "raw", 20 * miB, 20 * miB},
		"iso image":              {"iso", "raw", 0, 2 * miB},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			data := image(t)
			if c.format != "qcow2" {
				data = bytes.Repeat([]byte("raw "), 2*miB/4)
			}
			src, _ := source(t, data, c.format)
			cached, err := b.ensure(t.Context(), src)
			if err != nil {
				t.Fatal(err)
			}
			if want := b.row.Url + "/imagecache/" + imageUUID + "." + c.format; cached.InstallPath != want {
				t.Errorf("cached at %s", cached.InstallPath)
			}
			first, err := b.create(t, c.asked, cached.InstallPath)
			if err != nil {
				t.Fatal(err)
			}
			again, err := b.create(t, c.asked, cached.InstallPath)
			if err != nil || again.InstallPath != first.InstallPath || again.SizeBytes != first.SizeBytes {
				t.Errorf("repeat: %v %v", again, err)
			}
			got := info(t, first.InstallPath)
			if want := (diskInfo{c.want, "qcow2", cached.InstallPath, c.backingFormat}); got != want || first.SizeBytes != c.want {
				t.Errorf("disk %+v, want %+v, told %v", got, want, first)
			}
			if u := b.list(t); !slices.Equal(u, []string{volumeUUID}) {
				t.Errorf("list %v", u)
			}
		})
	}
}

func TestBlankResizeDelete(t *testing.T) {
	b := newBench(t)
	made, err := b.create(t, 4*miB, "")
	if err != nil {
		t.Fatal(err)
	}
	resize := func(size int64) (*pluginv1.ResizeVolumeResponse, error) {
		return b.ResizeVolume(t.Context(), &pluginv1.ResizeVolumeRequest{
			Storage: b.row, Host: b.host, VolumeUuid: volumeUUID, InstallPath: made.InstallPath, SizeBytes: size,
		})
	}
	for range 2 {
		if got, err := resize(10 * miB); err != nil || got.SizeBytes != 10*miB {
			t.Errorf("%v %v", got, err)
		}
	}
	_, err = resize(miB)
	requireClass(t, err, errs.Invalid)
	if d := info(t, made.InstallPath); d.VirtualSize != 10*miB {
		t.Errorf("%+v", d)
	}
	requireClass(t, b.remove(t, "/srv/elsewhere/"+volumeUUID+".qcow2"), errs.Invalid)
	for range 2 { // by UUID alone; the second finds nothing
		if err := b.remove(t, ""); err != nil {
			t.Fatal(err)
		}
	}
	if u := b.list(t); len(u) > 0 {
		t.Errorf("left %v", u)
	}
	_, err = resize(20 * miB)
	requireClass(t, err, errs.NotFound)
}

func TestEnsureImageOnce(t *testing.T) {
	b := newBench(t)
	src, downloads := source(t, image(t), "qcow2")
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			got, err := b.ensure(t.Context(), src)
			if err != nil || got.VirtualBytes != 8*miB {
				t.Errorf("%v %v", got, err)
			}
		})
	}
	wg.Wait()
	if n := downloads.Load(); n != 1 {
		t.Errorf("%d downloads", n)
	}
	for range 2 {
		if _, err := b.DeleteCachedImage(t.Context(), &pluginv1.DeleteCachedImageRequest{Storage: b.row, Host: b.host, ImageUuid: imageUUID}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.ensure(t.Context(), src); err != nil || downloads.Load() != 2 {
		t.Errorf("after removal: %d downloads, %v", downloads.Load(), err)
	}
}

// A call that waits for the download of another must not fail with it.
func TestEnsureImageOutlivesTheFirstCaller(t *testing.T) {
	b := newBench(t)
	data := image(t)
	src, _ := source(t, data, "qcow2")
	began, proceed := make(chan struct{}, 10), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		select {
		case <-proceed:
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(s.Close)
	src.Url = s.URL
	first, cancel := context.WithCancel(t.Context())
	results := [2]chan error{make(chan error, 1), make(chan error, 1)}
	for i, ctx := range []context.Context{first, t.Context()} {
		go func() {
			_, err := b.ensure(ctx, src)
			results[i] <- err
		}()
		if i == 0 {
			<-began
		}
	}
	time.Sleep(100 * time.Millisecond) // the second is waiting now; if not, it still must succeed
	cancel()
	requireClass(t, <-results[0], errs.Cancelled)
	close(proceed)
	if err := <-results[1]; err != nil {
		t.Fatal(err)
	}
}

func TestProgressReachesTheOperation(t *testing.T) {
	b := newBench(t)
	data := image(t)
	src, _ := source(t, data, "qcow2")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for part := range slices.Chunk(data, len(data)/4+1) {
			if _, err := w.Write(part); err != nil {
				t.Error(err)
			}
			w.(http.Flusher).Flush()
			time.Sleep(300 * time.Millisecond)
		}
	}))
	t.Cleanup(s.Close)
	src.Url, src.Headers = s.URL, nil
	if _, err := b.ensure(pluginsdk.WithOperationID(t.Context(), "op-7"), src); err != nil {
		t.Fatal(err)
	}
	reports := b.core.Reports()
	if len(reports) == 0 || reports[0].OperationID != "op-7" || reports[0].Percent <= 0 {
		t.Errorf("progress %v", reports)
	}
}

func TestEnsureImageFails(t *testing.T) {
	good := image(t)
	backed := filepath.Join(t.TempDir(), "backed.qcow2")
	qemuImg(t, "create", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", backed)
	bad, err := os.ReadFile(backed)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data   []byte
		change func(*pluginv1.ImageSource)
		class  errs.Class
	}{
		"damaged":        {good, func(s *pluginv1.ImageSource) { s.Md5 = strings.Repeat("0", 32) }, errs.Invalid},
		"too short":      {good, func(s *pluginv1.ImageSource) { s.SizeBytes += 5 }, errs.Invalid},
		"gone":           {good, func(s *pluginv1.ImageSource) { s.Url = "http://127.0.0.1:1/" }, errs.Unavailable},
		"no right":       {good, func(s *pluginv1.ImageSource) { s.Headers = nil }, errs.Denied},
		"on a file":      {bad, func(*pluginv1.ImageSource) {}, errs.Invalid},
		"unknown format": {good, func(s *pluginv1.ImageSource) { s.Format = "vmdk" }, errs.Invalid},
		"no source":      {good, func(s *pluginv1.ImageSource) { s.Url = "" }, errs.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			src, _ := source(t, c.data, "qcow2")
			c.change(src)
			_, err := b.ensure(t.Context(), src)
			requireClass(t, err, c.class)
			if !strings.Contains(err.Error(), imageUUID) {
				t.Errorf("the error does not name the image: %v", err)
			}
			left, err := os.ReadDir(b.row.Url + "/imagecache")
			if err != nil || len(left) > 0 {
				t.Errorf("left %v %v", left, err)
			}
		})
	}
}

func TestFullDisk(t *testing.T) {
	root := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(root, 0); err != nil {
			t.Error(err)
		}
	})
	b := benchAt(t, root)
	src, _ := source(t, make([]byte, 3*miB), "raw")
	_, err := b.ensure(t.Context(), src)
	requireClass(t, err, errs.Exhausted)
	got, err := b.StorageCapacity(t.Context(), &pluginv1.StorageCapacityRequest{Storage: b.row, Host: b.host})
	if err != nil || got.Capacity.TotalBytes != miB || got.Capacity.AvailableBytes < miB/2 {
		t.Errorf("after the failure: %v %v", got, err)
	}
}

func TestBadInput(t *testing.T) {
	b := newBench(t)
	secret := filepath.Join(t.TempDir(), "secret.qcow2")
	qemuImg(t, "create", "-f", "qcow2", secret, "1M")
	if err := os.Symlink(secret, b.row.Url+"/imagecache/"+imageUUID+".qcow2"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*pluginv1.CreateVolumeRequest)
		class  errs.Class
	}{
		"uuid":                {func(r *pluginv1.CreateVolumeRequest) { r.VolumeUuid = "../x" }, errs.Invalid},
		"no size":             {func(r *pluginv1.CreateVolumeRequest) { r.SizeBytes = 0 }, errs.Invalid},
		"negative size":       {func(r *pluginv1.CreateVolumeRequest) { r.SizeBytes = -1 }, errs.Invalid},
		"format":              {func(r *pluginv1.CreateVolumeRequest) { r.Format = "vmdk" }, errs.Invalid},
		"backing outside":     {func(r *pluginv1.CreateVolumeRequest) { r.BackingPath = secret }, errs.Invalid},
		"backing is a volume": {func(r *pluginv1.CreateVolumeRequest) { r.BackingPath = b.row.Url + "/volumes/" + volumeUUID + ".qcow2" }, errs.Invalid},
		"backing with dots":   {func(r *pluginv1.CreateVolumeRequest) { r.BackingPath = b.row.Url + "/imagecache/../volumes/x" }, errs.Invalid},
		"backing is a link out": {func(r *pluginv1.CreateVolumeRequest) {
			r.BackingPath = b.row.Url + "/imagecache/" + imageUUID + ".qcow2"
		}, errs.Invalid},
		"backing does not exist":   {func(r *pluginv1.CreateVolumeRequest) { r.BackingPath = b.row.Url + "/imagecache/" + imageUUID + ".raw" }, errs.NotFound},
		"no host":                  {func(r *pluginv1.CreateVolumeRequest) { r.Host = nil }, errs.Invalid},
		"unknown host":             {func(r *pluginv1.CreateVolumeRequest) { r.Host = &pluginv1.Host{Uuid: storageUUID} }, errs.NotFound},
		"storage in system folder": {func(r *pluginv1.CreateVolumeRequest) { r.Storage = &pluginv1.Storage{Uuid: storageUUID, Url: "/etc"} }, errs.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			r := &pluginv1.CreateVolumeRequest{Storage: b.row, Host: b.host, VolumeUuid: volumeUUID, SizeBytes: miB}
			c.change(r)
			_, err := b.CreateVolume(t.Context(), r)
			requireClass(t, err, c.class)
			if u := b.list(t); len(u) > 0 {
				t.Errorf("made %v", u)
			}
		})
	}
}

func TestBadURLs(t *testing.T) {
	b := newBench(t)
	for _, url := range []string{"", "/", "relative", "/dev", "/dev/shm", "/proc/x", "/sys/x", "/etc/kumo", "/usr", "/srv/../etc", "/srv/a,b", "/srv/a b", "/srv/a\nb", "file:///srv"} {
		_, err := b.ConnectStorage(t.Context(), &pluginv1.ConnectStorageRequest{Storage: &pluginv1.Storage{Uuid: storageUUID, Url: url}})
		if errs.ClassOf(err) != errs.Invalid || !strings.Contains(err.Error(), storageUUID) {
			t.Errorf("%q: %v", url, err)
		}
	}
	for _, url := range []string{"/srv/kumo", "/kumo_storage/", "/srv//x", "/var/lib/kumo/local"} {
		if _, err := b.ConnectStorage(t.Context(), &pluginv1.ConnectStorageRequest{Storage: &pluginv1.Storage{Uuid: storageUUID, Url: url}}); err != nil {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func FuzzLayout(f *testing.F) {
	f.Add("/srv/kumo", volumeUUID, "qcow2", "/srv/kumo/imagecache/"+imageUUID+".qcow2")
	f.Add("/dev/../srv", "x/../y", "raw/../..", "/srv/kumo/imagecache/../x")
	f.Add("/srv/kumo/", volumeUUID, "iso", "/srv/kumo/imagecache/"+imageUUID+".iso.qcow2")
	f.Fuzz(func(t *testing.T, url, uuid, format, backing string) {
		l, err := layoutOf(&pluginv1.Storage{Uuid: storageUUID, Url: url})
		if err != nil {
			requireClass(t, err, errs.Invalid)
			return
		}
		below := func(path string) {
			if filepath.Clean(path) != path || !strings.HasPrefix(path, l.root+"/") || strings.ContainsAny(path, ",: \n\x00'\"") {
				t.Fatalf("%q of %q", path, l.root)
			}
		}
		if path, err := l.volume(uuid, ""); err == nil {
			below(path)
		}
		if path, err := l.image(uuid, format); err == nil {
			below(path)
		}
		if _, err := l.backing(uuid, backing); err == nil {
			below(backing)
			if filepath.Dir(backing) != l.cache() {
				t.Fatalf("backing %q", backing)
			}
		}
	})
}

// A host's folder that has other things in it is not taken for a storage's.
func TestFolderOfOtherThings(t *testing.T) {
	b := newBench(t)
	attach := func(root string) error {
		_, err := b.AttachHost(t.Context(), &pluginv1.AttachHostRequest{Host: b.host,
			Storage: &pluginv1.Storage{Uuid: storageUUID, Type: "LocalStorage", Url: root}})
		return err
	}
	home := t.TempDir()
	if err := os.Mkdir(home+"/.ssh", 0o700); err != nil {
		t.Fatal(err)
	}
	err := attach(home)
	requireClass(t, err, errs.Invalid)
	if got, failed := os.ReadDir(home); failed != nil || len(got) != 1 || !strings.Contains(err.Error(), ".ssh") {
		t.Errorf("folder %v %v: %v", got, failed, err)
	}
	disk := t.TempDir()
	if err := os.Mkdir(disk+"/lost+found", 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds its own
		if err := attach(disk); err != nil {
			t.Error(err)
		}
	}
}

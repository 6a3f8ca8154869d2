package world

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

func id(kind string, n int) string { return fmt.Sprintf("%02x%030x", kind[0], n) }

var (
	hostA, hostB = id("h", 1), id("h", 2)
	store        = id("b", 1)
	storage      = id("s", 1)
	image        = id("i", 1)
	net1         = id("n", 1)
	l3           = id("l", 1)
)

const (
	gib  = int64(1) << 30
	eth0 = "eth0"
)

func open(t testing.TB, dir string) *Live {
	t.Helper()
	l, err := Open(dir, Limits{CPU: 10, StrictNICs: true})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// cloud is a world with two connected hosts, a storage of 100 GiB with an
// image of 1 GiB (1 MiB in the cache) and a network with services.
func cloud(t testing.TB, dir string) *Live {
	t.Helper()
	l := open(t, dir)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := l.ConnectStorage(Storage{UUID: storage, Total: 200 * gib, Free: 100 * gib})
	must(err)
	_, err = l.ConnectStore(Store{UUID: store, Total: gib, Free: gib})
	must(err)
	for _, h := range []string{hostA, hostB} {
		must(l.ConnectHost(Host{UUID: h, CPUs: 8, Memory: 16 * gib}))
		_, err = l.AttachHost(storage, h)
		must(err)
		bridge, err := l.Realize(h, net1, eth0)
		must(err)
		must(comes(l, h, []Network{{L3: l3, Bridge: bridge, Services: []string{"DHCP"}}}, nil))
	}
	_, err = l.EnsureImage(hostA, CachedImage{Image: image, Storage: storage, Actual: 1 << 20, Virtual: gib})
	must(err)
	return l
}

func volume(n int) Volume {
	return Volume{UUID: id("v", n), Storage: storage, Size: gib, Format: "qcow2", Backing: CachePath(storage, image)}
}

func vm(n int, host string) VM {
	return VM{UUID: id("a", n), Host: host, CPUs: 1, Memory: gib,
		Disks: []Disk{{UUID: id("v", n), Path: VolumePath(storage, id("v", n))}},
		NICs:  []NIC{{UUID: id("c", n), MAC: fmt.Sprintf("fa:00:00:00:%02x:%02x", n>>8, n&255), Bridge: bridgeName(eth0)}}}
}

// comes is a change by which something comes, whatever the revision; goes one by which
// something goes.
func comes(l *Live, host string, networks []Network, bindings []Binding) error {
	return goes(l, host, NetworkChange{Networks: networks, Bindings: bindings})
}

func goes(l *Live, host string, c NetworkChange) error {
	_, err := l.Apply(host, "", "", c)
	return err
}

func syncs(l *Live, host string, networks []Network, bindings []Binding) error {
	_, _, err := l.Sync(host, "1", networks, bindings)
	return err
}

func prepare(l *Live, host string, n int) error {
	return comes(l, host, []Network{{L3: l3, Bridge: bridgeName(eth0), Services: []string{"DHCP"}}}, []Binding{{
		NIC: id("c", n), VM: id("a", n), L3: l3, MAC: fmt.Sprintf("fa:00:00:00:%02x:%02x", n>>8, n&255), IP: fmt.Sprintf("10.0.%d.%d", n>>8, n&255)}})
}

// launch does all that a guest needs and starts it.
func launch(l *Live, host string, n int) error {
	if _, err := l.CreateVolume(host, volume(n)); err != nil {
		return err
	}
	if err := prepare(l, host, n); err != nil {
		return err
	}
	_, err := l.StartVM(vm(n, host))
	return err
}

func want(t *testing.T, what string, err error, class errs.Class) {
	t.Helper()
	if errs.ClassOf(err) != class {
		t.Errorf("%s: %v; want class %q", what, err, class)
	}
}

func TestGuestLife(t *testing.T) {
	l := cloud(t, t.TempDir())
	defer l.Close()
	steps := []struct {
		what  string
		do    func() error
		class errs.Class
	}{
		{"start without a volume", func() error { _, err := l.StartVM(vm(1, hostA)); return err }, errs.Invalid},
		{"create volume", func() error { _, err := l.CreateVolume(hostA, volume(1)); return err }, ""},
		{"create volume again", func() error { _, err := l.CreateVolume(hostA, volume(1)); return err }, ""},
		{"start without prepared NIC", func() error { _, err := l.StartVM(vm(1, hostA)); return err }, errs.Invalid},
		{"prepare", func() error { return prepare(l, hostA, 1) }, ""},
		{"start", func() error { _, err := l.StartVM(vm(1, hostA)); return err }, ""},
		{"start again", func() error { _, err := l.StartVM(vm(1, hostA)); return err }, ""},
		{"start on another host", func() error { _, err := l.StartVM(vm(1, hostB)); return err }, errs.Refused},
		{"delete volume in use", func() error { return l.DeleteVolume(storage, id("v", 1)) }, errs.Refused},
		{"delete image in use", func() error { return l.DeleteCachedImage(storage, image) }, errs.Refused},
		{"detach storage in use", func() error { return l.DetachHost(storage, hostA) }, errs.Refused},
		{"unrealize bridge in use", func() error { return l.Unrealize(hostA, net1) }, errs.Refused},
		{"realize on a used interface", func() error { _, err := l.Realize(hostA, id("n", 2), eth0); return err }, errs.Exists},
		{"pause", func() error { return l.PauseVM(hostA, id("a", 1)) }, ""},
		{"pause again", func() error { return l.PauseVM(hostA, id("a", 1)) }, ""},
		{"resume", func() error { return l.ResumeVM(hostA, id("a", 1)) }, ""},
		{"reboot", func() error { _, err := l.RebootVM(vm(1, hostA)); return err }, ""},
		{"stop on the wrong host", func() error { return l.StopVM(hostB, id("a", 1)) }, ""},
		{"stop", func() error { return l.StopVM(hostA, id("a", 1)) }, ""},
		{"stop again", func() error { return l.StopVM(hostA, id("a", 1)) }, ""},
		{"resume a stopped one", func() error { return l.ResumeVM(hostA, id("a", 1)) }, errs.Refused},
		{"start elsewhere unprepared", func() error { _, err := l.StartVM(vm(1, hostB)); return err }, errs.Invalid},
		{"prepare elsewhere", func() error { return prepare(l, hostB, 1) }, ""},
		{"start elsewhere", func() error { _, err := l.StartVM(vm(1, hostB)); return err }, ""},
		{"release", func() error { return goes(l, hostA, NetworkChange{GoneNICs: []string{id("c", 1)}}) }, ""},
		{"destroy", func() error { return l.DestroyVM(hostB, id("a", 1)) }, ""},
		{"destroy again", func() error { return l.DestroyVM(hostB, id("a", 1)) }, ""},
		{"pause a gone one", func() error { return l.PauseVM(hostB, id("a", 1)) }, errs.NotFound},
		{"release network", func() error { return goes(l, hostB, NetworkChange{GoneNetworks: []string{l3}}) }, ""},
		{"delete volume", func() error { return l.DeleteVolume(storage, id("v", 1)) }, ""},
		{"delete volume again", func() error { return l.DeleteVolume(storage, id("v", 1)) }, ""},
		{"delete image", func() error { return l.DeleteCachedImage(storage, image) }, ""},
		{"start on an unknown host", func() error { _, err := l.StartVM(vm(1, id("h", 9))); return err }, errs.Unavailable},
		{"bad UUID", func() error {
			_, err := l.CreateVolume(hostA, Volume{UUID: "../x", Storage: storage, Size: 1})
			return err
		}, errs.Invalid},
	}
	for _, s := range steps {
		want(t, s.what, s.do(), s.class)
	}
	if w := l.Snapshot(); len(w.VMs)+len(w.Volumes)+len(w.Cache)+len(w.Bindings) != 0 {
		t.Errorf("left behind: %v %v %v %v", w.VMs, w.Volumes, w.Cache, w.Bindings)
	}
	if c, err := l.StorageCapacity(storage); err != nil || c != (Capacity{200 * gib, 100 * gib}) {
		t.Errorf("capacity in the end: %v, %v", c, err)
	}
}

func TestCapacityIsExact(t *testing.T) {
	l := cloud(t, t.TempDir())
	defer l.Close()
	for n := range 16 {
		want(t, "launch", launch(l, hostA, n), "")
	}
	want(t, "17th GiB on 16", launch(l, hostA, 16), errs.Exhausted)
	if c, _ := l.StorageCapacity(storage); c.Available != 100*gib-1<<20-17*gib {
		t.Errorf("%d bytes available after 17 volumes and an image", c.Available)
	}
	_, err := l.CreateVolume(hostA, Volume{UUID: id("v", 99), Storage: storage, Size: 83 * gib})
	want(t, "too large volume", err, errs.Exhausted)
	_, err = l.ResizeVolume(storage, hostA, id("v", 1), 84*gib)
	want(t, "too large resize", err, errs.Exhausted)
	_, err = l.ResizeVolume(storage, hostA, id("v", 1), gib-1)
	want(t, "shrink", err, errs.Invalid)
	_, err = l.ResizeVolume(storage, hostA, id("v", 1), 2*gib)
	want(t, "resize", err, "")
	_, err = l.CreateVolume(hostA, volume(1))
	want(t, "create as it was before the resize", err, errs.Exists)
	want(t, "make room", l.StopVM(hostA, id("a", 0)), "")
	_, err = l.StartVM(vm(16, hostA))
	want(t, "start in the room", err, "")
}

func TestDoubleAllocationIsRefused(t *testing.T) {
	l := cloud(t, t.TempDir())
	defer l.Close()
	want(t, "launch", launch(l, hostA, 1), "")
	want(t, "launch", launch(l, hostB, 2), "")
	sameIP := []Binding{{NIC: id("c", 3), VM: id("a", 3), L3: l3, MAC: "fa:00:00:00:00:03", IP: "10.0.0.1"}}
	nets := []Network{{L3: l3, Bridge: bridgeName(eth0), Services: []string{"DHCP"}}}
	want(t, "an IP twice", comes(l, hostB, nets, sameIP), errs.Exists)
	twice := []Binding{{NIC: id("c", 4), VM: id("a", 4), L3: l3, IP: "10.0.9.9"}, {NIC: id("c", 5), VM: id("a", 5), L3: l3, IP: "10.0.9.9"}}
	want(t, "an IP twice in one call", comes(l, hostB, nets, twice), errs.Exists)
	other := vm(3, hostB)
	other.Disks[0].Path = VolumePath(storage, id("v", 1))
	want(t, "prepare", prepare(l, hostB, 3), "")
	_, err := l.StartVM(other)
	want(t, "a disk twice", err, errs.Refused)
	stolen := vm(2, hostB)
	stolen.UUID = id("a", 7)
	_, err = l.CreateVolume(hostB, volume(7))
	want(t, "volume", err, "")
	stolen.Disks[0].Path = VolumePath(storage, id("v", 7))
	_, err = l.StartVM(stolen)
	want(t, "a MAC twice", err, errs.Refused)
	// A sync hands an address to another NIC in one step.
	want(t, "destroy", l.DestroyVM(hostA, id("a", 1)), "")
	want(t, "sync", syncs(l, hostA, nets, sameIP), "")
	want(t, "sync again", syncs(l, hostA, nets, sameIP), "")
	if w := l.Snapshot(); len(w.Violations()) != 0 {
		t.Error(w.Violations())
	}
}

func TestWatch(t *testing.T) {
	l := cloud(t, t.TempDir())
	defer l.Close()
	want(t, "launch", launch(l, hostA, 1), "")
	w, err := l.Watch(hostA)
	if err != nil {
		t.Fatal(err)
	}
	defer w.End()
	next := func(state State) {
		t.Helper()
		got, err := w.Next(t.Context())
		if err != nil || len(got) != 1 || got[0].UUID != id("a", 1) || got[0].State != state {
			t.Fatalf("watch: %v, %v; want %s", got, err, state)
		}
	}
	next(Running)
	want(t, "pause", l.PauseVM(hostA, id("a", 1)), "")
	next(Paused)
	want(t, "resume", l.ResumeVM(hostA, id("a", 1)), "")
	want(t, "stop", l.StopVM(hostA, id("a", 1)), "")
	next(Stopped)
	want(t, "prepare", prepare(l, hostB, 1), "")
	_, err = l.StartVM(vm(1, hostB))
	want(t, "start elsewhere", err, "")
	next(Stopped)
	want(t, "disconnect", l.DisconnectHost(hostA), "")
	if _, err = w.Next(t.Context()); !errors.Is(err, errs.Unavailable) {
		t.Errorf("watch of a lost host: %v", err)
	}
}

func TestDisconnectedHostKeepsItsGuests(t *testing.T) {
	l := cloud(t, t.TempDir())
	defer l.Close()
	want(t, "launch", launch(l, hostA, 1), "")
	want(t, "disconnect", l.DisconnectHost(hostA), "")
	want(t, "stop", l.StopVM(hostA, id("a", 1)), errs.Unavailable)
	if w := l.Snapshot(); len(w.Violations()) != 1 {
		t.Errorf("a guest on a lost host: violations %v", w.Violations())
	}
	want(t, "connect", l.ConnectHost(Host{UUID: hostA, CPUs: 8, Memory: 16 * gib}), "")
	if vms, err := l.VMs(hostA); err != nil || len(vms) != 1 || vms[0].State != Running {
		t.Errorf("after the reconnect: %v, %v", vms, err)
	}
	want(t, "never connected", l.DisconnectHost(id("h", 7)), "")
}

// storm does random calls from several goroutines, each on guests of its own,
// and expects only the errors that random orders must give.
func storm(t *testing.T, l *Live, seed uint64, calls int) {
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(g)))
			for range calls {
				n := 1 + g*3 + r.IntN(3)
				host := []string{hostA, hostB}[r.IntN(2)]
				var err error
				switch r.IntN(9) {
				case 0, 1, 2:
					err = launch(l, host, n)
				case 3:
					err = l.StopVM(host, id("a", n))
				case 4:
					err = l.DestroyVM(host, id("a", n))
				case 5:
					err = l.DeleteVolume(storage, id("v", n))
				case 6:
					err = goes(l, host, NetworkChange{GoneNICs: []string{id("c", n)}})
				case 7:
					err = l.PauseVM(host, id("a", n))
				case 8:
					_, err = l.ResizeVolume(storage, host, id("v", n), gib+int64(r.IntN(1000)))
				}
				switch errs.ClassOf(err) {
				case "", errs.Refused, errs.NotFound, errs.Exists, errs.Invalid, errs.Exhausted:
				default:
					t.Errorf("unexpected: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// sound checks that the live world, its index and its log tell the same.
func sound(t *testing.T, l *Live, dir string) {
	t.Helper()
	live := l.Snapshot()
	loaded, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(live, loaded) {
		t.Error("the world in memory and that of its log differ")
	}
	w, x := newWorld(), newIndex()
	for _, e := range loaded.entries() {
		x.change(&w, e)
		if err := w.apply(e); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(x, l.x) {
		t.Errorf("the index went wrong:\n%+v\nwant\n%+v", l.x, x)
	}
	// A random order may delete a stopped guest's volume and start nothing on it.
	if v := live.Violations(); len(v) != 0 {
		t.Errorf("violations: %v", v)
	}
}

func TestStormKeepsTheWorldSound(t *testing.T) {
	dir := t.TempDir()
	l := cloud(t, dir)
	for round := range 3 {
		storm(t, l, uint64(round), 400)
		sound(t, l, dir)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, dir)
		sound(t, l, dir)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCompaction(t *testing.T) {
	dir := t.TempDir()
	l := cloud(t, dir)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // a reader beside it always sees a whole world
		for {
			select {
			case <-stop:
				return
			default:
			}
			if w, err := Load(dir); err != nil || len(w.Hosts) != 2 {
				t.Errorf("Load beside a compaction: %d hosts, %v", len(w.Hosts), err)
			}
		}
	})
	for round := range 5 {
		l.journal.mu.Lock()
		l.journal.compactAt = 1000
		l.journal.mu.Unlock()
		storm(t, l, uint64(round), 100)
	}
	close(stop)
	wg.Wait()
	l.background.Wait()
	sound(t, l, dir)
	f, err := list(dir)
	if err != nil || len(f.snapshots) != 1 || len(f.logs) != 1 || f.snapshots[0] != f.logs[0] || f.logs[0] < 2 {
		t.Errorf("files after compaction: %+v, %v", f, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	defer l.Close()
	sound(t, l, dir)
}

func TestUnfinishedSnapshotIsIgnored(t *testing.T) {
	dir := t.TempDir()
	l := cloud(t, dir)
	if _, err := l.journal.rotate(); err != nil { // and the process dies before the snapshot
		t.Fatal(err)
	}
	want(t, "launch", launch(l, hostA, 1), "")
	if err := os.WriteFile(filepath.Join(dir, snapshotPrefix+"2.tmp"), []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := l.Snapshot()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	defer l.Close()
	if !reflect.DeepEqual(before, l.Snapshot()) {
		t.Error("the world changed")
	}
	sound(t, l, dir)
}

func TestHalfALineIsCutOff(t *testing.T) {
	dir := t.TempDir()
	l := cloud(t, dir)
	before := l.Snapshot()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, logPrefix+"1")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, `[{"vm":{"uuid":"`...), 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	want(t, "launch", launch(l, hostA, 1), "")
	after := l.Snapshot()
	sound(t, l, dir)
	if delete(after.VMs, id("a", 1)); len(after.VMs) != len(before.VMs) {
		t.Errorf("VMs: %v", after.VMs)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append([]byte("[{\"vn\":1}]\n"), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Limits{}); !errors.Is(err, errs.Internal) || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a damaged log: %v", err)
	}
}

func TestOpenWaitsForTheOther(t *testing.T) {
	dir := t.TempDir()
	first := cloud(t, dir)
	opened := make(chan *Live)
	go func() {
		l, err := Open(dir, Limits{})
		if err != nil {
			t.Error(err)
		}
		opened <- l
	}()
	select {
	case <-opened:
		t.Fatal("two processes have one world")
	case <-time.After(50 * time.Millisecond):
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	want(t, "a call after Close", launch(first, hostA, 1), errs.Unavailable)
	second := <-opened
	if w := second.Snapshot(); len(w.Hosts) != 2 {
		t.Errorf("%d hosts", len(w.Hosts))
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLoadAndFind(t *testing.T) {
	root := t.TempDir()
	if w, err := Load(root); err != nil || len(w.Hosts) != 0 {
		t.Errorf("an empty folder: %v, %v", w, err)
	}
	if _, err := Load(filepath.Join(root, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	dir := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l := cloud(t, dir)
	defer l.Close()
	if got, err := Find(root); err != nil || !reflect.DeepEqual(got, []string{dir}) {
		t.Errorf("Find: %v, %v", got, err)
	}
}

func BenchmarkCreateStart(b *testing.B) {
	l := open(b, b.TempDir())
	defer l.Close()
	const hosts = 100
	l.limits = Limits{}
	if _, err := l.ConnectStorage(Storage{UUID: storage, Total: 1 << 60, Free: 1 << 60}); err != nil {
		b.Fatal(err)
	}
	for h := range hosts {
		if err := l.ConnectHost(Host{UUID: id("h", h), CPUs: 1 << 30, Memory: 1 << 60}); err != nil {
			b.Fatal(err)
		}
		if _, err := l.AttachHost(storage, id("h", h)); err != nil {
			b.Fatal(err)
		}
		if _, err := l.Realize(id("h", h), net1, eth0); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := l.EnsureImage("", CachedImage{Image: image, Storage: storage, Actual: 1, Virtual: gib}); err != nil {
		b.Fatal(err)
	}
	var mu sync.Mutex
	next := 0
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			mu.Lock()
			next++
			n := next
			mu.Unlock()
			v := vm(n, id("h", n%hosts))
			v.NICs[0].MAC = fmt.Sprint(n)
			if _, err := l.CreateVolume(v.Host, volume(n)); err != nil {
				b.Error(err)
				return
			}
			if err := comes(l, v.Host, []Network{{L3: l3, Bridge: bridgeName(eth0)}}, []Binding{{
				NIC: v.NICs[0].UUID, VM: v.UUID, L3: l3, MAC: v.NICs[0].MAC, IP: v.NICs[0].MAC}}); err != nil {
				b.Error(err)
				return
			}
			if _, err := l.StartVM(v); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	l := cloud(b, dir)
	l.limits = Limits{CPU: 1e6, Memory: 1e6}
	const n = 10000
	if _, err := l.ConnectStorage(Storage{UUID: storage, Total: 1 << 60, Free: 1 << 60}); err != nil {
		b.Fatal(err)
	}
	for i := range n {
		if err := launch(l, hostA, i); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := open(b, dir).Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(n, "VMs")
}

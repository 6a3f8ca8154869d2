package driver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/plugins/simulator/fault"
	"github.com/kumo-cloud/kumo/plugins/simulator/world"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// asPlugin makes the test binary serve the plugin, so that a process can be
// killed without one being built.
const asPlugin = "KUMO_TEST_SERVE_SIMULATOR"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		pluginsdk.Serve(New("test"))
		return
	}
	os.Exit(m.Run())
}

func id(kind string, n int) string { return fmt.Sprintf("%02x%030x", kind[0], n) }

// rig is a plugin with a simulated cloud in it.
type rig struct {
	*plugintest.Conn
	dir     string
	hosts   []*pluginv1.Host
	storage *pluginv1.Storage
	store   *pluginv1.Storage
	l2      *pluginv1.L2Network
	l3      *pluginv1.L3Network
	cached  string
}

const (
	tib = int64(1) << 40
	gib = int64(1) << 30
)

func newRig(t testing.TB, conn *plugintest.Conn, dir string, hosts int) *rig {
	t.Helper()
	huge := fmt.Sprint(1000 * tib)
	r := &rig{
		Conn: conn, dir: dir,
		storage: &pluginv1.Storage{Uuid: id("s", 1), Type: primaryType, Fields: map[string]string{
			"totalPhysicalCapacity": huge, "availablePhysicalCapacity": huge}},
		store: &pluginv1.Storage{Uuid: id("b", 1), Type: backupType, Fields: map[string]string{
			"totalCapacity": huge, "availableCapacity": huge}},
		l2: &pluginv1.L2Network{Uuid: id("n", 1), Type: l2Type, PhysicalInterface: "eth0"},
		l3: &pluginv1.L3Network{Uuid: id("l", 1), Services: []string{"DHCP"}},
	}
	for n := range hosts {
		r.hosts = append(r.hosts, &pluginv1.Host{Uuid: id("h", n+1), HypervisorType: hypervisorType, Fields: map[string]string{
			"cpuCapacity": "1000000", "memoryCapacity": huge}})
	}
	must(t, r.connect(t.Context()))
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// connect does what the core does with hosts, storages and networks.
func (r *rig) connect(ctx context.Context) error {
	image := id("i", 1)
	if _, err := r.BackupStorage().ConnectStore(ctx, &pluginv1.ConnectStoreRequest{Store: r.store}); err != nil {
		return err
	}
	if _, err := r.BackupStorage().AddImage(ctx, &pluginv1.AddImageRequest{
		Store: r.store, ImageUuid: image, Url: "http://192.0.2.1/i.qcow2?virtual=1000&actual=10", Format: "qcow2"}); err != nil {
		return err
	}
	if _, err := r.PrimaryStorage().ConnectStorage(ctx, &pluginv1.ConnectStorageRequest{Storage: r.storage}); err != nil {
		return err
	}
	for _, h := range r.hosts {
		if _, err := r.Hypervisor().ConnectHost(ctx, &pluginv1.ConnectHostRequest{Host: h}); err != nil {
			return err
		}
		if _, err := r.PrimaryStorage().AttachHost(ctx, &pluginv1.AttachHostRequest{Storage: r.storage, Host: h}); err != nil {
			return err
		}
		bridge, err := r.L2Network().Realize(ctx, &pluginv1.RealizeRequest{Host: h, Network: r.l2})
		if err != nil {
			return err
		}
		r.l3.Bridge = bridge.Bridge
	}
	source, err := r.BackupStorage().ExportImage(ctx, &pluginv1.ExportImageRequest{Store: r.store, ImageUuid: image})
	if err != nil {
		return err
	}
	cached, err := r.PrimaryStorage().EnsureImage(ctx, &pluginv1.EnsureImageRequest{
		Storage: r.storage, Host: r.hosts[0], ImageUuid: image, Source: source.Source})
	r.cached = cached.GetInstallPath()
	return err
}

func (r *rig) createVolume(ctx context.Context, host *pluginv1.Host, n int) (string, error) {
	v, err := r.PrimaryStorage().CreateVolume(ctx, &pluginv1.CreateVolumeRequest{
		Storage: r.storage, Host: host, VolumeUuid: id("v", n), SizeBytes: 2000, Format: "qcow2", BackingPath: r.cached})
	return v.GetInstallPath(), err
}

func (r *rig) nic(n int) *pluginv1.GuestNIC {
	return &pluginv1.GuestNIC{NicUuid: id("c", n), VmUuid: id("a", n), L3Uuid: r.l3.Uuid,
		Mac: fmt.Sprintf("fa:%02x:%02x:%02x:%02x:00", n>>24&255, n>>16&255, n>>8&255, n&255),
		Ip:  fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255)}
}

func (r *rig) vm(n int) *pluginv1.VM {
	return &pluginv1.VM{Uuid: id("a", n), Name: "vm", CpuNum: 1, MemoryBytes: gib,
		Disks: []*pluginv1.Disk{{Uuid: id("v", n), Source: world.VolumePath(r.storage.Uuid, id("v", n)), Format: "qcow2"}},
		Nics:  []*pluginv1.NIC{{Uuid: id("c", n), Mac: r.nic(n).Mac, Bridge: r.l3.Bridge}}}
}

// plug is the call that makes a NIC's services work on a host, whatever was there.
func (r *rig) plug(host *pluginv1.Host, nic *pluginv1.GuestNIC) *pluginv1.ApplyNetworkStateRequest {
	return &pluginv1.ApplyNetworkStateRequest{Target: pluginsdk.HostTarget(host),
		Upserts: pluginsdk.NetworkRows{Networks: []*pluginv1.L3Network{r.l3}, NICs: []*pluginv1.GuestNIC{nic}}.Join()}
}

func (r *rig) prepare(ctx context.Context, host *pluginv1.Host, n int) error {
	_, err := r.NetworkService().ApplyNetworkState(ctx, r.plug(host, r.nic(n)))
	return err
}

func (r *rig) start(ctx context.Context, host *pluginv1.Host, n int) error {
	_, err := r.Hypervisor().StartVM(ctx, &pluginv1.StartVMRequest{Host: host, Vm: r.vm(n)})
	return err
}

// launch makes a guest as the core's flow does.
func (r *rig) launch(ctx context.Context, n int) error {
	host := r.hosts[n%len(r.hosts)]
	if _, err := r.createVolume(ctx, host, n); err != nil {
		return err
	}
	if err := r.prepare(ctx, host, n); err != nil {
		return err
	}
	return r.start(ctx, host, n)
}

// remove undoes launch, whatever came of it.
func (r *rig) remove(ctx context.Context, n int) error {
	host := r.hosts[n%len(r.hosts)]
	_, err := r.Hypervisor().DestroyVM(ctx, &pluginv1.DestroyVMRequest{Host: host, VmUuid: id("a", n)})
	if err == nil {
		_, err = r.NetworkService().ApplyNetworkState(ctx, &pluginv1.ApplyNetworkStateRequest{Target: pluginsdk.HostTarget(host),
			Removes: pluginsdk.NetworkKeys{NICs: []string{r.nic(n).NicUuid}}.Join()})
	}
	if err == nil {
		_, err = r.PrimaryStorage().DeleteVolume(ctx, &pluginv1.DeleteVolumeRequest{Storage: r.storage, Host: host, VolumeUuid: id("v", n)})
	}
	return err
}

func loopback(t testing.TB, hosts int, settings map[string]string) *rig {
	dir := t.TempDir()
	return newRig(t, plugintest.Loopback(t, New("test"), plugintest.WithDataDir(dir), plugintest.WithSettings(settings)), dir, hosts)
}

func TestManifestAndCodeAgree(t *testing.T) {
	p := New("1")
	if err := pluginsdk.CheckManifest(p); err != nil {
		t.Error(err)
	}
}

func TestFactsAndCapacity(t *testing.T) {
	r := loopback(t, 1, nil)
	host := &pluginv1.Host{Uuid: id("h", 9), Fields: map[string]string{"cpuCapacity": "99999999999", "memoryCapacity": "4096"}}
	got, err := r.Hypervisor().ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{Host: host})
	if err != nil || got.Facts.CpuNum != 1<<31-1 || got.Facts.CpuMhz != 1000 || got.Facts.MemoryBytes != 4096 {
		t.Errorf("facts: %v, %v", got, err)
	}
	host.Fields["memoryCapacity"] = "much"
	if _, err := r.Hypervisor().ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{Host: host}); !errors.Is(err, errs.Invalid) {
		t.Errorf("memoryCapacity much: %v", err)
	}
	must(t, r.launch(t.Context(), 1))
	c, err := r.PrimaryStorage().StorageCapacity(t.Context(), &pluginv1.StorageCapacityRequest{Storage: r.storage})
	if err != nil || c.Capacity.TotalBytes != 1000*tib || c.Capacity.AvailableBytes != 1000*tib-2010 {
		t.Errorf("capacity with a volume of 2000 and an image of 10 bytes: %v, %v", c, err)
	}
	b, err := r.BackupStorage().StoreCapacity(t.Context(), &pluginv1.StoreCapacityRequest{Store: r.store})
	if err != nil || b.Capacity.AvailableBytes != 1000*tib-10 {
		t.Errorf("backup capacity with an image of 10 bytes: %v, %v", b, err)
	}
}

func TestImages(t *testing.T) {
	r := loopback(t, 1, nil)
	for text, class := range map[string]errs.Class{
		"http://192.0.2.1/x":            "",
		"file:///var/x.iso":             "",
		"gopher://x/y":                  errs.Invalid,
		"x":                             errs.Invalid,
		"http://192.0.2.1/x?actual=-1":  errs.Invalid,
		"http://192.0.2.1/x?virtual=1T": errs.Invalid,
	} {
		req := &pluginv1.AddImageRequest{Store: r.store, ImageUuid: id("i", 7), Url: text, Format: "qcow2"}
		if _, err := r.BackupStorage().AddImage(t.Context(), req); errs.ClassOf(err) != class {
			t.Errorf("AddImage %s: %v; want %q", text, err, class)
		}
		if _, err := r.BackupStorage().DeleteImage(t.Context(), &pluginv1.DeleteImageRequest{Store: r.store, ImageUuid: id("i", 7)}); err != nil {
			t.Errorf("DeleteImage: %v", err)
		}
	}
	for _, sum := range []string{"md5:00", "md5", "crc:12", "md5:zz"} {
		req := &pluginv1.AddImageRequest{Store: r.store, ImageUuid: id("i", 7), Url: "http://x/y", Checksum: sum}
		if _, err := r.BackupStorage().AddImage(t.Context(), req); !errors.Is(err, errs.Invalid) {
			t.Errorf("AddImage with checksum %s: %v", sum, err)
		}
	}
	path := world.ImagePath(r.store.Uuid, id("i", 1))
	later := fmt.Sprint(time.Now().Add(time.Minute).Unix())
	for name, src := range map[string]*pluginv1.ImageSource{
		"no URL":       {},
		"http":         {Url: "http://192.0.2.1/x"},
		"expired":      {Url: path + "?expires=1"},
		"no expiry":    {Url: path},
		"other image":  {Url: world.ImagePath(r.store.Uuid, id("i", 2)) + "?expires=" + later},
		"wrong MD5":    {Url: path + "?expires=" + later, Md5: "00"},
		"unknown shop": {Url: world.ImagePath(id("b", 5), id("i", 1)) + "?expires=" + later},
	} {
		req := &pluginv1.EnsureImageRequest{Storage: r.storage, Host: r.hosts[0], ImageUuid: id("i", 1), Source: src}
		if _, err := r.PrimaryStorage().EnsureImage(t.Context(), req); !errors.Is(err, errs.Invalid) {
			t.Errorf("EnsureImage with %s: %v; want Invalid", name, err)
		}
	}
}

func TestBadInputIsRefused(t *testing.T) {
	r := loopback(t, 1, nil)
	bad := r.nic(1)
	bad.Mac = "zz"
	_, err := r.NetworkService().ApplyNetworkState(t.Context(), r.plug(r.hosts[0], bad))
	if !errors.Is(err, errs.Invalid) {
		t.Errorf("a NIC with a bad MAC: %v", err)
	}
	_, err = r.L2Network().Realize(t.Context(), &pluginv1.RealizeRequest{Host: r.hosts[0],
		Network: &pluginv1.L2Network{Uuid: id("n", 2), Type: "VxlanNetwork"}})
	if !errors.Is(err, errs.Unsupported) {
		t.Errorf("an L2 network of another type: %v", err)
	}
	for _, settings := range []map[string]string{{settingFaults: "x"}, {settingCPURatio: "-1"}, {settingStrictNICs: "maybe"}} {
		s := &simulator{opened: make(chan struct{})}
		if err := s.configure(t.Context(), pluginsdk.Env{Settings: settings, DataDir: t.TempDir()}); !errors.Is(err, errs.Invalid) {
			t.Errorf("settings %v: %v", settings, err)
		}
	}
}

// TestUndoAfterEachFault fails each call of a launch before and after its
// effect, undoes the launch and looks for what it left.
func TestUndoAfterEachFault(t *testing.T) {
	r := loopback(t, 2, nil)
	n := 0
	for _, method := range []string{"CreateVolume", methodApply, "StartVM"} {
		for _, when := range []string{"before", "after"} {
			n++
			must(t, fault.Write(r.dir, method+":fail=unavailable:"+when+":on="+r.hosts[n%2].Uuid))
			if err := r.launch(t.Context(), n); !errors.Is(err, errs.Unavailable) {
				t.Fatalf("%s %s: %v", method, when, err)
			}
			w, err := world.Load(r.dir)
			must(t, err)
			if _, started := w.VMs[id("a", n)]; started != (method == "StartVM" && when == "after") {
				t.Errorf("%s %s: started is %v", method, when, started)
			}
			must(t, r.remove(t.Context(), n))
			must(t, r.remove(t.Context(), n))
		}
	}
	w, err := world.Load(r.dir)
	must(t, err)
	if len(w.VMs)+len(w.Volumes)+len(w.Bindings) != 0 {
		t.Errorf("left behind: %v %v %v", w.VMs, w.Volumes, w.Bindings)
	}
}

func TestWatchHost(t *testing.T) {
	r := loopback(t, 1, nil)
	must(t, r.launch(t.Context(), 1))
	must(t, r.launch(t.Context(), 2))
	seen := make(chan *pluginv1.VMStatus, 10)
	ended := make(chan error)
	go func() {
		ended <- r.Hypervisor().WatchHost(t.Context(), &pluginv1.WatchHostRequest{Host: r.hosts[0]}, func(s *pluginv1.VMStatus) error {
			seen <- s
			return nil
		})
	}()
	first := map[string]pluginv1.VMState{}
	for range 2 {
		s := <-seen
		first[s.Uuid] = s.State
	}
	if first[id("a", 1)] != pluginv1.VMState_VM_STATE_RUNNING || first[id("a", 2)] != pluginv1.VMState_VM_STATE_RUNNING {
		t.Errorf("first: %v", first)
	}
	_, err := r.Hypervisor().StopVM(t.Context(), &pluginv1.StopVMRequest{Host: r.hosts[0], VmUuid: id("a", 2)})
	must(t, err)
	if s := <-seen; s.Uuid != id("a", 2) || s.State != pluginv1.VMState_VM_STATE_STOPPED {
		t.Errorf("after a stop: %v", s)
	}
	_, err = r.Hypervisor().DisconnectHost(t.Context(), &pluginv1.DisconnectHostRequest{Host: r.hosts[0]})
	must(t, err)
	if err := <-ended; !errors.Is(err, errs.Unavailable) {
		t.Errorf("watch of a lost host: %v", err)
	}
}

func process(t *testing.T, dir string) *plugintest.Conn {
	t.Setenv(asPlugin, "1")
	return plugintest.Process(t, os.Args[0], plugintest.WithDataDir(dir))
}

// TestCrashKeepsTheWorld kills the process in the midst of many calls: what
// was answered is there afterwards, and the calls can be repeated.
func TestCrashKeepsTheWorld(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, process(t, dir), dir, 4)
	must(t, fault.Write(dir, "StartVM:crash:nth=150:after"))
	const guests = 400
	var answered [guests + 1]atomic.Bool
	var next atomic.Int64
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for n := next.Add(1); n <= guests; n = next.Add(1) {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				err := r.launch(ctx, int(n))
				cancel()
				if err != nil {
					return
				}
				answered[n].Store(true)
			}
		})
	}
	workers.Wait()
	w, err := world.Load(dir)
	must(t, err)
	count := 0
	for n := 1; n <= guests; n++ {
		if v := w.VMs[id("a", n)]; answered[n].Load() {
			count++
			if v == nil || v.State != world.Running {
				t.Errorf("VM %d was answered and is gone", n)
			}
		}
	}
	if len(w.VMs) < 150 || count >= 150 {
		t.Errorf("%d VMs are there and %d were answered; the answer of the 150th was to be lost", len(w.VMs), count)
	}
	must(t, fault.Write(dir, ""))
	again := newRig(t, process(t, dir), dir, 4)
	for n := 1; n <= guests; n++ {
		must(t, again.launch(t.Context(), n))
	}
	if w, err = world.Load(dir); err != nil || len(w.VMs) != guests || len(w.Violations()) != 0 {
		t.Errorf("after the repeat: %d VMs, violations %v, %v", len(w.VMs), w.Violations(), err)
	}
}

func TestHangEndsWithItsCaller(t *testing.T) {
	r := loopback(t, 1, map[string]string{settingFaults: "CheckHost:hang"})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := r.Hypervisor().CheckHost(ctx, &pluginv1.CheckHostRequest{Host: r.hosts[0]})
	if !errors.Is(err, errs.Timeout) {
		t.Errorf("a call that hangs: %v", err)
	}
}

func TestWrongFaultsFileIsTold(t *testing.T) {
	r := loopback(t, 1, nil)
	must(t, os.WriteFile(filepath.Join(r.dir, fault.FileName), []byte("StratVM:crash"), 0o600))
	if err := r.start(t.Context(), r.hosts[0], 1); !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "StratVM") {
		t.Errorf("a rule for an unknown method: %v", err)
	}
}

func direct(b *testing.B) (*rig, pluginsdk.Plugin) {
	p := New("bench")
	dir := b.TempDir()
	return newRig(b, plugintest.Loopback(b, p, plugintest.WithDataDir(dir)), dir, 100), p
}

func parallel(b *testing.B, do func(n int) error) {
	var next atomic.Int64
	b.SetParallelism(64)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := do(int(next.Add(1))); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkCreateVolume(b *testing.B) {
	r, p := direct(b)
	parallel(b, func(n int) error {
		_, err := p.PrimaryStorage.CreateVolume(b.Context(), &pluginv1.CreateVolumeRequest{Storage: r.storage,
			Host: r.hosts[n%100], VolumeUuid: id("v", n), SizeBytes: 2000, Format: "qcow2", BackingPath: r.cached})
		return err
	})
}

func BenchmarkApplyNetworkState(b *testing.B) {
	r, p := direct(b)
	parallel(b, func(n int) error {
		_, err := p.NetworkService.ApplyNetworkState(b.Context(), r.plug(r.hosts[n%100], r.nic(n)))
		return err
	})
}

func BenchmarkStartVM(b *testing.B) {
	r, p := direct(b)
	for n := 1; n <= b.N; n++ {
		host := r.hosts[n%100]
		_, err := p.PrimaryStorage.CreateVolume(b.Context(), &pluginv1.CreateVolumeRequest{Storage: r.storage,
			Host: host, VolumeUuid: id("v", n), SizeBytes: 2000, Format: "qcow2", BackingPath: r.cached})
		must(b, err)
		_, err = p.NetworkService.ApplyNetworkState(b.Context(), r.plug(host, r.nic(n)))
		must(b, err)
	}
	parallel(b, func(n int) error {
		_, err := p.Hypervisor.StartVM(b.Context(), &pluginv1.StartVMRequest{Host: r.hosts[n%100], Vm: r.vm(n)})
		return err
	})
}

// BenchmarkLaunch makes whole guests through real gRPC.
func BenchmarkLaunch(b *testing.B) {
	r, _ := direct(b)
	parallel(b, func(n int) error { return r.launch(b.Context(), n) })
}

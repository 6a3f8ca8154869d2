package topology_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/topology"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func TestOneZoneIsTheDefault(t *testing.T) {
	c := empty(t)
	first := c.Create("APICreateZoneMsg", P{"name": "a", "isDefault": true})
	second := c.Create("APICreateZoneMsg", P{"name": "b", "isDefault": true})
	defaults := func() (names string) {
		for _, z := range c.List("Zone", "isDefault=true") {
			names += z.Text("name")
		}
		return names
	}
	c.want("the default", defaults(), "b")
	c.Do("APIUpdateZoneMsg", P{"uuid": first, "isDefault": true})
	c.want("the default", defaults(), "a")
	c.Do("APIUpdateZoneMsg", P{"uuid": second, "isDefault": false})
	c.want("the default after another one gave it up", defaults(), "a")
	c.As(c.Account()).Refused(errs.Denied, "APICreateZoneMsg", P{"name": "mine"})
}

func TestClusterParametersWorkOrAreRefused(t *testing.T) {
	c := empty(t)
	p := func(more P) P {
		all := P{"name": "c", "zoneUuid": c.s.Zone, "hypervisorType": kerneltest.FakeType}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	row := c.Do("APICreateClusterMsg", p(nil))
	c.want("type", row.Text("type"), "zstack")
	c.want("architecture", row.Text("architecture"), "x86_64")
	c.want("architecture", c.Do("APICreateClusterMsg", p(P{"type": "zstack", "architecture": "aarch64"})).Text("architecture"), "aarch64")
	before := len(c.List("Cluster"))
	for _, kind := range []string{"baremetal", "baremetal2"} {
		c.Refused(errs.Unsupported, "APICreateClusterMsg", p(P{"type": kind}), "type", kind, "zstack")
	}
	c.Refused(errs.Invalid, "APICreateClusterMsg", p(P{"hypervisorType": "None"}), "hypervisorType", "None")
	c.want("clusters", len(c.List("Cluster")), before)
}

func TestAddHostSavesWhatItIs(t *testing.T) {
	c := empty(t)
	c.World.Facts("h.example.org", &pluginv1.HostFacts{CpuNum: 4, CpuMhz: 2500, CpuSockets: 2, MemoryBytes: 16 * giB, Architecture: "x86_64"})
	row := c.Do("APIAddFakeHostMsg", c.newHost("h.example.org", P{"description": "rack 1"}))
	for field, want := range map[string]any{"status": "Connected", "state": "Enabled", "zoneUuid": c.s.Zone, "clusterUuid": c.s.Cluster,
		"hypervisorType": kerneltest.FakeType, "description": "rack 1", "architecture": "x86_64"} {
		c.want(field, row.Text(field), want)
	}
	for field, want := range map[string]int64{"cpuNum": 4, "cpuSockets": 2, "totalCpuCapacity": 40, "availableCpuCapacity": 40,
		"totalMemoryCapacity": 16 * giB, "availableMemoryCapacity": 16 * giB} {
		c.want(field, row.Int(field), want)
	}
	c.want("MHz", c.row(row.Text("uuid")).CPUMHz, int64(2500))
}

func TestManagementAddress(t *testing.T) {
	c := empty(t)
	first := c.Create("APIAddFakeHostMsg", c.newHost("10.9.0.1", P{"name": "first"}))
	second := c.Create("APIAddFakeHostMsg", c.newHost("h2.example.org", nil))
	for _, bad := range []string{"not an address", "-a.example.org", "10.9.0.1/24", "a..b"} {
		c.Refused(errs.Invalid, "APIAddFakeHostMsg", c.newHost(bad, nil), "managementIp", bad)
		c.Refused(errs.Invalid, "APIUpdateHostMsg", P{"uuid": second, "managementIp": bad}, "managementIp", bad)
	}
	c.Refused(errs.Exists, "APIAddFakeHostMsg", c.newHost("10.9.0.1", nil), "10.9.0.1", "host first")
	c.Refused(errs.Exists, "APIUpdateHostMsg", P{"uuid": second, "managementIp": "10.9.0.1"}, "host first")
	c.want("hosts", len(c.List("Host")), 2)
	c.want("its own again", c.Do("APIUpdateHostMsg", P{"uuid": first, "managementIp": "10.9.0.1", "name": "a"}).Text("name"), "a")
	c.want("a new one", c.Do("APIUpdateHostMsg", P{"uuid": second, "managementIp": "10.9.0.3"}).Text("managementIp"), "10.9.0.3")
	c.Do("APIReconnectHostMsg", P{"uuid": second})
	if r, _ := kerneltest.Last[*pluginv1.ConnectHostRequest](c.Calls, "ConnectHost"); r.GetHost().GetManagementIp() != "10.9.0.3" {
		t.Errorf("its plugin was told %v", r.GetHost())
	}
}

func TestHostFitsItsCluster(t *testing.T) {
	c := empty(t)
	other := &topology.Cluster{ZoneUUID: c.s.Zone, State: topology.Enabled, HypervisorType: "Other"}
	other.UUID, other.Name = resource.NewUUID(), "others"
	err := c.Store.Update(t.Context(), func(tx *store.Tx) error { return store.Insert(t.Context(), tx, topology.ClusterType, other) })
	if err != nil {
		t.Fatal(err)
	}
	c.Refused(errs.Invalid, "APIAddFakeHostMsg", c.newHost("10.9.0.1", P{"clusterUuid": other.UUID}), "cluster others", "hosts of type Other, not Fake")
	c.want("calls", len(c.Calls.Of("ConnectHost")), 0)

	facts := func(ip, architecture string) {
		f := kerneltest.DefaultFacts()
		f.Architecture = architecture
		c.World.Facts(ip, f)
	}
	facts("10.9.0.2", "aarch64")
	c.Refused(errs.Refused, "APIAddFakeHostMsg", c.newHost("10.9.0.2", nil), "host new", "aarch64", "cluster cluster takes hosts of x86_64")
	c.want("hosts", len(c.List("Host")), 0)
	c.want("it was let go", len(c.Calls.Of("DisconnectHost")), 1)
	arm := c.Create("APICreateClusterMsg", P{"name": "arm", "zoneUuid": c.s.Zone, "hypervisorType": kerneltest.FakeType, "architecture": "aarch64"})
	c.want("architecture", c.Do("APIAddFakeHostMsg", c.newHost("10.9.0.2", P{"clusterUuid": arm})).Text("architecture"), "aarch64")

	// What a host does not say is what its cluster says.
	facts("10.9.0.3", "")
	c.want("architecture", c.Do("APIAddFakeHostMsg", c.newHost("10.9.0.3", P{"clusterUuid": arm})).Text("architecture"), "aarch64")

	// Behind an address another machine answers.
	host := c.Create("APIAddFakeHostMsg", c.newHost("10.9.0.4", nil))
	facts("10.9.0.4", "aarch64")
	c.Refused(errs.Refused, "APIReconnectHostMsg", P{"uuid": host}, "aarch64")
	c.Until("disconnected", func() bool { return c.Get("Host", host).Text("status") == "Disconnected" })
	c.want("architecture", c.Get("Host", host).Text("architecture"), "x86_64")
	// One that was there with it before its cluster said anything goes on.
	c.set("UPDATE `Host` SET `architecture` = 'aarch64' WHERE `uuid` = ?", host)
	c.want("status", c.Do("APIReconnectHostMsg", P{"uuid": host}).Text("status"), "Connected")
}

func TestGuestsRunOnHostsOfTheirArchitecture(t *testing.T) {
	c := newCloud(t)
	arm := c.Create("APICreateClusterMsg", P{"name": "arm", "zoneUuid": c.s.Zone, "hypervisorType": kerneltest.FakeType, "architecture": "aarch64"})
	c.Do("APIAttachL2NetworkToClusterMsg", P{"l2NetworkUuid": c.s.L2, "clusterUuid": arm})
	c.Do("APIAttachPrimaryStorageToClusterMsg", P{"clusterUuid": arm, "primaryStorageUuid": c.s.Primary})
	image := c.Create("APIAddImageMsg", P{"name": "arm", "url": "http://127.0.0.1/arm", "mediaType": "RootVolumeTemplate", "format": "raw",
		"platform": "Linux", "architecture": "aarch64", "backupStorageUuids": []string{c.s.Backup}})
	vm := P{"name": "vm", "instanceOfferingUuid": c.s.Offering, "imageUuid": image, "l3NetworkUuids": []string{c.s.L3}}
	c.Refused(errs.Exhausted, "APICreateVmInstanceMsg", vm, "its architecture is x86_64, not aarch64")
	facts := kerneltest.DefaultFacts()
	facts.Architecture = "aarch64"
	c.World.Facts("10.9.0.9", facts)
	host := c.Create("APIAddFakeHostMsg", c.newHost("10.9.0.9", P{"clusterUuid": arm}))
	c.want("host", c.Do("APICreateVmInstanceMsg", vm).Text("hostUuid"), host)
	c.want("host of the other kind", c.VM(c.s, nil).Text("hostUuid"), c.s.Host)
}

// A host that cannot be added leaves nothing behind, wherever it fails: the services that had taken it in leave it.
func TestAddHostIsUndone(t *testing.T) {
	c := newCloud(t)
	add := func() error {
		_, err := c.Call("APIAddFakeHostMsg", c.newHost("10.9.0.1", P{"userTags": []string{"rack 1"}}))
		return err
	}
	types := []string{"Host", "UserTag", "L2NetworkHostRef", "PrimaryStorageHostRef"}
	c.FailEachStep(c.Topology.AddSteps(), types, add)
	for _, call := range []string{"ConnectHost", "ListVMs"} {
		before := c.Dump(types...)
		c.Calls.Fail(call, silent())
		c.Refused(errs.Unavailable, "APIAddFakeHostMsg", c.newHost("10.9.0.1", nil), "does not answer")
		c.Calls.Fail(call, nil)
		if after := c.Dump(types...); after != before {
			t.Errorf("after a failed %s: %s", call, after)
		}
	}
	if err := add(); err != nil {
		t.Fatal(err)
	}
	c.want("hosts", len(c.List("Host", "managementIp=10.9.0.1")), 1)
	c.want("tags", len(c.List("UserTag")), 1)
}

func TestDeleteHost(t *testing.T) {
	c := newCloud(t)
	links := func() int { return len(c.Calls.Of("DetachHost")) }
	c.Calls.Fail("DisconnectHost", silent())
	c.Refused(errs.Unavailable, "APIDeleteHostMsg", P{"uuid": c.s.Host}, "does not answer")
	if c.host() == nil || links() == 0 {
		t.Fatal("a host was deleted that could not be left, or was not left before it was disconnected")
	}
	// What a service cannot take from it keeps it, too; by force neither does.
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
	c.Calls.Fail("DetachHost", silent())
	c.Refused(errs.Unavailable, "APIDeleteHostMsg", P{"uuid": c.s.Host}, "does not answer")
	c.want("what it has of storages", len(c.List("PrimaryStorageHostRef")), 1)
	c.Calls.Forget()
	c.Do("APIDeleteHostMsg", P{"uuid": c.s.Host, "deleteMode": "Enforcing"})
	if c.host() != nil {
		t.Fatal("it is still there")
	}
	c.want("networks taken from it, though a storage could not be", len(c.Calls.Of("Unrealize")), 1)
	c.want("disconnects", len(c.Calls.Of("DisconnectHost")), 1)
	for _, table := range []string{"PrimaryStorageHostRef", "L2NetworkHostRef"} {
		if n, err := store.Texts(t.Context(), c.Store, "SELECT `uuid` FROM `"+table+"` WHERE `hostUuid` = ?", c.s.Host); err != nil || len(n) > 0 {
			t.Errorf("%s has %v, %v", table, n, err)
		}
	}
	c.Do("APIDeleteHostMsg", P{"uuid": c.s.Host}) // gone is a success
}

// What is done on the hosts of a cluster is done on those that are connected, on all of
// them at once; an error, or a panic, of one is returned. One that cannot be read is
// passed over.
func TestEachConnected(t *testing.T) {
	c := newCloud(t)
	second, third, damaged := c.Host(c.s.Cluster), c.Host(c.s.Cluster), c.Host(c.s.Cluster)
	c.set("UPDATE `Host` SET `status` = 'Disconnected' WHERE `uuid` = ?", second)
	c.set("UPDATE `Host` SET `cpuNum` = 'many' WHERE `uuid` = ?", damaged)
	began, other := make(chan string, 9), map[string]chan bool{c.s.Host: make(chan bool), third: make(chan bool)}
	ended := make(chan error, 1)
	go func() {
		ended <- c.Topology.EachConnected(t.Context(), c.s.Cluster, func(h *pluginv1.Host) error {
			began <- h.GetUuid()
			<-other[h.GetUuid()]
			return nil
		})
	}()
	if both := sorted(<-began, <-began); !slices.Equal(both, sorted(c.s.Host, third)) { // each while the other hangs
		t.Errorf("called for %v", both)
	}
	close(other[third])
	close(other[c.s.Host])
	if err := <-ended; err != nil || len(began) > 0 {
		t.Errorf("%d more calls, %v", len(began), err)
	}
	stop := errors.New("stop")
	err := c.Topology.EachConnected(t.Context(), c.s.Cluster, func(h *pluginv1.Host) error {
		if h.GetUuid() == third {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Errorf("an error of one: %v", err)
	}
	err = c.Topology.EachConnected(t.Context(), c.s.Cluster, func(*pluginv1.Host) error { return store.ErrDamaged })
	if !errors.Is(err, store.ErrDamaged) {
		t.Errorf("what is damaged of something else: %v", err)
	}
	err = c.Topology.EachConnected(t.Context(), c.s.Cluster, func(*pluginv1.Host) error { panic("at the disco") })
	if err == nil || !strings.Contains(err.Error(), "panic: at the disco") {
		t.Errorf("a panic: %v", err)
	}
	// So it costs the others nothing of what is attached to their cluster.
	storage := c.Create("APIAddFakePrimaryStorageMsg", P{"name": "new", "zoneUuid": c.s.Zone, "url": "/new"})
	c.Do("APIAttachPrimaryStorageToClusterMsg", P{"clusterUuid": c.s.Cluster, "primaryStorageUuid": storage})
	c.want("hosts that have the storage", len(c.List("PrimaryStorageHostRef", "primaryStorageUuid="+storage)), 2)
	l2 := c.Create("APICreateL2NoVlanNetworkMsg", P{"name": "new", "zoneUuid": c.s.Zone, "physicalInterface": "eth9"})
	c.Calls.Forget()
	c.Do("APIAttachL2NetworkToClusterMsg", P{"clusterUuid": c.s.Cluster, "l2NetworkUuid": l2})
	c.want("hosts that have the network", len(c.Calls.Of("Realize")), 2)
	c.Do("APIDetachL2NetworkFromClusterMsg", P{"clusterUuid": c.s.Cluster, "l2NetworkUuid": l2})
	c.Do("APIDetachPrimaryStorageFromClusterMsg", P{"clusterUuid": c.s.Cluster, "primaryStorageUuid": storage})
	c.set("UPDATE `Host` SET `cpuNum` = 8 WHERE `uuid` = ?", damaged)
	if err := c.Topology.OnConnected(t.Context(), second, func(*pluginv1.Host) error { return stop }); err != nil {
		t.Errorf("a host that is away: %v", err)
	}
	if err := c.Topology.OnConnected(t.Context(), resource.NewUUID(), func(*pluginv1.Host) error { return stop }); err != nil {
		t.Errorf("a host that is gone: %v", err)
	}
	if _, err := c.Topology.PluginHost(t.Context(), c.Store, resource.NewUUID()); errs.ClassOf(err) != errs.NotFound {
		t.Errorf("a host that never was: %v", err)
	}
	err = c.Topology.HostCall(t.Context(), c.s.Host, "Run", nil, func([]byte) error { return nil })
	if errs.ClassOf(err) != errs.Unsupported {
		t.Errorf("a call of the agent of a host that has none: %v", err)
	}
}

// Facts change while guests run: what they hold stays held, once.
func TestCapacityFollowsTheMachine(t *testing.T) {
	c := newCloud(t)
	c.VM(c.s, nil) // 1 processor, 1 GiB
	check := func(what string, cpu, memory int64) {
		t.Helper()
		h := c.host()
		c.want("total CPU "+what, h.Int("totalCpuCapacity"), cpu)
		c.want("free CPU "+what, h.Int("availableCpuCapacity"), cpu-1)
		c.want("total memory "+what, h.Int("totalMemoryCapacity"), memory)
		c.want("free memory "+what, h.Int("availableMemoryCapacity"), memory-giB)
	}
	check("at first", 80, 32*giB)
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
	check("of the same machine", 80, 32*giB)
	bigger := kerneltest.DefaultFacts()
	bigger.CpuNum, bigger.MemoryBytes = 16, 64*giB
	c.World.Facts(c.host().Text("managementIp"), bigger)
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
	check("of a bigger machine", 160, 64*giB)
	c.Do("APIUpdateGlobalConfigMsg", P{"category": "host", "name": "cpu.overProvisioning.ratio", "value": "2"})
	check("with a smaller ratio", 32, 64*giB)
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
	check("after that", 32, 64*giB)
}

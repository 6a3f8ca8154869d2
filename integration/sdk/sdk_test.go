package sdk

import (
	"encoding/json"
	"net/url"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/terraform-zstack-modules/zstack-sdk-go/pkg/client"
	"github.com/terraform-zstack-modules/zstack-sdk-go/pkg/param"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

// fixture is a server with a cloud, as far as the SDK has no calls to make it.
type fixture struct {
	s     *server.Server
	cloud *wire.Cloud
}

func setUp(t *testing.T) *fixture {
	t.Helper()
	s := server.Start(t, server.Options{})
	c, err := wire.NewCloud(t.Context(), s.Client, wire.Spec{Name: "sdk", Hosts: 2})
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{s, c}
}

// config points the SDK at the server; it looks at jobs each second, which is
// its shortest interval.
func (f *fixture) config(t *testing.T) *client.ZSConfig {
	t.Helper()
	u, err := url.Parse(f.s.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return client.NewZSConfig(u.Hostname(), port, "zstack").RetryInterval(1).RetryTimes(60)
}

func (f *fixture) login(t *testing.T) *client.ZSClient {
	t.Helper()
	c := client.NewZSClient(f.config(t).LoginAccount(server.Account, server.Password))
	session, err := c.Login()
	if err != nil {
		t.Fatal(err)
	}
	if session.UUID == "" {
		t.Fatal("the login gave no session")
	}
	return c
}

// q makes a query parameter.
func q(conditions ...string) param.QueryParam {
	p := param.NewQueryParam()
	for _, c := range conditions {
		p.AddQ(c)
	}
	return p
}

// must stops the test at an error.
func must[T any](t *testing.T, value T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestSession(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	bad := client.NewZSClient(f.config(t).LoginAccount(server.Account, "wrong"))
	if _, err := bad.Login(); err == nil {
		t.Error("a wrong password was accepted")
	}
	c := f.login(t)
	valid, err := c.ValidateSession()
	check(t, "validity", must(t, valid, err)["valid"], true)
	if err := c.Logout(); err != nil {
		t.Error(err)
	}
}

func TestReadCloud(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	c := f.login(t)
	zones, err := c.QueryZone(q("uuid=" + f.cloud.Zone))
	if must(t, zones, err); len(zones) != 1 || zones[0].Name != "sdk" || zones[0].State != "Enabled" {
		t.Errorf("zones: %+v", zones)
	}
	if age := time.Since(zones[0].CreateDate).Abs(); age > 25*time.Hour {
		t.Errorf("the zone was made %s ago, says the SDK", age)
	}
	clusters, err := c.QueryCluster(q("zone.name=sdk"))
	if must(t, clusters, err); len(clusters) != 1 || clusters[0].HypervisorType != "Simulator" {
		t.Errorf("clusters: %+v", clusters)
	}
	hosts, total, err := c.PageHost(q("clusterUuid=" + f.cloud.Cluster))
	must(t, hosts, err)
	check(t, "number of hosts", total, 2)
	check(t, "status of a host", hosts[0].Status, "Connected")
	primaries, err := c.QueryPrimaryStorage(q("uuid=" + f.cloud.PrimaryStorage))
	if must(t, primaries, err); len(primaries) != 1 || primaries[0].Status != "Connected" {
		t.Errorf("primary storages: %+v", primaries)
	}
	stores, err := c.QueryBackupStorage(q("uuid=" + f.cloud.BackupStorage))
	if must(t, stores, err); len(stores) != 1 {
		t.Errorf("backup storages: %+v", stores)
	}
	version, err := c.GetVersion()
	if must(t, version, err) == "" {
		t.Error("the management node has no version")
	}
	nodes, err := c.QueryManagementNode(q())
	check(t, "number of management nodes", len(must(t, nodes, err)), 1)
	settings, err := c.QueryGlobalConfig(q("category=vm", "name=deletionPolicy"))
	if must(t, settings, err); len(settings) != 1 || settings[0].Value != "Delay" {
		t.Errorf("settings: %+v", settings)
	}
}

func TestImages(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	c := f.login(t)
	image, err := c.AddImage(param.AddImageParam{Params: param.AddImageDetailParam{Name: "from-sdk", Url: "http://192.0.2.1/b.qcow2?virtual=2147483648&actual=1048576",
		MediaType: param.RootVolumeTemplate, Format: param.Qcow2, Platform: "Linux", Architecture: param.X86_64, BackupStorageUuids: []string{f.cloud.BackupStorage}}})
	must(t, image, err)
	check(t, "status", image.Status, "Ready")
	check(t, "name", image.Name, "from-sdk")
	got, err := c.GetImage(image.UUID)
	check(t, "size", must(t, got, err).Size, image.Size)
	changed, err := c.UpdateImage(image.UUID, param.UpdateImageParam{UpdateImage: param.UpdateImageDetailParam{Name: "renamed"}})
	_ = must(t, changed, err) // the SDK returns its answer by value before it is filled
	images, total, err := c.PageImage(q("name=renamed"))
	must(t, images, err)
	check(t, "number of images", total, 1)
	if err := c.DeleteImage(image.UUID, param.DeleteModePermissive); err != nil {
		t.Fatal(err)
	}
	if err := c.ExpungeImage(image.UUID); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetImage(image.UUID); err == nil {
		t.Error("the expunged image is still there")
	}
}

func TestOfferingsAndNetworks(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	c := f.login(t)
	offering, err := c.CreateInstanceOffering(&param.CreateInstanceOfferingParam{Params: param.CreateInstanceOfferingDetailParam{Name: "two", CpuNum: 2, MemorySize: 128 << 20}})
	must(t, offering, err)
	read, err := c.GetInstanceOffering(offering.UUID)
	check(t, "memory", must(t, read, err).MemorySize, int64(128<<20))
	if err := c.DeleteInstanceOffering(offering.UUID, param.DeleteModePermissive); err != nil {
		t.Error(err)
	}
	disk, err := c.CreateDiskOffering(&param.CreateDiskOfferingParam{Params: param.CreateDiskOfferingDetailParam{Name: "disk", DiskSize: 5 << 30}})
	must(t, disk, err)
	if err := c.DeleteDiskOffering(disk.UUID, param.DeleteModePermissive); err != nil {
		t.Error(err)
	}
	l2, err := c.CreateL2NoVlanNetwork(param.CreateL2NoVlanNetworkParam{Params: param.CreateL2NoVlanNetworkDetailParam{Name: "l2", ZoneUuid: f.cloud.Zone, PhysicalInterface: "eth1"}})
	must(t, l2, err)
	attached, err := c.AttachL2NetworkToCluster(f.cloud.Cluster, l2.UUID)
	must(t, attached, err)
	l3, err := c.CreateL3Network(param.CreateL3NetworkParam{Params: param.CreateL3NetworkDetailParam{Name: "l3", L2NetworkUuid: l2.UUID, Category: "Private", EnableIPAM: true}})
	must(t, l3, err)
	networks, err := c.QueryL3Network(q("name=l3"))
	if must(t, networks, err); len(networks) != 1 {
		t.Fatalf("networks: %+v", networks)
	}
	uuid := networks[0].UUID
	ipRange, err := c.AddIpRange(uuid, param.AddIpRangeParam{Params: param.AddIpRangeDetailParam{Name: "r", StartIp: "10.9.0.10", EndIp: "10.9.0.20", Netmask: "255.255.255.0", Gateway: "10.9.0.1"}})
	must(t, ipRange, err)
	if err := c.AddDnsToL3Network(uuid, param.AddDnsToL3NetworkParam{Params: param.AddDnsToL3NetworkDetailParam{Dns: "9.9.9.9"}}); err != nil {
		t.Error(err)
	}
	network, err := c.GetL3Network(uuid)
	if must(t, network, err); len(network.Dns) != 1 || network.Dns[0] != "9.9.9.9" {
		t.Errorf("name servers: %v", network.Dns)
	}
	ranges, err := c.QueryIpRange(q("l3NetworkUuid=" + uuid))
	check(t, "number of ranges", len(must(t, ranges, err)), 1)
	if err := c.DeleteL3Network(uuid, param.DeleteModePermissive); err != nil {
		t.Error(err)
	}
	if err := c.DeleteL2Network(l2.UUID, param.DeleteModePermissive); err != nil {
		t.Error(err)
	}
}

func TestGuestAndTags(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	guest(t, f, f.login(t))
}

// A client with an access key signs each call and polls with the signature of
// the first, which does not fit.
func TestAccessKey(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	body, err := f.s.Client.Call(t.Context(), "POST", "/accesskeys", map[string]any{"params": wire.Params{
		"accountUuid": "36c27e8ff05c4780bf6d2fa65700f22e", "userUuid": "36c27e8ff05c4780bf6d2fa65700f22e"}})
	if err != nil {
		t.Fatal(err)
	}
	var key struct {
		Inventory struct{ UUID, AccessKeyID, AccessKeySecret string }
	}
	if err := json.Unmarshal(body, &key); err != nil || key.Inventory.AccessKeySecret == "" {
		t.Fatalf("access key %s: %v", body, err)
	}
	c := client.NewZSClient(f.config(t).AccessKey(key.Inventory.AccessKeyID, key.Inventory.AccessKeySecret))
	guest(t, f, c)
	wrong := client.NewZSClient(f.config(t).AccessKey(key.Inventory.AccessKeyID, "0123456789012345678901234567890123456789"))
	if zones, err := wrong.QueryZone(q()); err == nil {
		t.Errorf("a wrong secret reads %v", zones)
	}
}

// guest goes through the life of a guest.
func guest(t *testing.T, f *fixture, c *client.ZSClient) {
	t.Helper()
	vm, err := c.CreateVmInstance(param.CreateVmInstanceParam{
		BaseParam: param.BaseParam{SystemTags: []string{"hostname::web"}, UserTags: []string{"blue"}},
		Params: param.CreateVmInstanceDetailParam{Name: "web", InstanceOfferingUUID: f.cloud.Offering, ImageUUID: f.cloud.Image,
			L3NetworkUuids: []string{f.cloud.L3Network}, DataDiskSizes: []int64{1 << 30}, Strategy: param.InstantStart}})
	must(t, vm, err)
	check(t, "state", vm.State, "Running")
	check(t, "number of NICs", len(vm.VMNics), 1)
	check(t, "number of volumes", len(vm.AllVolumes), 2)
	found, err := c.QueryVmInstance(q("vmNics.ip="+vm.VMNics[0].IP, "state=Running"))
	if must(t, found, err); len(found) != 1 || found[0].UUID != vm.UUID {
		t.Errorf("guests with its address: %+v", found)
	}
	tagged, err := c.QueryVmInstance(q("__userTag__=blue", "__systemTag__=hostname::web"))
	check(t, "number of guests with its tags", len(must(t, tagged, err)), 1)
	tag, err := c.CreateUserTag(param.CreateTagParam{Params: param.CreateTagDetailParam{ResourceType: param.ResourceTypeVmInstanceVO, ResourceUuid: vm.UUID, Tag: "green"}})
	must(t, tag, err)
	tags, err := c.QueryUserTag(q("resourceUuid=" + vm.UUID))
	check(t, "number of user tags", len(must(t, tags, err)), 2)
	for _, tag := range tags {
		if tag.Tag == "green" {
			if err := c.DeleteTag(tag.Uuid, param.DeleteModePermissive); err != nil {
				t.Error(err)
			}
		}
	}
	system, err := c.QuerySystemTags(q("resourceUuid="+vm.UUID, "tag~=hostname%"))
	check(t, "number of system tags", len(must(t, system, err)), 1)

	stopped, err := c.StopVmInstance(vm.UUID, param.StopVmInstanceParam{StopVmInstance: param.StopVmInstanceDetailParam{Type: param.Cold}})
	check(t, "state after stop", must(t, stopped, err).State, "Stopped")
	started, err := c.StartVmInstance(vm.UUID, nil)
	must(t, started, err)
	now, err := c.GetVmInstance(vm.UUID)
	check(t, "state after start", must(t, now, err).State, "Running")
	rebooted, err := c.RebootVmInstance(vm.UUID)
	must(t, rebooted, err)
	if err := c.DestroyVmInstance(vm.UUID, param.DeleteModePermissive); err != nil {
		t.Fatal(err)
	}
	now, err = c.GetVmInstance(vm.UUID)
	check(t, "state after destroy", must(t, now, err).State, "Destroyed")
	if err := c.ExpungeVmInstance(vm.UUID); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetVmInstance(vm.UUID); err == nil {
		t.Error("the expunged guest is still there")
	}
	f.s.Audit(f.s.Database())
}

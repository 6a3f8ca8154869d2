package sdk

import (
	"slices"
	"testing"
	"time"

	"github.com/terraform-zstack-modules/zstack-sdk-go/pkg/param"

	"github.com/kumo-cloud/kumo/integration/wire"
)

// management reads what a server has without a cloud.
func (w *walker) management(t *testing.T) {
	version, err := w.c.GetVersion()
	if must(t, version, err) == "" {
		t.Error("the management node has no version")
	}
	nodes, err := w.c.QueryManagementNode(q())
	check(t, "number of management nodes", len(must(t, nodes, err)), 1)
	settings, err := w.c.QueryGlobalConfig(q("category=vm", "name=deletionPolicy"))
	if must(t, settings, err); len(settings) != 1 || settings[0].Value != "Delay" {
		t.Errorf("settings: %+v", settings)
	}
}

func (w *walker) place(t *testing.T) {
	w.zone = Make(t, w.c, wire.Zones, wire.Params{"name": "sdk"})
	zones, err := w.c.QueryZone(q("uuid=" + w.zone))
	if must(t, zones, err); len(zones) != 1 || zones[0].Name != "sdk" || zones[0].State != "Enabled" {
		t.Fatalf("zones: %+v", zones)
	}
	if age := time.Since(zones[0].CreateDate).Abs(); age > 25*time.Hour {
		t.Errorf("the zone was made %s ago, says the SDK", age)
	}
	w.cluster = Make(t, w.c, wire.Clusters, wire.Params{"name": "sdk", "zoneUuid": w.zone, "hypervisorType": w.b.Hypervisor})
	clusters, err := w.c.QueryCluster(q("zone.name=sdk"))
	if must(t, clusters, err); len(clusters) != 1 || clusters[0].HypervisorType != w.b.Hypervisor {
		t.Errorf("clusters: %+v", clusters)
	}
}

func (w *walker) hosts(t *testing.T) {
	w.b.Hosts(t, w.c, w.cluster)
	hosts, total, err := w.c.PageHost(q("clusterUuid=" + w.cluster))
	if must(t, hosts, err); total == 0 || total != len(hosts) {
		t.Fatalf("%d of %d hosts: %+v", len(hosts), total, hosts)
	}
	for _, h := range hosts {
		check(t, "status of host "+h.Name, h.Status, "Connected")
		got, err := w.c.ReconnectHost(h.UUID)
		check(t, "status of host "+h.Name+" connected again", must(t, got, err).Status, "Connected")
	}
}

func (w *walker) storages(t *testing.T) {
	w.primary = w.b.Primary(t, w.c, w.zone)
	if err := w.c.Post("v1"+wire.Clusters+"/"+w.cluster+wire.PrimaryStorages+"/"+w.primary, nil, nil); err != nil {
		t.Fatal(err)
	}
	primaries, err := w.c.QueryPrimaryStorage(q("uuid=" + w.primary))
	if must(t, primaries, err); len(primaries) != 1 || primaries[0].Status != "Connected" || !slices.Equal(primaries[0].AttachedClusterUuids, []string{w.cluster}) {
		t.Fatalf("primary storages: %+v", primaries)
	}
	w.backup = w.b.Backup(t, w.c)
	attached, err := w.c.AttachBackupStorageToZone(w.zone, w.backup)
	if must(t, attached, err); !slices.Equal(attached.AttachedZoneUuids, []string{w.zone}) {
		t.Errorf("the backup storage belongs to the zones %v", attached.AttachedZoneUuids)
	}
	store, err := w.c.GetBackupStorage(w.backup)
	check(t, "status of the backup storage", must(t, store, err).Status, "Connected")
}

func (w *walker) addImage(t *testing.T) {
	image, err := w.c.AddImage(param.AddImageParam{Params: param.AddImageDetailParam{Name: "from-sdk", Url: w.b.ImageURL,
		MediaType: param.RootVolumeTemplate, Format: param.Qcow2, Platform: "Linux", Architecture: param.X86_64, BackupStorageUuids: []string{w.backup}}})
	must(t, image, err)
	w.image = image.UUID
	check(t, "status", image.Status, "Ready")
	check(t, "name", image.Name, "from-sdk")
	got, err := w.c.GetImage(image.UUID)
	check(t, "size", must(t, got, err).Size, image.Size)
	changed, err := w.c.UpdateImage(image.UUID, param.UpdateImageParam{UpdateImage: param.UpdateImageDetailParam{Name: "renamed"}})
	check(t, "name after the change", must(t, changed, err).Name, "renamed")
	images, total, err := w.c.PageImage(q("name=renamed"))
	must(t, images, err)
	check(t, "number of images", total, 1)
}

func (w *walker) offerings(t *testing.T) {
	offering, err := w.c.CreateInstanceOffering(&param.CreateInstanceOfferingParam{Params: param.CreateInstanceOfferingDetailParam{Name: "small", CpuNum: 1, MemorySize: 128 << 20}})
	must(t, offering, err)
	w.offering = offering.UUID
	read, err := w.c.GetInstanceOffering(offering.UUID)
	check(t, "memory", must(t, read, err).MemorySize, int64(128<<20))
	disk, err := w.c.CreateDiskOffering(&param.CreateDiskOfferingParam{Params: param.CreateDiskOfferingDetailParam{Name: "disk", DiskSize: 5 << 30}})
	must(t, disk, err)
	if err := w.c.DeleteDiskOffering(disk.UUID, param.DeleteModePermissive); err != nil {
		t.Error(err)
	}
}

func (w *walker) network(t *testing.T) {
	l2, err := w.c.CreateL2NoVlanNetwork(param.CreateL2NoVlanNetworkParam{Params: param.CreateL2NoVlanNetworkDetailParam{Name: "l2", ZoneUuid: w.zone, PhysicalInterface: w.b.Uplink}})
	must(t, l2, err)
	w.l2 = l2.UUID
	attached, err := w.c.AttachL2NetworkToCluster(w.cluster, w.l2)
	if must(t, attached, err); !slices.Equal(attached.AttachedClusterUuids, []string{w.cluster}) {
		t.Errorf("the L2 network belongs to the clusters %v", attached.AttachedClusterUuids)
	}
	l3, err := w.c.CreateL3Network(param.CreateL3NetworkParam{Params: param.CreateL3NetworkDetailParam{Name: "l3", L2NetworkUuid: w.l2, Category: "Private", EnableIPAM: true}})
	must(t, l3, err)
	w.l3 = l3.UUID
	networks, err := w.c.QueryL3Network(q("name=l3"))
	if must(t, networks, err); len(networks) != 1 || networks[0].UUID != w.l3 {
		t.Fatalf("networks: %+v", networks)
	}
	ipRange, err := w.c.AddIpRange(w.l3, param.AddIpRangeParam{Params: w.b.Range})
	must(t, ipRange, err)
	ranges, err := w.c.QueryIpRange(q("l3NetworkUuid=" + w.l3))
	if must(t, ranges, err); len(ranges) != 1 || ranges[0].Uuid != ipRange.Uuid {
		t.Errorf("ranges: %+v", ranges)
	}
}

func (w *walker) services(t *testing.T) {
	if err := w.c.AddDnsToL3Network(w.l3, param.AddDnsToL3NetworkParam{Params: param.AddDnsToL3NetworkDetailParam{Dns: "9.9.9.9"}}); err != nil {
		t.Error(err)
	}
	providers, err := w.c.QueryNetworkServiceProvider(q("type=" + w.b.Provider))
	if must(t, providers, err); len(providers) != 1 {
		t.Fatalf("providers of network services: %+v", providers)
	}
	services := map[string][]string{providers[0].Uuid: {"DHCP", "DNS", "Userdata"}}
	err = w.c.AttachNetworkServiceToL3Network(w.l3, param.AttachNetworkServiceToL3NetworkParam{Params: param.AttachNetworkServiceToL3NetworkDetailParam{NetworkServices: services}})
	if err != nil {
		t.Fatal(err)
	}
	network, err := w.c.GetL3Network(w.l3)
	if must(t, network, err); !slices.Equal(network.Dns, []string{"9.9.9.9"}) || len(network.NetworkServices) != 3 {
		t.Errorf("name servers %v, services %+v", network.Dns, network.NetworkServices)
	}
}

func (w *walker) removeImage(t *testing.T) {
	if err := w.c.DeleteImage(w.image, param.DeleteModePermissive); err != nil {
		t.Fatal(err)
	}
	if err := w.c.ExpungeImage(w.image); err != nil {
		t.Fatal(err)
	}
	if _, err := w.c.GetImage(w.image); err == nil {
		t.Error("the expunged image is still there")
	}
}

// removeRest takes down what the steps from place to services have put up, from
// the top.
func (w *walker) removeRest(t *testing.T) {
	mode := param.DeleteModePermissive
	hosts, err := w.c.QueryHost(q("clusterUuid=" + w.cluster))
	must(t, hosts, err)
	removed := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("remove %s: %v", what, err)
		}
	}
	removed("the L3 network", w.c.DeleteL3Network(w.l3, mode))
	removed("the L2 network", w.c.DeleteL2Network(w.l2, mode))
	removed("the offering", w.c.DeleteInstanceOffering(w.offering, mode))
	removed("the primary storage from its cluster", w.c.Delete("v1"+wire.Clusters+"/"+w.cluster+wire.PrimaryStorages, w.primary, string(mode)))
	removed("the primary storage", w.c.Delete("v1"+wire.PrimaryStorages, w.primary, string(mode)))
	for _, h := range hosts {
		removed("host "+h.Name, w.c.DeleteHost(h.UUID, mode))
	}
	removed("the backup storage", w.c.DeleteBackupStorage(w.backup))
	removed("the cluster", w.c.Delete("v1"+wire.Clusters, w.cluster, string(mode)))
	removed("the zone", w.c.Delete("v1"+wire.Zones, w.zone, string(mode)))
}

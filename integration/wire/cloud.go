package wire

import (
	"context"
	"fmt"
	"sync"
)

// Spec says how large a simulated cloud is. A zero field has the default that
// is told with it.
type Spec struct {
	// Name begins the names of all resources; default "sim".
	Name string
	// Hosts is the number of hosts; default 10.
	Hosts int
	// HostCPUs and HostMemory are what each host has; default 10,000 and 1 TiB.
	HostCPUs, HostMemory int64
	// Storage is the size of the primary and the backup storage in bytes;
	// default 4 PiB.
	Storage int64
	// CPUs and Memory are the instance offering's; default 1 and 64 MiB.
	CPUs, Memory int64
	// TakenIPs is how many hosts' management addresses are not to be used.
	TakenIPs int
	// Large makes an address range of a million instead of 65,000.
	Large bool
	// Bare leaves the network without services.
	Bare bool
}

// Cloud is the UUIDs of a simulated cloud.
type Cloud struct {
	Zone, Cluster                 string
	Hosts                         []string
	PrimaryStorage, BackupStorage string
	Image, Offering               string
	L2Network, L3Network, IPRange string
}

func (s Spec) withDefaults() Spec {
	set := func(n *int64, value int64) {
		if *n == 0 {
			*n = value
		}
	}
	if s.Name == "" {
		s.Name = "sim"
	}
	if s.Hosts == 0 {
		s.Hosts = 10
	}
	set(&s.HostCPUs, 10000)
	set(&s.HostMemory, 1<<40)
	set(&s.Storage, 4<<50)
	set(&s.CPUs, 1)
	set(&s.Memory, 64<<20)
	return s
}

// NewCloud makes a zone with one cluster of simulated hosts, a primary and a
// backup storage, an image, an instance offering and a network in which VMs
// can be created. What was made before an error stays.
func NewCloud(ctx context.Context, c *Client, spec Spec) (*Cloud, error) {
	b := builder{ctx: ctx, c: c, spec: spec.withDefaults(), cloud: &Cloud{}}
	for _, step := range []func() error{b.place, b.hosts, b.storages, b.images, b.network} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("set up the simulated cloud %s: %w", b.spec.Name, err)
		}
	}
	return b.cloud, nil
}

type builder struct {
	ctx   context.Context
	c     *Client
	spec  Spec
	cloud *Cloud
}

// create is Client.Create with the cloud's name and the UUID put into a field.
func (b *builder) create(into *string, path string, p Params) error {
	p["name"] = b.spec.Name
	var err error
	*into, err = b.c.Create(b.ctx, path, p)
	return err
}

func (b *builder) place() error {
	if err := b.create(&b.cloud.Zone, Zones, Params{}); err != nil {
		return err
	}
	return b.create(&b.cloud.Cluster, Clusters, Params{"zoneUuid": b.cloud.Zone, "hypervisorType": simulatorType})
}

// hosts adds the hosts, 16 at a time.
func (b *builder) hosts() error {
	b.cloud.Hosts = make([]string, b.spec.Hosts)
	failed := make([]error, b.spec.Hosts)
	slots := make(chan struct{}, 16)
	var wg sync.WaitGroup
	for i := range b.cloud.Hosts {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ip := b.spec.TakenIPs + i
			b.cloud.Hosts[i], failed[i] = b.c.Create(b.ctx, simulatorHosts, Params{
				"name":           fmt.Sprintf("%s-%d", b.spec.Name, i+1),
				"managementIp":   fmt.Sprintf("198.%d.%d.%d", 18+ip>>16&1, ip>>8&255, ip&255),
				"clusterUuid":    b.cloud.Cluster,
				"cpuCapacity":    b.spec.HostCPUs,
				"memoryCapacity": b.spec.HostMemory,
			})
		})
	}
	wg.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) storages() error {
	size := b.spec.Storage
	err := b.create(&b.cloud.PrimaryStorage, simulatorPrimary, Params{
		"zoneUuid": b.cloud.Zone, "url": "/" + b.spec.Name,
		"totalCapacity": size, "availableCapacity": size, "totalPhysicalCapacity": size, "availablePhysicalCapacity": size,
	})
	if err != nil {
		return err
	}
	if err = b.c.AttachPrimaryStorage(b.ctx, b.cloud.PrimaryStorage, b.cloud.Cluster); err != nil {
		return err
	}
	err = b.create(&b.cloud.BackupStorage, simulatorBackup, Params{
		"url": "/" + b.spec.Name, "totalCapacity": size, "availableCapacity": size,
	})
	if err != nil {
		return err
	}
	return b.c.AttachBackupStorage(b.ctx, b.cloud.BackupStorage, b.cloud.Zone)
}

func (b *builder) images() error {
	err := b.create(&b.cloud.Image, Images, Params{
		"url": "http://192.0.2.1/" + b.spec.Name + ".qcow2?virtual=1073741824&actual=67108864", "format": "qcow2",
		"mediaType": "RootVolumeTemplate", "platform": "Linux", "backupStorageUuids": []string{b.cloud.BackupStorage},
	})
	if err != nil {
		return err
	}
	return b.create(&b.cloud.Offering, InstanceOfferings, Params{"cpuNum": b.spec.CPUs, "memorySize": b.spec.Memory})
}

func (b *builder) network() error {
	err := b.create(&b.cloud.L2Network, noVlanNetworks, Params{"zoneUuid": b.cloud.Zone, "physicalInterface": "eth0"})
	if err != nil {
		return err
	}
	if err = b.c.AttachL2Network(b.ctx, b.cloud.L2Network, b.cloud.Cluster); err != nil {
		return err
	}
	if err = b.create(&b.cloud.L3Network, L3Networks, Params{"l2NetworkUuid": b.cloud.L2Network, "category": "Private"}); err != nil {
		return err
	}
	last, mask := "10.0.255.254", "255.255.0.0"
	if b.spec.Large {
		last, mask = "10.15.255.254", "255.240.0.0"
	}
	err = b.create(&b.cloud.IPRange, L3Networks+"/"+b.cloud.L3Network+"/ip-ranges", Params{
		"startIp": "10.0.0.2", "endIp": last, "netmask": mask, "gateway": "10.0.0.1",
	})
	if err != nil || b.spec.Bare {
		return err
	}
	return b.c.AttachServices(b.ctx, b.cloud.L3Network, simulatorProvider, "DHCP", "DNS", "Userdata")
}

// VM returns the parameters that create a VM in the cloud.
func (c *Cloud) VM(name string) Params {
	return Params{"name": name, "instanceOfferingUuid": c.Offering, "imageUuid": c.Image,
		"l3NetworkUuids": []string{c.L3Network}, "defaultL3NetworkUuid": c.L3Network}
}

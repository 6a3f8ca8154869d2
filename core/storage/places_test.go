package storage_test

import (
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// more adds a storage of a message's type to the site's cluster.
func (c *cloud) more(message, name string, total int64) string {
	c.t.Helper()
	uuid := c.Create(message, P{"name": name, "zoneUuid": c.s.Zone, "url": "/" + name})
	for _, host := range []string{"", c.s.Host} {
		c.World.Space(uuid, host, total, total)
	}
	c.Do(attachMsg, P{"clusterUuid": c.s.Cluster, "primaryStorageUuid": uuid})
	c.Do("APISyncPrimaryStorageCapacityMsg", P{"primaryStorageUuid": uuid})
	return uuid
}

// candidate is the site's host.
func (c *cloud) candidate() contract.HostCandidate {
	return contract.HostCandidate{UUID: c.s.Host, ClusterUUID: c.s.Cluster, ZoneUUID: c.s.Zone, HypervisorType: kerneltest.FakeType}
}

func (c *cloud) places(r contract.PlaceRequest) ([]contract.Place, error) {
	if r.Hosts == nil {
		r.Hosts = []contract.HostCandidate{c.candidate()}
	}
	return c.Storage.Places(c.t.Context(), c.Store, r)
}

// The storage with the most room is taken, unless one is named; a host has one
// place, and a few hosts are enough.
func TestPlacesInOrder(t *testing.T) {
	c := newCloud(t)
	small := c.more("APIAddFakePrimaryStorageMsg", "small", 10*giB)
	large := c.more("APIAddFakeLocalPrimaryStorageMsg", "large", 4*kerneltest.DefaultSpace)
	for want, r := range map[string]contract.PlaceRequest{
		large: {Size: giB},
		small: {Size: giB, PrimaryUUID: small},
	} {
		got, err := c.places(r)
		c.Ok(err)
		if len(got) != 1 || got[0].PrimaryUUID != want || got[0].Host.UUID != c.s.Host || got[0].HostLocal != (want == large) {
			t.Errorf("%+v: %+v", r, got)
		}
	}
	hosts := []contract.HostCandidate{c.candidate()}
	for range 5 {
		h := c.candidate()
		h.UUID = c.Host(c.s.Cluster)
		hosts = append(hosts, h)
	}
	got, err := c.places(contract.PlaceRequest{Hosts: hosts, Size: giB, PrimaryUUID: c.s.Primary})
	c.Ok(err)
	if len(got) != 3 || got[0].Host.UUID != hosts[0].UUID || got[2].Host.UUID != hosts[2].UUID {
		t.Errorf("got %+v", got)
	}
}

// Who gets no place is told why, of each storage.
func TestPlacesSayWhyNot(t *testing.T) {
	c := newCloud(t)
	c.more("APIAddFakePrimaryStorageMsg", "small", 10*giB)
	c.more("APIAddFakeLocalPrimaryStorageMsg", "local", 5*giB)
	refused := func(r contract.PlaceRequest, words ...string) {
		t.Helper()
		got, err := c.places(r)
		if errs.ClassOf(err) != errs.Exhausted {
			t.Fatalf("got %+v %v", got, err)
		}
		for _, w := range append(words, "attach a storage to the cluster, or free space") {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%v does not say %q", err, w)
			}
		}
	}
	refused(contract.PlaceRequest{Size: 2 * kerneltest.DefaultSpace}, "no storage can take 2199023255552 bytes",
		"primary: 1099511627776 bytes available, of which 1073741824 are reserved", "small: 10737418240 bytes", "local: 5368709120 bytes")
	other := c.candidate()
	other.HypervisorType = "Other"
	refused(contract.PlaceRequest{Size: 1, Hosts: []contract.HostCandidate{other}}, "primary: its type cannot be used by Other")
	other = c.candidate()
	other.UUID = "unknown"
	refused(contract.PlaceRequest{Size: 1, Hosts: []contract.HostCandidate{other}}, "small: is not connected to host unknown")
	other.ClusterUUID = c.Cluster(c.s.Zone)
	refused(contract.PlaceRequest{Size: 1, Hosts: []contract.HostCandidate{other}}, "no storage is attached to the clusters of the hosts")
	refused(contract.PlaceRequest{Image: image("Other")}, "primary: cannot read from the backup storages that have image tiny")
	// What is reserved is no volume's: the last byte beside it is.
	for size, fits := range map[int64]bool{4 * giB: true, 4*giB + 1: false} {
		_, err := c.places(contract.PlaceRequest{Size: size, PrimaryUUID: c.List("PrimaryStorage", "name=local")[0].Text("uuid")})
		if (err == nil) != fits {
			t.Errorf("%d bytes of 5 GiB with 1 GiB reserved: %v", size, err)
		}
	}
	got, err := c.places(contract.PlaceRequest{Size: 1, Image: image("Other", kerneltest.FakeType)})
	c.Ok(err)
	c.Want("store to read from", got[0].ImageStoreUUID, "store of "+kerneltest.FakeType)
}

func image(types ...string) *contract.Image {
	i := &contract.Image{Name: "tiny", Format: "raw"}
	for _, t := range types {
		i.Stores = append(i.Stores, contract.ImageStore{UUID: "store of " + t, Type: t})
	}
	return i
}

// A primary storage is added when its plugin takes it, and nothing is left when
// it, or its zone, does not.
func TestAddPrimaryStorage(t *testing.T) {
	c := newCloud(t)
	p := P{"name": "new", "zoneUuid": c.s.Zone, "url": "/new"}
	before := c.Dump("PrimaryStorage")
	const message = "APIAddFakePrimaryStorageMsg"
	c.Calls.Fail("ConnectStorage", gone("it"))
	c.Refused(errs.Unavailable, message, p, "not mounted")
	c.Calls.Fail("ConnectStorage", nil)
	c.Refused(errs.Invalid, message, P{"name": "new", "zoneUuid": c.s.Zone, "url": "/new", "type": "Other"}, "type", "is Other, and this message adds a Fake")
	c.Refused(errs.Exists, message, P{"name": "new", "zoneUuid": c.s.Zone, "url": "/primary"}, "there is one of type Fake with this url in the zone already")
	c.Refused(errs.Invalid, message, P{"name": "new", "zoneUuid": c.s.Zone}, "url")
	c.As(c.Account()).Refused(errs.Denied, message, p)
	c.Want("what is there", c.Dump("PrimaryStorage"), before)
	row := c.Do(message, p)
	c.Want("state", row.Text("state"), "Enabled")
	c.Want("status", row.Text("status"), "Connected")
	c.Want("capacity", row.Int("availableCapacity"), int64(kerneltest.DefaultSpace))
	c.Create(message, P{"name": "new", "zoneUuid": c.Create("APICreateZoneMsg", P{"name": "far"}), "url": "/primary"})
	types := c.Do("APIGetPrimaryStorageTypesMsg", nil)["primaryStorageTypes"]
	if list, _ := types.([]any); len(list) != 2 {
		t.Errorf("types %v", types)
	}
}

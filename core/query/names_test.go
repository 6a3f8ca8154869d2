package query_test

import (
	"encoding/json"
	"testing"

	"github.com/kumo-cloud/kumo/core/query"
	"github.com/kumo-cloud/kumo/core/store/storetest"
)

// A page tells the names of what its rows refer to, lists within them included,
// and of nothing that the caller may not read.
func TestNames(t *testing.T) {
	s := storetest.Open(t, sample()...)
	for _, line := range []string{
		"Zone uuid=z1 name=north state=Enabled", "Cluster uuid=c1 name=rack zoneUuid=z1", "Host uuid=h1 name=host-1 clusterUuid=c1 hypervisorType=KVM managementIp=10.0.0.1",
		"VmInstance uuid=v1 name=web hostUuid=h1 type=UserVm accountUuid=a1", "VmInstance uuid=v2 name=db hostUuid=h1 type=UserVm accountUuid=a2",
		"L3Network uuid=l1 name=flat zoneUuid=z1 accountUuid=a1", "VmNic uuid=n1 vmInstanceUuid=v1 l3NetworkUuid=l1 ip=10.0.0.5 deviceId=0",
		"Deed uuid=e1 volumeUuid=d1 zoneUuid=z1 accountUuid=a1", "Volume uuid=d1 name=mine vmInstanceUuid=v1 accountUuid=a1", "Volume uuid=d2 name=odd vmInstanceUuid=v2 accountUuid=a1",
	} {
		if err := load(s, line); err != nil {
			t.Fatal(err)
		}
	}
	e := query.New(s, s.Registry())
	names := func(typ, account string) map[string]query.Name {
		t.Helper()
		sc := query.Scope{Admin: account == "", AccountUUID: account}
		res, err := e.Run(ctx, typ, query.Query{}, sc)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Names(ctx, s, typ, res.Inventories, sc)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, c := range []struct {
		typ, account string
		want         map[string]string
	}{
		{"Cluster", "", map[string]string{"z1": "Zone north"}},
		// The network is named by the NIC in the list, the VM by the NIC's own reference.
		{"VmInstance", "a1", map[string]string{"h1": "Host host-1", "l1": "L3Network flat", "v1": "VmInstance web", "z1": "Zone north"}},
		{"Volume", "", map[string]string{"v1": "VmInstance web", "v2": "VmInstance db", "z1": "Zone north"}},
		{"Volume", "a1", map[string]string{"v1": "VmInstance web", "z1": "Zone north"}}, // v2 is another's
		{"Zone", "", map[string]string{}},
	} {
		got := names(c.typ, c.account)
		short := map[string]string{}
		for uuid, n := range got {
			short[uuid] = n.Type + " " + n.Label
		}
		a, _ := json.Marshal(short)
		if b, _ := json.Marshal(c.want); string(a) != string(b) {
			t.Errorf("%s as %q: got %s, want %s", c.typ, c.account, a, b)
		}
	}
}

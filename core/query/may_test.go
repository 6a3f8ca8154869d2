package query_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/query"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// A query that may touch some types only is refused as soon as it reaches into
// another one, which the error names; members of others are left out.
func TestMayTouch(t *testing.T) {
	s := storetest.Open(t, sample()...)
	if err := s.Registry().Check(); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"Host uuid=h1 name=h hypervisorType=KVM clusterUuid=c1", "KVMHost uuid=h1 username=root sshPort=22", "HostCapacity uuid=h1 totalCpu=4 availableMemory=1",
		"VmInstance uuid=v1 name=v type=UserVm hostUuid=h1 state=Running", "VmNic uuid=n1 vmInstanceUuid=v1 ip=10.0.0.1", "UsedIp uuid=i1 vmNicUuid=n1 ip=10.0.0.1",
	} {
		if err := load(s, line); err != nil {
			t.Fatal(err)
		}
	}
	e := query.New(s, s.Registry())
	ask := func(typ, may string, q query.Query) (string, error) {
		res, err := e.Run(ctx, typ, q, query.Scope{Admin: true, May: func(name string) error {
			if slices.Contains(strings.Fields(may), name) {
				return nil
			}
			return errs.New(errs.Denied, name, "not this one")
		}})
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s", res.Inventories), nil
	}
	where := func(name string) query.Query {
		return query.Query{Conditions: []query.Condition{{Name: name, Op: query.NotNull}}}
	}
	for _, c := range []struct {
		typ, may string
		q        query.Query
		refused  string // the type
	}{
		{"VmInstance", "Host", query.Query{}, "VmInstance"},
		{"VmInstance", "VmInstance", where("host.name"), "Host"},
		{"VmInstance", "VmInstance Host", where("host.cluster.name"), "Cluster"},
		{"VmInstance", "VmInstance Host", where("host.name"), ""},
		{"VmInstance", "VmInstance", where("vmNics.ip"), "VmNic"},
		{"VmInstance", "VmInstance", where("__systemTag__"), "SystemTag"},
		{"VmInstance", "VmInstance", query.Query{Fields: []string{"vmNics.ip"}}, "VmNic"},
		{"VmInstance", "VmInstance VmNic", query.Query{Fields: []string{"vmNics"}}, "UsedIp"},
		{"VmInstance", "VmInstance VmNic UsedIp", query.Query{Fields: []string{"vmNics"}}, ""},
		{"VmNic", "VmNic L3Network SecurityGroup", where("securityGroup.name"), "NicSecurityGroupRef"},
		{"L3Network", "L3Network", where("dns"), "L3NetworkDns"},
		{"L3Network", "L3Network", query.Query{Fields: []string{"dns"}}, "L3NetworkDns"},
		{"Host", "Host", query.Query{Sort: "totalCpuCapacity"}, "HostCapacity"},
		{"Host", "Host", where("totalCpuCapacity"), "HostCapacity"},
		{"Host", "Host", query.Query{Fields: []string{"totalCpuCapacity"}}, "HostCapacity"},
		{"Host", "Host", where("sshPort"), ""}, // of what refines it
		{"KVMHost", "Host", query.Query{}, ""},
		{"Host", "KVMHost", query.Query{}, "Host"},
	} {
		_, err := ask(c.typ, c.may, c.q)
		known, _ := errors.AsType[*errs.Error](err)
		if c.refused == "" && err != nil || c.refused != "" && (known == nil || known.Class != errs.Denied || known.Object != c.refused) {
			t.Errorf("%s %+v with %s: %v; to be refused for %q", c.typ, c.q, c.may, err, c.refused)
		}
	}
	for may, want := range map[string]string{
		"VmInstance":                          "",
		"VmInstance VmNic":                    "",
		"VmInstance VmNic UsedIp":             "vmNics",
		"VmInstance VmNic UsedIp Volume Deed": "vmNics allVolumes",
	} {
		got, err := ask("VmInstance", may, query.Query{})
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range []string{"vmNics", "allVolumes"} {
			if strings.Contains(got, list) != strings.Contains(want, list) || !strings.Contains(got, `"state":"Running"`) {
				t.Errorf("with %s: %s; want %q", may, got, want)
			}
		}
	}
}

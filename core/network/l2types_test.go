package network_test

import (
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/assembly/cloudtest"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// lane makes a network of the type that the test's plugin has beside the plain one.
func (c *cloud) lane(device string, lane int) string {
	return c.Create("APICreateFakeL2NetworkMsg", P{"name": "lane", "zoneUuid": c.s.Zone, "physicalInterface": device, "lane": lane, "colour": "red"})
}

// A type of a plugin has its message, fields, query and number without a word in the core.
func TestTypeOfAPlugin(t *testing.T) {
	c := newCloud(t)
	row := c.Get("FakeL2Network", c.lane("eth1", 7))
	c.want("type", row.Text("type"), kerneltest.FakeL2Type)
	c.want("lane", row["lane"], 7.0)
	c.want("colour", row.Text("colour"), "red")
	c.want("number", row["virtualNetworkId"], 7.0)
	c.want("found by its field", c.count("FakeL2Network", "lane=7"), 1)
	c.want("others", c.count("FakeL2Network", "lane=8"), 0)
	p := func(more P) P {
		all := P{"name": "l2", "zoneUuid": c.s.Zone, "physicalInterface": "eth1", "lane": 1}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	before := c.count("L2Network")
	for _, lane := range []any{0, 100, nil} {
		c.Refused(errs.Invalid, "APICreateFakeL2NetworkMsg", p(P{"lane": lane}), "lane")
	}
	c.Refused(errs.Invalid, "APICreateFakeL2NetworkMsg", p(P{"type": "L2NoVlanNetwork"}), "this message adds a "+kerneltest.FakeL2Type)
	c.Refused(errs.Invalid, "APICreateFakeL2NetworkMsg", p(P{"vSwitchType": "Other"}), "vSwitchType", "not offered by any plugin")
	c.want("networks", c.count("L2Network"), before)
	kept := c.Do("APICreateFakeL2NetworkMsg", p(P{"isolated": true, "pvlan": "3"})) // it refuses neither
	if kept["isolated"] != true || kept.Text("pvlan") != "3" {
		t.Errorf("made was %v", kept)
	}
}

// The plugin is told the fields of its type, and its networks share a cluster when
// they differ in what it says.
func TestAttachmentsOfAPluginsType(t *testing.T) {
	c := newCloud(t)
	c.Calls.Forget()
	attach := func(l2 string) P { return P{"l2NetworkUuid": l2, "clusterUuid": c.s.Cluster} }
	first := c.lane("eth0", 7) // beside the site's, which is of another type
	c.Do("APIAttachL2NetworkToClusterMsg", attach(first))
	r, _ := kerneltest.Last[*pluginv1.RealizeRequest](c.Calls, "Realize")
	if n := r.GetNetwork(); n.GetUuid() != first || n.GetVirtualNetworkId() != 7 || n.GetFields()["lane"] != "7" || n.GetFields()["colour"] != "red" {
		t.Errorf("told was %v", r)
	}
	c.Refused(errs.Refused, "APIAttachL2NetworkToClusterMsg", attach(c.lane("eth0", 7)), "physicalInterface eth0, lane 7 carries network lane")
	for _, other := range []string{c.lane("eth0", 8), c.lane("eth1", 7)} {
		c.Do("APIAttachL2NetworkToClusterMsg", attach(other))
	}
	c.Do("APIDetachL2NetworkFromClusterMsg", attach(first))
	u, _ := kerneltest.Last[*pluginv1.UnrealizeRequest](c.Calls, "Unrealize")
	c.want("what was taken away", u.GetNetwork().GetFields()["lane"], "7")
	c.Do("APIDeleteL2NetworkMsg", P{"uuid": first})
	c.want("rows of the type", c.count("FakeL2Network"), 3)
}

// Plugins that make one type say the same of it, or nothing.
func TestTypeOfTwoPlugins(t *testing.T) {
	second := func(change func(*pluginv1.L2NetworkDecl)) *plugin.Manager {
		d := kerneltest.NewFake().Plugin().Manifest.L2Networks[0]
		d.HypervisorTypes, d.Switches = []string{"Second"}, nil
		change(d)
		first := kerneltest.NewFake().Plugin().Manifest
		m, err := plugin.Connected(nil, plugin.Connection{Manifest: first},
			plugin.Connection{Manifest: &pluginv1.Manifest{Name: "second", L2Networks: []*pluginv1.L2NetworkDecl{d}}})
		if (err != nil) != (d.GetAdd().GetPath() == "/elsewhere") || err != nil && !strings.Contains(err.Error(), "L2 network type L2NoVlanNetwork: plugins fake and second describe it differently") {
			t.Errorf("%v: %v", d, err)
		}
		return m
	}
	second(func(d *pluginv1.L2NetworkDecl) { d.Add.Path = "/elsewhere" })
	m := second(func(d *pluginv1.L2NetworkDecl) { d.Add, d.Unique, d.Refuses = nil, nil, nil })
	if _, err := m.L2Network("L2NoVlanNetwork", "Second"); err != nil {
		t.Error(err)
	}
	m = second(func(d *pluginv1.L2NetworkDecl) { d.Type, d.Add, d.Unique, d.Refuses = "Unmade", nil, nil, nil })
	if all := plugin.L2Types(m.Manifests()); len(all) != 2 || errs.ClassOf(m.L2Ready("Unmade")) != errs.NotFound {
		t.Errorf("a type without a message is among %v: %v", all, m.L2Ready("Unmade"))
	}
	if all := plugin.L2Types(second(func(*pluginv1.L2NetworkDecl) {}).Manifests()); len(all) != 2 {
		t.Errorf("types are %v", all)
	}
}

// Without a plugin that has the message there is none.
func TestTypesAreThoseWithAMessage(t *testing.T) {
	c := cloudtest.New(t)
	types := plugin.L2Types(c.Declared())
	if len(types) != 2 || types[0].GetType() != "L2NoVlanNetwork" || types[1].GetType() != kerneltest.FakeL2Type {
		t.Errorf("types are %v", types)
	}
	if err := c.Plugins.L2Ready("L2NoVlanNetwork"); err != nil {
		t.Error(err)
	}
	if err := c.Plugins.L2Ready("Nothing"); errs.ClassOf(err) != errs.NotFound {
		t.Errorf("a type of nobody: %v", err)
	}
}

package compute_test

import (
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/topology"
)

// write changes rows behind the services' backs, as an older version or a person
// with another program has.
func (c *cloud) write(query string, args ...any) {
	c.Ok(c.Store.Update(c.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(c.Context(), query, args...)
		return err
	}))
}

// guestsCheck is what the site's host shows of its guests.
func (c *cloud) guestsCheck() *topology.HostCheck {
	row, _, err := store.First(c.Context(), c.Store, topology.HostCheckType, "`hostUuid` = ? AND `name` = 'guests'", c.s.Host)
	c.Ok(err)
	return row
}

// Whatever is damaged of one guest, its host connects, the other guests are served,
// and the host says which guest cannot be read, and why, until it can.
func TestDamagedGuestCostsOthersNothing(t *testing.T) {
	c := newCloud(t)
	c.services()
	c.cd = c.iso()
	bad := c.run(P{"imageUuid": c.cd, "rootDiskSize": giB, "systemTags": []string{"ha::NeverStop", "hostname::bad", "consolePassword::secret"}})
	good := c.run(P{"name": "good"})
	nowhere := strings.Repeat("0", 31) + "1"
	for _, x := range []struct {
		table, of, column string
		value             any
		word              string // of the reason; "" where the guest can be read
	}{
		{"VmInstance", "uuid", "cpuNum", "two", `cpuNum: "two" is not a number`},
		{"VmInstance", "uuid", "cpuNum", int64(1) << 62, ""},
		{"VmInstance", "uuid", "memorySize", "x", "memorySize"},
		{"VmInstance", "uuid", "memorySize", -1, ""},
		{"VmInstance", "uuid", "createDate", "yesterday", "createDate"},
		{"VmInstance", "uuid", "platform", 7.5, ""},
		{"VmInstance", "uuid", "state", "Odd", ""},
		{"VmInstance", "uuid", "clusterUuid", nowhere, ""},
		{"VmNic", "vmInstanceUuid", "deviceId", "first", "deviceId"},
		{"VmNic", "vmInstanceUuid", "l3NetworkUuid", nowhere, ""},
		{"VmNic", "vmInstanceUuid", "mac", "x", ""},
		{"VmNic", "vmInstanceUuid", "ip", "{", ""},
		{"VmNic", "vmInstanceUuid", "vmInstanceUuid", nowhere, ""},
		{"Volume", "vmInstanceUuid", "size", "huge", "size"},
		{"Volume", "vmInstanceUuid", "primaryStorageUuid", nowhere, ""},
		{"Volume", "vmInstanceUuid", "format", "odd", ""},
		{"VmCdRom", "vmInstanceUuid", "deviceId", "x", "deviceId"},
		{"SystemTag", "resourceUuid", "tag", "{\"", ""},
	} {
		name := x.table + "." + x.column
		before := map[string]any{}
		c.Ok(c.Store.Each(c.Context(), "SELECT `uuid`, `"+x.column+"` FROM `"+x.table+"` WHERE `"+x.of+"` = ?", []any{bad}, func(r *store.Row) error {
			before[r.Text(0)] = r.Values[1]
			return nil
		}))
		if len(before) == 0 {
			t.Fatalf("%s: the guest has none", name)
		}
		c.write("UPDATE `"+x.table+"` SET `"+x.column+"` = ? WHERE `"+x.of+"` = ?", x.value, bad)
		c.costsNothing(name, good)
		check := c.guestsCheck()
		if x.word == "" && check.State != topology.CheckOK || x.word != "" && (check.State != topology.CheckFailed || !strings.Contains(check.Reason, bad) || !strings.Contains(check.Reason, x.word)) {
			t.Errorf("%s: the host shows %+v", name, check)
		}
		c.Idle(bad)
		for uuid, value := range before {
			c.write("UPDATE `"+x.table+"` SET `"+x.column+"` = ? WHERE `uuid` = ?", value, uuid)
		}
	}
	c.costsNothing("nothing", good)
	c.Want("the host shows", c.guestsCheck().State, topology.CheckOK)
	c.do("Stop", bad)
	c.do("Start", bad)
	var sealed []byte
	c.Ok(c.Store.Each(c.Context(), "SELECT `sealed` FROM `SystemTag` WHERE `resourceUuid` = ? AND `sealed` IS NOT NULL", []any{bad}, func(r *store.Row) error {
		sealed = []byte(r.Text(0))
		return nil
	}))
	c.write("UPDATE `SystemTag` SET `sealed` = ? WHERE `resourceUuid` = ? AND `sealed` IS NOT NULL", sealed[:len(sealed)-1], bad)
	c.costsNothing("a secret", good)
	if check := c.guestsCheck(); check.State != topology.CheckFailed || !strings.Contains(check.Reason, "it cannot be opened") {
		t.Errorf("a secret that cannot be opened: the host shows %+v", check)
	}
}

// costsNothing connects the site's host and works with a guest, while another one is
// damaged.
func (c *cloud) costsNothing(damage, good string) {
	c.Do("APIReconnectHostMsg", P{"uuid": c.s.Host})
	c.Want("status after damage to "+damage, c.Get("Host", c.s.Host).Text("status"), "Connected")
	c.do("Stop", good)
	c.do("Start", good)
	c.Want("guests listed", len(c.List("VmInstance")), 2)
	c.Want("NICs of the other one", len(c.vm(good).Rows("vmNics")), 1)
}

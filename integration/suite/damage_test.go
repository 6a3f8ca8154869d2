package suite

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// One guest's rows that cannot be read cost neither its host nor other guests and
// networks anything, also when the core starts with them; the host's page and the
// doctor say which they are. SQLite keeps whatever somebody writes into a column.
func TestDamagedRows(t *testing.T) {
	s := server.Start(t, server.Options{Plugins: []string{"simulator"}})
	l := &lab{T: t, s: s, c: s.Client, db: s.Database()}
	cloud, err := wire.NewCloud(t.Context(), s.Client, wire.Spec{Name: "lab", Hosts: 1})
	if err != nil {
		t.Fatal(err)
	}
	l.cloud = cloud
	bad, good := l.vm("bad", nil, "userdata::YQ==").text("uuid"), l.vm("good", nil).text("uuid")
	binary, _ := server.Build(t, "simulator")
	nowhere := strings.Repeat("0", 31) + "1"
	works := func() {
		t.Helper()
		l.act(wire.Hosts+"/"+cloud.Hosts[0], "reconnectHost", nil)
		l.want("host", l.get(wire.Hosts, cloud.Hosts[0]).text("status"), "Connected")
		l.act(wire.VMs+"/"+good, "stopVmInstance", nil)
		l.act(wire.VMs+"/"+good, "startVmInstance", nil)
		l.want("guests", len(l.query(wire.VMs)), 2)
		l.want("networks", len(l.query("/l3-networks")), 1)
		l.want("volumes", len(l.query("/volumes")), 2)
		fresh := wire.VMs + "/" + l.vm("fresh", nil).text("uuid")
		l.remove(fresh)
		l.act(fresh, "expungeVmInstance", nil)
	}
	damages := []struct{ table, of, column, value, told string }{
		{"VmInstance", "uuid", "cpuNum", "many", "is no number"},
		{"VmInstance", "uuid", "createDate", "{}", "is no number"},
		{"VmInstance", "uuid", "state", "Odd", ""},
		{"VmNic", "vmInstanceUuid", "deviceId", "x", "is no number"},
		{"VmNic", "vmInstanceUuid", "l3NetworkUuid", nowhere, "there is no such L3Network"},
		{"Volume", "vmInstanceUuid", "primaryStorageUuid", nowhere, "there is no such PrimaryStorage"},
		{"Volume", "vmInstanceUuid", "size", "x", "is no number"},
		{"SystemTag", "resourceUuid", "tag", "userdata::{", "its value is not base64"},
	}
	before := make([]any, len(damages))
	write := func(i int, value any) {
		x := damages[i]
		s.Write("UPDATE `"+x.table+"` SET `"+x.column+"` = ? WHERE `"+x.of+"` = ?", value, bad)
	}
	for i, x := range damages { // one after the other
		t.Log(x.table, x.column, x.value)
		query := "SELECT `" + x.column + "` FROM `" + x.table + "` WHERE `" + x.of + "` = ?"
		if err := l.db.QueryRowContext(t.Context(), query, bad).Scan(&before[i]); err != nil {
			t.Fatal(err)
		}
		write(i, x.value)
		works()
		write(i, before[i])
	}
	for i, x := range damages { // and all of them, from the start
		write(i, x.value)
	}
	s.Stop()
	s = s.Again()
	l.s, l.c = s, s.Client
	wait(t, "the host connects", func() bool { return l.get(wire.Hosts, cloud.Hosts[0]).text("status") == "Connected" })
	works()
	text, err := exec.CommandContext(t.Context(), binary, "doctor", "--data-dir", s.Dir, "-o", "json").CombinedOutput()
	if err != nil {
		t.Errorf("the doctor: %v: %s", err, text)
	}
	for _, x := range damages {
		if !strings.Contains(string(text), x.told) {
			t.Errorf("the doctor says nothing of %s.%s: %s", x.table, x.column, text)
		}
	}
	for i := range damages {
		write(i, before[i])
	}
	works()
	l.act(wire.VMs+"/"+bad, "stopVmInstance", nil)
	s.Settle(s.Database())
	s.Audit(s.Database())
}

// wait waits until something holds.
func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

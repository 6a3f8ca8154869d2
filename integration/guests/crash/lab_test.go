package crash

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/guests"
	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

const (
	// refuse and hold are the files that tell libvirt's hook what to do with a
	// guest that is to start: to refuse it, or to wait while the file is there.
	refuse = guests.Base + "/refuse"
	hold   = guests.Base + "/hold"
	// held is a folder with a file for each guest that waits.
	held = guests.Base + "/held"

	hook = `#!/bin/sh
[ "$2" = prepare ] || exit 0
if [ -e ` + refuse + ` ]; then
	echo "the test lets no guest start" >&2
	exit 1
fi
[ -e ` + hold + ` ] || exit 0
: >` + held + `/$1
n=0
while [ -e ` + hold + ` ] && [ $n -lt 600 ]; do
	sleep 0.05
	n=$((n + 1))
done
rm ` + held + `/$1
`
)

// lab is a cloud with one host, on which guests come and go.
type lab struct {
	*guests.Cloud
	t  *testing.T
	db *sql.DB
	// used and unused are the traces of the cloud without guests: the DHCP
	// service of its network ends when the host is connected anew.
	used, unused []string
	bytes        int64 // that the storage has for volumes
}

func newLab(t *testing.T) *lab {
	t.Helper()
	// libvirt looks for hooks when it starts.
	err := errors.Join(os.MkdirAll("/etc/libvirt/hooks", 0o755), os.WriteFile("/etc/libvirt/hooks/qemu", []byte(hook), 0o755), os.MkdirAll(held, 0o755))
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{Cloud: guests.Here(t), t: t}
	l.db = l.Database()
	// Nobody answers a power button while it boots, and nobody wants to wait.
	for name, value := range map[string]string{"vm/stopGracePeriod": "1", "flow/undo.interval": "1"} {
		l.Do("/global-configurations/"+name, "updateGlobalConfig", wire.Params{"value": value})
	}
	l.victim("Running") // the image is cached, the network has its namespace
	l.removeAll()
	l.used, l.bytes = l.traces(), l.Free().Bytes
	l.Stop()
	l.Again()
	l.WaitConnected()
	l.unused = l.traces()
	return l
}

// end removes the cloud and looks for what it has left on the machine.
func (l *lab) end() {
	l.t.Helper()
	l.Remove(wire.Zones + "/" + l.Zone)
	l.Remove(wire.Images + "/" + l.Image)
	l.Do(wire.Images+"/"+l.Image, "expungeImage", wire.Params{"backupStorageUuids": []string{l.Backup}})
	l.Remove(wire.BackupStorages + "/" + l.Backup)
	l.Cloud.End()
}

// mark makes a file that the hook looks for, and returns what removes it.
func mark(t *testing.T, file string) (remove func()) {
	t.Helper()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

// noLibvirtd is a host whose libvirtd is down.
func noLibvirtd(t *testing.T) (heal func()) {
	rig.StopLibvirtd(t)
	return func() { rig.StartLibvirtd(t) }
}

// victim is the guest that a call is for.
type victim struct{ uuid, disk string }

// victim makes a guest and takes it to a state.
func (l *lab) victim(state string) victim {
	l.t.Helper()
	g := l.Create(nil, l.Spec("victim"))
	switch state {
	case "Stopped":
		l.Do(g.Path(), "stopVmInstance", wire.Params{"type": "cold"})
	case "Destroyed":
		l.Remove(g.Path())
	}
	if got := g.State(); got != state {
		l.t.Fatalf("the guest is %s; want %s", got, state)
	}
	return victim{g.UUID, g.Disk()}
}

// removeAll removes all guests for good.
func (l *lab) removeAll() {
	l.t.Helper()
	for _, uuid := range l.texts("SELECT uuid FROM `VmInstance`") {
		l.Remove(wire.VMs + "/" + uuid)
		l.Do(wire.VMs+"/"+uuid, "expungeVmInstance", nil)
	}
}

func (l *lab) texts(query string) []string {
	l.t.Helper()
	rows, err := l.db.QueryContext(l.t.Context(), query)
	if err != nil {
		l.t.Fatal(err)
	}
	list := []string{}
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			l.t.Fatal(err)
		}
		list = append(list, text)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		l.t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// files lists what matches a pattern; MAC addresses lose their colons there.
func (l *lab) files(pattern string) []string {
	l.t.Helper()
	list, err := filepath.Glob(pattern)
	if err != nil {
		l.t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// consistent fails the test unless the rows add up, and libvirt, disks and DHCP
// have just what the database says. A guest that ended while the server was
// down, or that a failed call has ended, is noticed a moment later.
func (l *lab) consistent(at string) {
	l.t.Helper()
	var differences []string
	for begin := time.Now(); time.Since(begin) < 10*time.Second; time.Sleep(50 * time.Millisecond) {
		if differences = l.differences(); len(differences) == 0 {
			break
		}
	}
	for _, d := range differences {
		l.t.Errorf("%s: %s", at, d)
	}
	l.AuditRows(l.db)
}

func (l *lab) differences() []string {
	var list []string
	compare := func(what string, db, world []string) {
		if !slices.Equal(db, world) {
			list = append(list, fmt.Sprintf("%s: the database has %v, the host %v", what, db, world))
		}
	}
	compare("guests", l.texts("SELECT uuid FROM `VmInstance` WHERE `state` IN ('Running', 'Paused')"), l.domains())
	compare("volumes", l.texts("SELECT `installPath` FROM `Volume`"), l.files(guests.PrimaryFolder+"/volumes/*"))
	compare("bytes taken", l.texts("SELECT COALESCE(SUM(size), 0) FROM `Volume`"), []string{fmt.Sprint(l.bytes - l.Free().Bytes)})
	var bound []string
	for _, file := range l.files(guests.StateFolder + "/dhcp/*/bindings/*") {
		bound = append(bound, filepath.Base(file))
	}
	compare("DHCP bindings", l.texts("SELECT REPLACE(mac, ':', '') FROM `VmNic` WHERE `vmInstanceUuid` IN "+
		"(SELECT uuid FROM `VmInstance` WHERE `state` IN ('Running', 'Paused'))"), bound)
	return list
}

// domains are the guests that libvirt knows, which bear their UUID as name.
func (l *lab) domains() []string {
	l.t.Helper()
	out, err := exec.Command("virsh", "-q", "-c", "qemu:///system", "list", "--all", "--name").Output()
	if err != nil {
		l.t.Fatal(err)
	}
	list := strings.Fields(string(out))
	slices.Sort(list)
	return list
}

// traces lists what a guest could leave: domains, namespaces, devices, files,
// capacity, and rows.
func (l *lab) traces() []string {
	l.t.Helper()
	list := []string{fmt.Sprintf("capacity %+v", l.Free()), fmt.Sprintf("domains %v", l.domains())}
	for _, args := range [][]string{{"netns"}, {"-br", "link"}} {
		out, err := exec.Command("ip", args...).Output()
		if err != nil {
			l.t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			list = append(list, args[len(args)-1]+" "+strings.Fields(line)[0])
		}
	}
	for _, table := range l.texts("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'") {
		if server.Grows(table) {
			continue
		}
		list = append(list, fmt.Sprintf("%s rows in %s", l.texts("SELECT COUNT(*) FROM `" + table + "`")[0], table))
	}
	for _, folder := range []string{filepath.Join(guests.PrimaryFolder), filepath.Join(guests.StateFolder, "dhcp"), "/var/log/libvirt/qemu", held} {
		for _, path := range guests.Files(l.t, folder) {
			if !strings.Contains(path, "leases") && !strings.Contains(path, "log/kumo") {
				list = append(list, "file "+path)
			}
		}
	}
	return list
}

// nothingLeft fails the test unless the cloud is as it was without guests.
func (l *lab) nothingLeft(at string) {
	l.t.Helper()
	now := l.traces()
	if slices.Equal(now, l.used) || slices.Equal(now, l.unused) {
		return
	}
	for _, line := range now {
		if !slices.Contains(l.used, line) && !slices.Contains(l.unused, line) {
			l.t.Errorf("%s: left: %s", at, line)
		}
	}
	for _, line := range l.used {
		if !slices.Contains(now, line) && slices.Contains(l.unused, line) {
			l.t.Errorf("%s: gone: %s", at, line)
		}
	}
}

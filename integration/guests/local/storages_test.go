package local

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/integration/guests"
	"github.com/kumo-cloud/kumo/integration/wire"
)

const (
	giB = 1 << 30
	// primaryURL and storeURL are the storages' paths in the API.
	primaryURL, storeURL = wire.PrimaryStorages + "/", wire.BackupStorages + "/"
	// away is where a disk is while it is not mounted.
	away = guests.Base + "/away"
)

// disk is a small file system in memory.
type disk struct {
	t    *testing.T
	path string
}

func newDisk(t *testing.T, path string, gib int) disk {
	t.Helper()
	d := disk{t, path}
	d.must(os.RemoveAll(path)) // what an earlier test left would be found while the disk is away
	d.must(os.MkdirAll(path, 0o755))
	d.must(unix.Mount("tmpfs", path, "tmpfs", 0, size(gib)))
	t.Cleanup(func() { d.must(unix.Unmount(path, 0)) })
	return d
}

func size(gib int) string { return fmt.Sprintf("mode=755,size=%dm", gib<<10) }

func (d disk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatalf("%s: %v", d.path, err)
	}
}

func (d disk) resize(gib int) {
	d.t.Helper()
	d.must(unix.Mount("", d.path, "", unix.MS_REMOUNT, size(gib)))
}

// without does something while the disk is not mounted.
func (d disk) without(do func()) {
	d.t.Helper()
	d.must(os.Mkdir(away, 0o755))
	d.must(unix.Mount(d.path, away, "", unix.MS_MOVE, ""))
	defer func() {
		d.must(unix.Mount(away, d.path, "", unix.MS_MOVE, ""))
		d.must(os.Remove(away))
	}()
	do()
}

// space is what the API tells of a storage.
type space struct {
	State, Status                                    string
	TotalCapacity, AvailableCapacity                 int64
	TotalPhysicalCapacity, AvailablePhysicalCapacity int64
}

// becomes waits until the API tells of a storage what is wanted.
func becomes(t *testing.T, c *guests.Cloud, path, uuid, what string, ok func(space) bool) space {
	t.Helper()
	var s space
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if c.Get(path, uuid, &s) && ok(s) {
			return s
		}
		if time.Since(begin) > time.Minute {
			t.Fatalf("%s is not %s: %+v", path+uuid, what, s)
		}
	}
}

func set(c *guests.Cloud, category, name, value string) {
	c.Do("/global-configurations/"+category+"/"+name, "updateGlobalConfig", wire.Params{"value": value})
}

// refused makes an action call that must fail with all the words.
func refused(t *testing.T, c *guests.Cloud, path, action string, words ...string) {
	t.Helper()
	_, err := c.Client.Act(t.Context(), path, action, nil)
	says(t, err, words...)
}

func says(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("it was not refused; want %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// Storages whose disks grow, shrink, go and come back tell so, and one in
// maintenance runs no guest.
func TestStoragesAreWatched(t *testing.T) {
	primary, store := newDisk(t, guests.PrimaryFolder, 4), newDisk(t, guests.ImageFolder, 3)
	c := guests.Here(t)
	for _, category := range []string{"primaryStorage", "backupStorage"} {
		set(c, category, "ping.interval", "1")
	}
	set(c, "backupStorage", "ping.maxFailure", "1")
	up := func(s space) bool { return s.Status == "Connected" }
	down := func(s space) bool { return s.Status == "Disconnected" }
	vm := c.Create(nil, c.Spec("one")) // its disk is in the file system, and counted
	c.Do(vm.Path(), "stopVmInstance", wire.Params{"type": "cold"})
	guests.Walk(t,
		guests.Step{Name: "capacity", Run: func() {
			full := becomes(t, c, wire.PrimaryStorages, c.Primary, "4 GiB", func(s space) bool { return s.TotalCapacity == 4*giB })
			primary.resize(6)
			grown := becomes(t, c, wire.PrimaryStorages, c.Primary, "6 GiB", func(s space) bool { return s.TotalCapacity == 6*giB })
			if grown.TotalPhysicalCapacity != 6*giB || grown.AvailableCapacity != full.AvailableCapacity+2*giB || grown.AvailablePhysicalCapacity <= full.AvailablePhysicalCapacity {
				t.Errorf("grown from %+v to %+v", full, grown)
			}
			primary.resize(3)
			c.Do(primaryURL+c.Primary, "syncPrimaryStorageCapacity", nil)
			if s := becomes(t, c, wire.PrimaryStorages, c.Primary, "there", up); s.TotalCapacity != 3*giB || s.AvailableCapacity != full.AvailableCapacity-giB {
				t.Errorf("shrunk from %+v to %+v", full, s)
			}
			becomes(t, c, wire.BackupStorages, c.Backup, "3 GiB", func(s space) bool { return s.TotalCapacity == 3*giB })
			store.resize(5)
			becomes(t, c, wire.BackupStorages, c.Backup, "5 GiB", func(s space) bool { return s.TotalCapacity == 5*giB && s.AvailableCapacity > 4*giB })
		}},
		guests.Step{Name: "primary storage goes and comes back", Run: func() {
			primary.without(func() {
				becomes(t, c, wire.PrimaryStorages, c.Primary, "Disconnected", down)
				refused(t, c, primaryURL+c.Primary, "reconnectPrimaryStorage", "its volumes are not in "+guests.PrimaryFolder, "mount its disk")
				refused(t, c, vm.Path(), "startVmInstance", "local: status is Disconnected")
				if names, err := os.ReadDir(guests.PrimaryFolder); err != nil || len(names) > 0 {
					t.Errorf("in the empty folder are now %v %v", names, err)
				}
			})
			becomes(t, c, wire.PrimaryStorages, c.Primary, "Connected", up)
		}},
		guests.Step{Name: "server restarted while it is away", Run: func() {
			primary.without(func() {
				c.Stop()
				c.Again()
				c.WaitConnected() // the host is of use without it
				becomes(t, c, wire.PrimaryStorages, c.Primary, "Disconnected", down)
			})
			c.Do(primaryURL+c.Primary, "reconnectPrimaryStorage", nil)
			becomes(t, c, wire.PrimaryStorages, c.Primary, "Connected", up)
		}},
		guests.Step{Name: "image store goes and comes back", Run: func() {
			store.without(func() {
				becomes(t, c, wire.BackupStorages, c.Backup, "Disconnected", down)
				refused(t, c, storeURL+c.Backup, "reconnectBackupStorage", "its images are not in "+guests.ImageFolder, "mount its disk")
				_, err := c.Client.Create(t.Context(), wire.VMs, c.Spec("two"))
				says(t, err, "image tiny", "no enabled, connected backup storage")
			})
			becomes(t, c, wire.BackupStorages, c.Backup, "Connected", up)
		}},
		guests.Step{Name: "maintenance", Run: func() {
			c.Do(vm.Path(), "startVmInstance", nil)
			vm.Emulator()
			state := func(event string) {
				c.Do(primaryURL+c.Primary, "changePrimaryStorageState", wire.Params{"stateEvent": event})
			}
			set(c, "vm", "stopGracePeriod", "1")
			state("maintain")
			if got := vm.State(); got != "Stopped" {
				t.Errorf("the guest is %s", got)
			}
			refused(t, c, vm.Path(), "startVmInstance", "local: state is Maintenance")
			_, err := c.Client.Create(t.Context(), wire.VMs, c.Spec("two"))
			says(t, err, "local: state is Maintenance")
			state("enable")
			c.Do(vm.Path(), "startVmInstance", nil)
			vm.WaitBoot(1)
		}},
	)
	cascade(t, c, vm)
	c.End()
}

package losses

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/integration/guests"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// TestFullMedium fills the file system that the guests' disks and the agent's state
// are on. That is shown before anything is looked at by the clock, nothing new is placed there, what is there can be removed, a
// guest that writes is paused in the middle of it and goes on by itself when there is
// room, and one that does not write notices nothing.
func TestFullMedium(t *testing.T) {
	unmount := mount(t, "2500M", guests.PrimaryFolder, guests.StateFolder)
	h := &host{Cloud: guests.Here(t), t: t}
	for _, category := range []string{"host", "primaryStorage"} {
		h.Do("/global-configurations/"+category+"/ping.interval", "updateGlobalConfig", wire.Params{"value": "3600"})
	}
	h.guest = h.Create(nil, h.Spec("idle"), guests.Tags("web-1", "")...)
	spec := h.Spec("writer")
	spec["dataDiskSizes"] = []int64{256 << 20}
	writer := h.Create(nil, spec)
	third := h.Create(nil, h.Spec("third"))
	for _, g := range []*guests.Guest{h.guest, writer} {
		g.WaitBoot(1)
	}
	var remove func()
	lost := h.pings(func() {
		remove = fill(t, guests.PrimaryFolder)
		took := h.until(back, "shown on the host", func() bool { return strings.Contains(h.failed("primary storage"), "bytes free") })
		t.Logf("shown after %s", took.Round(time.Millisecond))
		_, err := h.Client.Create(t.Context(), wire.VMs, h.Spec("no room"))
		if err == nil || !strings.Contains(err.Error(), "its medium has") {
			t.Errorf("a guest without room: %v", err)
		}
		writer.Type("dd if=/dev/urandom of=/dev/vdb bs=1M count=24 && sync && echo wri''tten")
		writer.WaitState("Paused", back)
		took = h.until(back, "shown as the reason", func() bool { return strings.Contains(h.failed("room for guests' disks"), writer.UUID) })
		t.Logf("shown as the reason of the pause after %s", took.Round(time.Millisecond))
		h.WaitConnected()
		h.served()
		h.Remove(third.Path())
		h.Do(third.Path(), "expungeVmInstance", nil)
		if page, err := h.Client.Query(t.Context(), "/gc-jobs"); err != nil || len(page.Inventories) > 0 {
			t.Errorf("a guest that was removed has left %s: %v", page.Inventories, err)
		}
	})
	if lost > 0 {
		t.Errorf("%d packets of the idle guest were lost", lost)
	}
	begin := time.Now()
	remove()
	writer.WaitState("Running", healed)
	t.Logf("it goes on after %s", time.Since(begin).Round(time.Millisecond))
	h.until(back, "as before on the host", func() bool { return h.failed("primary storage")+h.failed("room for guests' disks") == "" })
	t.Logf("the host is as before after %s", time.Since(begin).Round(time.Millisecond))
	h.until(healed, "written", func() bool { return strings.Contains(writer.Console(), "written") })
	h.another()
	h.Remove(wire.Zones + "/" + h.Zone)
	h.Remove(wire.Images + "/" + h.Image)
	if _, err := h.Client.Act(t.Context(), wire.Images+"/"+h.Image, "expungeImage", wire.Params{"backupStorageUuids": []string{h.Backup}}); err != nil {
		t.Error(err)
	}
	h.Remove(wire.BackupStorages + "/" + h.Backup)
	h.Stop()
	unmount()
	h.End()
}

// failed is why a check of the host has failed; "" when it has not.
func (h *host) failed(name string) string {
	h.t.Helper()
	page, err := h.Client.Query(h.t.Context(), wire.Hosts+"/checks", "hostUuid="+h.Host, "name="+name, "state=Failed")
	if err != nil {
		h.t.Fatal(err)
	}
	var reasons []string
	for _, row := range page.Inventories {
		var check struct{ Reason string }
		if err := json.Unmarshal(row, &check); err != nil {
			h.t.Fatal(err)
		}
		reasons = append(reasons, check.Reason)
	}
	return strings.Join(reasons, "; ")
}

// mount makes a file system of a size that has some folders; what it returns takes
// it away again, at the end of the test at the latest.
func mount(t *testing.T, size string, folders ...string) (unmount func()) {
	t.Helper()
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	image, root := filepath.Join(t.TempDir(), "medium"), t.TempDir()
	run("truncate", "-s", size, image)
	run("mkfs.ext4", "-q", "-F", "-m", "0", image)
	run("mount", "-o", "loop", image, root)
	mounted := []string{root}
	for _, folder := range folders {
		part := filepath.Join(root, filepath.Base(folder))
		for _, f := range []string{part, folder} {
			if err := os.MkdirAll(f, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		run("mount", "--bind", part, folder)
		mounted = append(mounted, folder)
	}
	unmount = func() {
		for _, folder := range slices.Backward(mounted) {
			run("umount", folder)
		}
		mounted = nil
	}
	t.Cleanup(unmount)
	return unmount
}

// fill takes all the room of a folder's medium; what it returns gives it back.
func fill(t *testing.T, folder string) (remove func()) {
	t.Helper()
	var all []string
	for size := int64(1 << 30); size >= 4096; {
		name := filepath.Join(folder, "filler-"+time.Now().Format("150405.000000000"))
		f, err := os.Create(name)
		if err != nil {
			if errors.Is(err, unix.ENOSPC) {
				break
			}
			t.Fatal(err)
		}
		all = append(all, name)
		err = unix.Fallocate(int(f.Fd()), 0, 0, size)
		if e := f.Close(); e != nil {
			t.Fatal(e)
		}
		if errors.Is(err, unix.ENOSPC) {
			if err := os.Truncate(name, 0); err != nil {
				t.Fatal(err)
			}
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for _, name := range all {
			if err := os.Remove(name); err != nil {
				t.Error(err)
			}
		}
	}
}

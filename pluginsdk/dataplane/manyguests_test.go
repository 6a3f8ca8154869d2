package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"

	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// Changes of single guests come to the same as making all of the network at once, and
// touch no file of another guest.
func TestChangesOfSingleGuests(t *testing.T) {
	folder := stateFolder(t)
	e := openEngine(t, folder)
	purge(t, e)
	apply(t, e, bridge("l2", "br_m", ""), dhcpNetwork("l3", "br_m"))
	n := e.networks["br_m_l3"]
	r := rand.New(rand.NewPCG(1, 2))
	quiet := net.HardwareAddr{0x52, 0x54, 0, 1, 0, 0}
	apply(t, e, bindingOf("quiet", "l3", quiet, "10.40.0.250", "quiet"))
	inode := func(file string) fs.FileInfo {
		t.Helper()
		info, err := os.Stat(file)
		must(t, err)
		return info
	}
	files := []string{e.store.file("flat", "quiet"), filepath.Join(n.folder.bindings(), binding{mac: quiet}.file()), n.folder.config()}
	var before []fs.FileInfo
	for _, file := range files {
		before = append(before, inode(file))
	}
	for turn := range 60 {
		guest := r.IntN(8)
		lease, meta := fmt.Sprint("dhcp-", guest), fmt.Sprint("meta-", guest)
		// Addresses of few, so that guests take those of others.
		ip := fmt.Sprintf("10.40.0.%d", 20+r.IntN(6))
		mac := net.HardwareAddr{0x52, 0x54, 0, 0, 0, byte(r.IntN(6))}
		if r.IntN(3) == 0 {
			must(t, e.Apply(t.Context(), "flat", Revisions{}, nil, []string{lease, meta}))
		} else {
			apply(t, e, dhcpNetwork("l3", "br_m"), bindingOf(lease, "l3", mac, ip, fmt.Sprint("g", turn)),
				&hostv1.Fragment{Key: meta, Kind: &hostv1.Fragment_Metadata{Metadata: &hostv1.Metadata{NetworkKey: "l3", Ip: ip, InstanceId: meta, Hostname: "h"}}})
		}
		whole, err := (&network{}).stateOf(e.store.set("flat"), "l3", nil)
		must(t, err)
		known := n.state
		if known == nil || turn > 0 && known.part == nil {
			t.Fatalf("turn %d: all of the network was made again", turn)
		}
		if !maps.EqualFunc(known.bindings, whole.bindings, func(a, b binding) bool { return a.line() == b.line() }) || !maps.Equal(known.metadata, whole.metadata) ||
			!maps.Equal(*n.metadata.handler.guests.Load(), whole.metadata) {
			t.Fatalf("turn %d: known %v, should be %v", turn, known, whole)
		}
		wanted := map[string]bool{}
		for _, b := range whole.bindings {
			wanted[b.file()] = true
		}
		entries, err := os.ReadDir(n.folder.bindings())
		must(t, err)
		for _, entry := range entries {
			if !wanted[entry.Name()] {
				t.Errorf("turn %d: %s is left", turn, entry.Name())
			}
		}
		if len(entries) != len(wanted) {
			t.Fatalf("turn %d: %d files for %d guests", turn, len(entries), len(wanted))
		}
	}
	for i, file := range files {
		if !os.SameFile(before[i], inode(file)) {
			t.Errorf("%s was written again", file)
		}
	}
}

// A sync writes the files of fragments that others have removed, and no others.
func TestSyncWritesLostFragments(t *testing.T) {
	e := openEngine(t, stateFolder(t))
	purge(t, e)
	all := []*hostv1.Fragment{bridge("a", "br_a", ""), bridge("b", "br_b", "")}
	sync := func() {
		t.Helper()
		_, err := e.Sync(t.Context(), "flat", "1", all, nil)
		must(t, err)
	}
	sync()
	kept, err := os.Stat(e.store.file("flat", "a"))
	must(t, err)
	must(t, os.Remove(e.store.file("flat", "b")))
	sync()
	if _, err := os.Stat(e.store.file("flat", "b")); errors.Is(err, fs.ErrNotExist) {
		t.Error("what was removed is not there again")
	}
	if now, err := os.Stat(e.store.file("flat", "a")); err != nil || !os.SameFile(kept, now) {
		t.Errorf("what was there was written again: %v", err)
	}
}

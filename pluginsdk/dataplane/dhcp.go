package dataplane

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// network is a DHCP network that exists on this machine. One goroutine at a
// time (the engine's turn) uses it.
type network struct {
	owner, key string
	spec       networkSpec
	folder     networkFolder
	dnsmasq    *process
	metadata   *metadataServer
	// written is what the two folders hold, nil before the first look.
	written map[string][]byte
	// state is what was made last; nil when that is not known.
	state *networkState
	log   hclog.Logger
}

// converge makes the network as st says, changing only what differs.
func (n *network) converge(ctx context.Context, st networkState, binary string) (err error) {
	n.state = nil
	defer func() {
		if err == nil {
			n.state = &st
		}
	}()
	ns, err := ensureNamespace(st.spec.namespace)
	if err != nil {
		return errs.Wrap(errs.Internal, "DHCP network "+st.spec.namespace, err, "cannot make its namespace")
	}
	defer func() {
		// The namespace has its name; the handle was only for this call.
		_ = ns.Close()
	}()
	n.spec = st.spec
	made, err := ensureLeg(ns, st.spec)
	if made {
		if err := errors.Join(n.closeMetadata(), n.stopDnsmasq()); err != nil {
			return errs.Wrap(errs.Internal, "DHCP network "+st.spec.namespace, err, "cannot end what served on its lost device")
		}
	}
	if err != nil {
		return err
	}
	if err := n.serveMetadata(ns, st); err != nil {
		return errs.Wrap(errs.Internal, "DHCP network "+st.spec.namespace, err, "cannot serve metadata")
	}
	return n.serveDnsmasq(ctx, ns, st, binary)
}

func (n *network) serveMetadata(ns netns.NsHandle, st networkState) error {
	if !st.spec.metadata {
		return n.closeMetadata()
	}
	if n.metadata == nil {
		s, err := startMetadata(ns, n.log)
		if err != nil {
			return err
		}
		n.metadata = s
	}
	n.metadata.handler.guests.Store(&st.metadata)
	return nil
}

func (n *network) closeMetadata() error {
	if n.metadata == nil {
		return nil
	}
	err := n.metadata.close()
	n.metadata = nil
	return err
}

// serveDnsmasq writes the files and tells dnsmasq no more than it must know:
// it sees new files by itself, reads again after SIGHUP when one changed or
// went, and starts anew for a new configuration or to forget a lease.
func (n *network) serveDnsmasq(ctx context.Context, ns netns.NsHandle, st networkState, binary string) error {
	object := "DHCP network " + st.spec.namespace
	if !st.spec.needsDnsmasq() {
		return n.stopDnsmasq()
	}
	if err := n.findDnsmasq(); err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot look for its dnsmasq")
	}
	if err := n.readFiles(); err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot read dnsmasq's files")
	}
	if err := n.checkConfig(ctx, st, binary); err != nil {
		return err
	}
	changes, err := n.writeFiles(st)
	if err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot write dnsmasq's files")
	}
	leases, stale, err := n.staleLeases(st)
	if err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot read its leases")
	}
	if n.dnsmasq.alive() && !changes.config && !stale {
		if changes.reload {
			if err := n.dnsmasq.signal(unix.SIGHUP); err != nil {
				return errs.Wrap(errs.Internal, object, err, "cannot make dnsmasq read its files again")
			}
		}
		return nil
	}
	if err := n.stopDnsmasq(); err != nil {
		return errs.Wrap(errs.Internal, object, err, "cannot stop dnsmasq")
	}
	if stale {
		if err := writeFile(n.folder.leases(), leases, 0o644); err != nil {
			return errs.Wrap(errs.Internal, object, err, "cannot write its leases")
		}
	}
	p, err := startDnsmasq(ctx, binary, ns, n.folder)
	if err != nil {
		return err
	}
	n.dnsmasq = p
	return nil
}

// findDnsmasq takes over the dnsmasq of an earlier agent.
func (n *network) findDnsmasq() error {
	if n.dnsmasq.alive() {
		return nil
	}
	n.dnsmasq = nil
	p, err := adopt(n.folder.pid(), "--conf-file="+n.folder.config())
	if err != nil {
		return err
	}
	n.dnsmasq = p
	return nil
}

func (n *network) stopDnsmasq() error {
	if err := n.findDnsmasq(); err != nil {
		return err
	}
	if n.dnsmasq == nil {
		return nil
	}
	p := n.dnsmasq
	n.dnsmasq = nil
	return p.stop()
}

// checkConfig lets dnsmasq read a configuration that is new before anything is
// changed: one that runs is not stopped for another that would not start.
func (n *network) checkConfig(ctx context.Context, st networkState, binary string) error {
	text := dnsmasqConfig(st.spec, n.folder)
	if bytes.Equal(n.written[n.folder.config()], text) {
		return nil
	}
	file := n.folder.config() + ".new"
	if err := writeFile(file, text, 0o644); err != nil {
		return errs.Wrap(errs.Internal, "DHCP network "+st.spec.namespace, err, "cannot write dnsmasq's configuration")
	}
	defer func() { _ = os.Remove(file) }() // a leftover is written over
	return testDnsmasq(ctx, binary, file)
}

// changes says what writeFiles did.
type changes struct{ config, reload bool }

func (n *network) writeFiles(st networkState) (changes, error) {
	var c changes
	wanted := map[string][]byte{n.folder.config(): dnsmasqConfig(st.spec, n.folder)}
	for _, b := range st.changed() {
		if st.spec.dhcp {
			wanted[filepath.Join(n.folder.bindings(), b.file())] = []byte(b.line())
		}
		if line := b.nameLine(st.spec.domain); line != "" && st.spec.dnsServer {
			wanted[filepath.Join(n.folder.names(), b.file())] = []byte(line)
		}
	}
	// Old entries go before new ones come: one IP or MAC is never in two.
	for _, file := range n.old(st) {
		if _, keep := wanted[file]; keep {
			continue
		}
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
		delete(n.written, file)
		c.reload = true
	}
	for file, text := range wanted {
		old, present := n.written[file]
		if present && bytes.Equal(old, text) {
			continue
		}
		if err := writeFile(file, text, 0o644); err != nil {
			return c, err
		}
		n.written[file] = text
		c.reload = c.reload || present
		c.config = c.config || file == n.folder.config()
	}
	return c, nil
}

// old are the files that are there and may have to go.
func (n *network) old(st networkState) []string {
	if st.part == nil {
		return slices.Collect(maps.Keys(n.written))
	}
	var files []string
	for _, b := range st.part.went {
		for _, folder := range []string{n.folder.bindings(), n.folder.names()} {
			if file := filepath.Join(folder, b.file()); n.written[file] != nil {
				files = append(files, file)
			}
		}
	}
	return files
}

// readFiles learns what is on the disk, when that is not known: what an earlier
// agent wrote, or what became of it.
func (n *network) readFiles() error {
	if n.written != nil {
		return nil
	}
	for _, folder := range []string{n.folder.bindings(), n.folder.names()} {
		if err := errors.Join(os.MkdirAll(folder, 0o755), os.Chmod(folder, 0o755)); err != nil {
			return err
		}
	}
	written := map[string][]byte{}
	for _, pattern := range []string{n.folder.config(), n.folder.bindings() + "/*", n.folder.names() + "/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			written[file] = text
		}
	}
	n.written = written
	return nil
}

// staleLeases reports whether an address is leased to another MAC than the
// binding says, and the lease file without such lines. Leases never end, so
// without this dnsmasq would refuse an address to its second owner.
func (n *network) staleLeases(st networkState) ([]byte, bool, error) {
	text, err := os.ReadFile(n.folder.leases())
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, false, nil
		}
		return nil, false, err
	}
	owners := map[string]string{}
	for _, b := range st.changed() {
		owners[b.ip.String()] = b.mac.String()
	}
	var kept bytes.Buffer
	stale := false
	for line := range strings.Lines(string(text)) {
		// expiry, MAC, address, name, client ID
		fields := strings.Fields(line)
		if len(fields) >= 3 {
			if mac, bound := owners[fields[2]]; bound && mac != fields[1] {
				stale = true
				continue
			}
		}
		kept.WriteString(line)
	}
	return kept.Bytes(), stale, nil
}

// remove takes the network off the machine; parts that are gone are fine.
func (n *network) remove() error {
	err := errors.Join(n.closeMetadata(), n.stopDnsmasq(), removeLeg(n.spec.namespace),
		removeNamespace(n.spec.namespace), os.RemoveAll(string(n.folder)))
	n.written, n.state = nil, nil
	if err != nil {
		return errs.Wrap(errs.Internal, "DHCP network "+n.spec.namespace, err, "cannot be removed entirely")
	}
	return nil
}

// leave ends what needs this process and keeps DHCP and DNS running.
func (n *network) leave() error {
	err := n.closeMetadata()
	if n.dnsmasq.alive() {
		err = errors.Join(err, n.dnsmasq.release())
	}
	return err
}

// fragmentOf finds the DHCPNetwork by key, nil when there is none.
func fragmentOf(s set, key string) *hostv1.DHCPNetwork { return s[key].GetDhcpNetwork() }

package network

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Check says whether a guest may be plugged in these networks and returns
// their zone (spec: compute and storage, section 2.3).
func (s *Service) Check(ctx context.Context, q store.Querier, l3UUIDs []string) (string, error) {
	if len(l3UUIDs) == 0 {
		return "", nil
	}
	rows, err := store.Find(ctx, q, L3NetworkType, "`uuid` IN (?)", l3UUIDs)
	if err != nil {
		return "", err
	}
	byUUID := make(map[string]*L3Network, len(rows))
	for _, l3 := range rows {
		byUUID[l3.UUID] = l3
	}
	zone := ""
	seen := map[string]bool{}
	for _, uuid := range l3UUIDs {
		if seen[uuid] {
			return "", invalid("l3NetworkUuids", "names %s twice", uuid)
		}
		seen[uuid] = true
		l3 := byUUID[uuid]
		switch {
		case l3 == nil:
			return "", errs.New(errs.NotFound, "L3Network "+uuid, "it does not exist")
		case l3.State != "Enabled":
			return "", refused("L3Network "+l3.Name, "is %s", l3.State).WithAdvice("enable it first")
		case l3.System:
			return "", refused("L3Network "+l3.Name, "is a system network; guests cannot use it")
		case zone != "" && zone != l3.ZoneUUID:
			return "", refused("L3Network "+l3.Name, "is in another zone than the other networks")
		}
		zone = l3.ZoneUUID
	}
	return zone, nil
}

// Clusters returns the clusters in which all the networks can be used.
func (s *Service) Clusters(ctx context.Context, q store.Querier, l3UUIDs []string) ([]string, error) {
	all := map[string]bool{}
	has := map[string]map[string]bool{} // by cluster, the L2 networks of these L3 networks
	err := q.Each(ctx, "SELECT n.`l2NetworkUuid`, c.`clusterUuid` FROM `L3Network` n "+
		"LEFT JOIN `L2NetworkClusterRef` c ON c.`l2NetworkUuid` = n.`l2NetworkUuid` WHERE n.`uuid` IN (?)", []any{l3UUIDs}, func(r *store.Row) error {
		l2, cluster := r.Text(0), r.Text(1)
		if all[l2] = true; cluster == "" {
			return nil
		}
		if has[cluster] == nil {
			has[cluster] = map[string]bool{}
		}
		has[cluster][l2] = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	var clusters []string
	for _, uuid := range slices.Sorted(maps.Keys(has)) {
		if len(has[uuid]) == len(all) {
			clusters = append(clusters, uuid)
		}
	}
	if len(clusters) == 0 {
		return nil, refused("l3NetworkUuids", "no cluster has all the L2 networks of these L3 networks attached").
			WithAdvice("attach the L2 networks to a cluster")
	}
	return clusters, nil
}

// Allocate takes MACs and addresses and inserts the NICs' rows in the caller's
// transaction, each with the lowest device number that is free. Errors: Exhausted for
// a full network, Invalid for a wished address that is outside, Exists for one that is
// in use.
func (s *Service) Allocate(ctx context.Context, tx *store.Tx, r contract.NICRequest) ([]*contract.NICPlan, error) {
	plans := make([]*contract.NICPlan, 0, len(r.NICs))
	device := int64(0)
	for _, w := range r.NICs {
		for slices.Contains(r.Devices, device) {
			device++
		}
		nic := &VMNic{VMInstanceUUID: r.VMUUID, L3NetworkUUID: w.L3UUID, HypervisorType: r.HypervisorType,
			DeviceID: device, Type: "VNIC", State: "enable", DriverType: r.Driver, AccountUUID: r.AccountUUID}
		nic.UUID = resource.NewUUID()
		nic.InternalName = internalName(nic.UUID, int(device))
		device++
		ip, err := s.address(ctx, tx, w, nic.UUID)
		if err != nil {
			return nil, err
		}
		if ip != nil {
			nic.IP, nic.Netmask, nic.Gateway, nic.IPVersion = ip.IP, ip.Netmask, ip.Gateway, 4
		}
		if err := insertNIC(ctx, tx, nic, w.MAC); err != nil {
			return nil, err
		}
		plans = append(plans, planOf(nic))
	}
	return plans, nil
}

func planOf(n *VMNic) *contract.NICPlan {
	return &contract.NICPlan{UUID: n.UUID, L3UUID: n.L3NetworkUUID, MAC: n.MAC, IP: n.IP, Netmask: n.Netmask, Gateway: n.Gateway,
		InternalName: n.InternalName, DeviceID: n.DeviceID, Driver: n.DriverType}
}

// insertNIC inserts a NIC with the wished MAC, or with a new one. The unique
// index finds the one that is in use already.
func insertNIC(ctx context.Context, tx *store.Tx, nic *VMNic, wish string) error {
	if wish != "" {
		nic.MAC = wish
		err := store.Insert(ctx, tx, VMNicType, nic)
		if errs.ClassOf(err) == errs.Exists {
			err = errs.New(errs.Exists, "MAC "+wish, "is in use")
		}
		return err
	}
	for range 8 {
		nic.MAC = newMAC()
		if err := store.Insert(ctx, tx, VMNicType, nic); errs.ClassOf(err) != errs.Exists {
			return err
		}
	}
	return errs.New(errs.Exhausted, "MAC addresses", "no free one was found in eight tries")
}

// newMAC makes a MAC with a prefix of our own, locally administered (IEEE 802:
// second bit of the first octet set).
func newMAC() string {
	b := [6]byte{0xfa}
	_, _ = rand.Read(b[1:]) // never fails: crypto/rand ends the process instead
	return net.HardwareAddr(b[:]).String()
}

// address takes the wished or some free address of a network; nil when the
// network manages no addresses.
func (s *Service) address(ctx context.Context, tx *store.Tx, w contract.NICWish, nicUUID string) (*UsedIP, error) {
	ranges, err := store.Find(ctx, store.Cached(tx), IPRangeType, "`l3NetworkUuid` = ? AND `ipVersion` = 4 AND `ipRangeType` = 'Normal' ORDER BY `createDate`", w.L3UUID)
	if err != nil {
		return nil, err
	}
	return s.takeOf(ctx, tx, ranges, w, holder{nic: nicUUID})
}

// holder is what has an address: a NIC, or what it is used for. uuid is that of the
// row, "" for a new one; with one, errs.Exists may be about that as well as about the
// address.
type holder struct{ uuid, nic, usedFor string }

// takeOf takes the wished or some free address of ranges of a network.
func (s *Service) takeOf(ctx context.Context, tx *store.Tx, ranges []*IPRange, w contract.NICWish, h holder) (*UsedIP, error) {
	if len(ranges) == 0 {
		return nil, refused("L3Network "+w.L3UUID, "has no IP range for guests").WithAdvice("add an IP range first")
	}
	if w.IP != "" {
		return s.takeWished(ctx, tx, ranges, w, h)
	}
	for _, r := range ranges {
		// On MySQL another transaction may take the same address meanwhile: the
		// unique claim then refuses it, and the next look sees it taken. So each
		// try that fails is an address less, until the range is full.
		for try := 0; ; try++ {
			if try == maxAddressTries {
				return nil, errs.New(errs.Unavailable, "L3Network "+w.L3UUID, "others took each of %d addresses that were found free", try).
					WithAdvice("try again")
			}
			n, ok, err := s.freeNumber(ctx, tx, r)
			if err != nil {
				return nil, err
			}
			if !ok {
				break
			}
			ip, err := s.use(ctx, tx, r, n, h)
			if errs.ClassOf(err) != errs.Exists || h.uuid != "" {
				return ip, err
			}
		}
	}
	return nil, errs.New(errs.Exhausted, "L3Network "+w.L3UUID, "all addresses of its %d IP ranges are in use", len(ranges)).
		WithAdvice("add an IP range, or free addresses")
}

// maxAddressTries bounds how often an address that looked free may turn out to
// be taken: more often than guests are made at once.
const maxAddressTries = 1000

func (s *Service) takeWished(ctx context.Context, tx *store.Tx, ranges []*IPRange, w contract.NICWish, h holder) (*UsedIP, error) {
	a, err := netip.ParseAddr(w.IP)
	if err != nil || !a.Is4() {
		return nil, invalid("staticIp", "%q is not an IPv4 address", w.IP)
	}
	n := number(a)
	for _, r := range ranges {
		start, end := bounds(r)
		if n < start || n > end {
			continue
		}
		used, taken, err := store.First(ctx, tx, UsedIPType, "`claim` = ?", r.L3NetworkUUID+":"+a.String())
		if err != nil {
			return nil, err
		}
		if taken {
			return nil, errs.New(errs.Exists, "address "+w.IP, "is in use by %s", cmp.Or(used.VMNicUUID, used.UsedFor))
		}
		return s.use(ctx, tx, r, n, h)
	}
	return nil, invalid("staticIp", "%s is in no IP range of L3Network %s", w.IP, w.L3UUID)
}

func bounds(r *IPRange) (start, end int64) {
	return number(netip.MustParseAddr(r.StartIP)), number(netip.MustParseAddr(r.EndIP))
}

// freeNumber finds a free address: from a random point upwards, then from the
// range's start. One indexed read of a few rows is the usual cost; a full
// range costs reading its used addresses once.
func (s *Service) freeNumber(ctx context.Context, q store.Querier, r *IPRange) (int64, bool, error) {
	start, end := bounds(r)
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, false, fmt.Errorf("read random bytes: %w", err)
	}
	from := start + int64(binary.BigEndian.Uint64(b[:])>>1)%(end-start+1)
	n, ok, err := s.gap(ctx, q, r.UUID, from, end)
	if err != nil || ok || from == start {
		return n, ok, err
	}
	return s.gap(ctx, q, r.UUID, start, from-1)
}

// gap returns the first free number in [from, to].
func (s *Service) gap(ctx context.Context, q store.Querier, rangeUUID string, from, to int64) (int64, bool, error) {
	page := 16
	for from <= to {
		var used []int64
		err := q.Each(ctx, fmt.Sprintf("SELECT `ipInLong` FROM `UsedIp` WHERE `ipRangeUuid` = ? AND `ipInLong` >= ? "+
			"AND `ipInLong` <= ? ORDER BY `ipInLong` LIMIT %d", page), []any{rangeUUID, from, to}, func(r *store.Row) error {
			used = append(used, r.Int(0))
			return nil
		})
		if err != nil {
			return 0, false, err
		}
		for _, u := range used {
			if u != from {
				return from, true, nil
			}
			from++
		}
		if len(used) < page {
			return from, from <= to, nil
		}
		page = min(page*4, 4096)
	}
	return 0, false, nil
}

func (s *Service) use(ctx context.Context, tx *store.Tx, r *IPRange, n int64, h holder) (*UsedIP, error) {
	ip := address(n).String()
	row := &UsedIP{IPRangeUUID: r.UUID, L3NetworkUUID: r.L3NetworkUUID, IPVersion: 4, IP: ip, Netmask: r.Netmask, Gateway: r.Gateway,
		UsedFor: h.usedFor, IPInLong: n, VMNicUUID: h.nic, Claim: r.L3NetworkUUID + ":" + ip}
	if row.UUID = h.uuid; row.UUID == "" {
		row.UUID = resource.NewUUID()
	}
	return row, store.Insert(ctx, tx, UsedIPType, row)
}

// Free returns all that Allocate took for a guest; nothing is a success.
func (s *Service) Free(ctx context.Context, tx *store.Tx, vmUUID string) error {
	nics, err := store.Texts(ctx, tx, "SELECT `uuid` FROM `VmNic` WHERE `vmInstanceUuid` = ?", vmUUID)
	if err != nil || len(nics) == 0 {
		return err
	}
	return s.free(ctx, tx, nics...)
}

func (s *Service) free(ctx context.Context, tx *store.Tx, nics ...string) error {
	if _, err := tx.Exec(ctx, "DELETE FROM `UsedIp` WHERE `vmNicUuid` IN (?)", nics); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "DELETE FROM `VmNic` WHERE `uuid` IN (?)", nics); err != nil {
		return err
	}
	return s.Cascade.Follow(ctx, tx, VMNicType.Name, nics...)
}

// OfVM returns the NICs of a guest, by device ID, but for those that leave it.
func (s *Service) OfVM(ctx context.Context, q store.Querier, vmUUID string) ([]*contract.NICPlan, error) {
	rows, err := store.Find(ctx, q, VMNicType, "`vmInstanceUuid` = ? AND `leaving` = ? ORDER BY `deviceId`", vmUUID, false)
	if err != nil {
		return nil, err
	}
	plans := make([]*contract.NICPlan, 0, len(rows))
	for _, n := range rows {
		plans = append(plans, planOf(n))
	}
	return plans, nil
}

// Domain implements contract.Networks.
func (s *Service) Domain(ctx context.Context, q store.Querier, l3UUID string) (string, error) {
	l3, err := store.Get(ctx, q, L3NetworkType, l3UUID)
	if err != nil {
		return "", err
	}
	return l3.DNSDomain, nil
}

// ensureServiceIPs gives each provider of a network that needs an address of
// its own one, as soon as the network has both a service of it and a range.
func (s *Service) ensureServiceIPs(ctx context.Context, tx *store.Tx, l3UUID string) error {
	providers, err := store.Find(ctx, tx, ProviderType, "`uuid` IN (SELECT `networkServiceProviderUuid` FROM `NetworkServiceL3NetworkRef` WHERE `l3NetworkUuid` = ?)", l3UUID)
	if err != nil {
		return err
	}
	for _, p := range providers {
		d, ok := s.decl(p.Type)
		if !ok || !d.GetServiceIp() {
			continue
		}
		if err := s.ensureServiceIP(ctx, tx, l3UUID, d); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) ensureServiceIP(ctx context.Context, tx *store.Tx, l3UUID string, d *pluginv1.NetworkServiceDecl) error {
	have, err := s.Tags.Tokens(ctx, tx, l3UUID, d.GetServiceIpTag())
	if err != nil || len(have) > 0 {
		return err
	}
	ranges, err := store.Find(ctx, tx, IPRangeType, "`l3NetworkUuid` = ? AND `ipRangeType` = 'Normal' ORDER BY `createDate`", l3UUID)
	if err != nil {
		return err
	}
	for _, r := range ranges {
		n, ok, err := s.freeNumber(ctx, tx, r)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		ip, err := s.use(ctx, tx, r, n, holder{usedFor: d.GetType() + " service"})
		if err != nil {
			return err
		}
		return s.Tags.CreateInherent(ctx, tx, "L3Network", l3UUID, d.GetServiceIpTag(), map[string]string{"ip": ip.IP, "uuid": ip.UUID})
	}
	if len(ranges) > 0 {
		return errs.New(errs.Exhausted, "L3Network "+l3UUID, "has no free address for the services of %s", d.GetName())
	}
	return nil
}

// dropServiceIPs forgets providers' addresses in a range that goes.
func (s *Service) dropServiceIPs(ctx context.Context, tx *store.Tx, l3UUID, rangeUUID string) error {
	for _, m := range s.Plugins.Manifests() {
		for _, d := range m.GetNetworkServices() {
			if !d.GetServiceIp() {
				continue
			}
			tags, err := s.Tags.Tokens(ctx, tx, l3UUID, d.GetServiceIpTag())
			if err != nil {
				return err
			}
			for _, t := range tags {
				_, inRange, err := store.First(ctx, tx, UsedIPType, "`uuid` = ? AND `ipRangeUuid` = ?", t["uuid"], rangeUUID)
				if err != nil {
					return err
				}
				if !inRange {
					continue
				}
				if err := s.Tags.DeletePattern(ctx, tx, l3UUID, d.GetServiceIpTag()); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

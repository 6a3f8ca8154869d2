package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func groupKey(uuid string) string { return "group-" + uuid }
func setKey(uuid string) string   { return "set-" + uuid }
func nicKey(uuid string) string   { return "nic-" + uuid }

// fragments are what a host should have, by their keys.
type fragments map[string]*hostv1.Fragment

// rows are all that the state of hosts follows from.
type rows struct {
	enabled  map[string]bool // groups
	rules    map[string][]*rule
	members  map[string][]*member // by NIC, in their order
	inGroup  map[string][]string  // NICs by group
	nics     map[string]*nic
	policies map[string]policy
	guests   map[string]guest
}

// read reads all rows that count, which are those of NICs in groups.
func (g graph) read(ctx context.Context) (*rows, error) {
	members, err := find[*member](ctx, g, typeMember, nil)
	if err != nil || len(members) == 0 {
		return &rows{}, err
	}
	r := &rows{enabled: map[string]bool{}, rules: map[string][]*rule{}, members: map[string][]*member{}, inGroup: map[string][]string{},
		nics: map[string]*nic{}, policies: map[string]policy{}, guests: map[string]guest{}}
	for _, m := range members {
		r.members[m.NIC] = append(r.members[m.NIC], m)
		r.inGroup[m.Group] = append(r.inGroup[m.Group], m.NIC)
	}
	for _, list := range r.members {
		slices.SortStableFunc(list, func(a, b *member) int { return int(a.Priority - b.Priority) })
	}
	groups, err := find[group](ctx, g, typeGroup, []string{"uuid", "state"}, "state="+enabled)
	if err != nil {
		return nil, err
	}
	for _, gr := range groups {
		r.enabled[gr.UUID] = true
	}
	if err := r.readRules(ctx, g); err != nil {
		return nil, err
	}
	return r, r.readNICs(ctx, g)
}

func (r *rows) readRules(ctx context.Context, g graph) error {
	rules, err := find[*rule](ctx, g, typeRule, nil, "state="+enabled)
	if err != nil {
		return err
	}
	slices.SortStableFunc(rules, func(a, b *rule) int { return int(a.Priority - b.Priority) })
	for _, rule := range rules {
		r.rules[rule.Group] = append(r.rules[rule.Group], rule)
	}
	policies, err := find[policy](ctx, g, typePolicy, nil)
	for _, p := range policies {
		r.policies[p.NIC] = p
	}
	return err
}

func (r *rows) readNICs(ctx context.Context, g graph) error {
	nics, err := find[*nic](ctx, g, "VmNic", nicFields, "securityGroupRef.uuid not null")
	if err != nil {
		return err
	}
	for _, n := range nics {
		r.nics[n.UUID] = n
	}
	guests, err := find[guest](ctx, g, "VmInstance", []string{"uuid", "state", "hostUuid"}, "securityGroupRef.uuid not null")
	for _, gu := range guests {
		r.guests[gu.UUID] = gu
	}
	return err
}

// gone are the states in which a guest has nothing on a host.
var gone = []string{"Stopped", "Destroyed", "Expunging", "Created"}

// place is the host of a NIC by the rows, "" for none.
func (r *rows) place(n *nic) string {
	if gu := r.guests[n.VM]; !slices.Contains(gone, gu.State) {
		return gu.Host
	}
	return ""
}

// settled tells whether the rows say of a NIC that has moved where it is.
func (r *rows) settled(nicUUID, host string) bool {
	n := r.nics[nicUUID]
	return n == nil || r.place(n) == host && (host == "" || r.guests[n.VM].State == "Running")
}

// places are the hosts of NICs that are in groups. moving has those that the rows do
// not tell yet, arriving those to which they move.
func (r *rows) places(moving, arriving map[string]string) map[string][]string {
	at := map[string][]string{}
	for uuid, n := range r.nics {
		host, moved := moving[uuid]
		if !moved {
			host = r.place(n)
		}
		if host != "" {
			at[uuid] = append(at[uuid], host)
		}
		if to := arriving[uuid]; to != "" && to != host {
			at[uuid] = append(at[uuid], to)
		}
	}
	return at
}

// desired is what each host should have that has a NIC in an enabled group.
func (r *rows) desired(moving, arriving map[string]string) map[string]fragments {
	hosts := map[string]fragments{}
	sets := map[string]*hostv1.Fragment{}
	for uuid, at := range r.places(moving, arriving) {
		port := r.port(uuid)
		if port == nil {
			continue
		}
		for _, host := range at {
			f := hosts[host]
			if f == nil {
				f = fragments{}
				hosts[host] = f
			}
			f[nicKey(uuid)] = &hostv1.Fragment{Key: nicKey(uuid), Kind: &hostv1.Fragment_FilterPort{FilterPort: port}}
			for _, m := range r.members[uuid] {
				if r.enabled[m.Group] && f[groupKey(m.Group)] == nil {
					r.addGroup(f, m.Group, sets)
				}
			}
		}
	}
	return hosts
}

// addGroup adds the rules of a group, and the sets that they name, which are made once.
func (r *rows) addGroup(f fragments, uuid string, sets map[string]*hostv1.Fragment) {
	g := &hostv1.FilterGroup{}
	for _, rule := range r.rules[uuid] {
		one := rule.fragment(func(remote string) bool { return r.enabled[remote] })
		if one == nil {
			continue
		}
		g.Rules = append(g.Rules, one)
		if one.SetKey == "" || f[one.SetKey] != nil {
			continue
		}
		if sets[rule.Remote] == nil {
			sets[rule.Remote] = &hostv1.Fragment{Key: one.SetKey, Kind: &hostv1.Fragment_FilterSet{FilterSet: &hostv1.FilterSet{Addresses: r.addressesOf(rule.Remote)}}}
		}
		f[one.SetKey] = sets[rule.Remote]
	}
	f[groupKey(uuid)] = &hostv1.Fragment{Key: groupKey(uuid), Kind: &hostv1.Fragment_FilterGroup{FilterGroup: g}}
}

// port is a NIC on its host, nil when it is in no enabled group.
func (r *rows) port(uuid string) *hostv1.FilterPort {
	n := r.nics[uuid]
	p := &hostv1.FilterPort{Device: n.Device, Mac: n.MAC, AcceptIngress: r.policies[uuid].Ingress == allow, AcceptEgress: r.policies[uuid].Egress != deny}
	p.Addresses, _ = n.addresses()
	for _, m := range r.members[uuid] {
		if r.enabled[m.Group] {
			p.Groups = append(p.Groups, groupKey(m.Group))
		}
	}
	if len(p.Groups) == 0 {
		return nil
	}
	return p
}

// addressesOf are those of the members of a group, and of the gateways of their
// networks (specification, section 4), in order.
func (r *rows) addressesOf(groupUUID string) []string {
	all := map[string]bool{}
	for _, uuid := range r.inGroup[groupUUID] {
		if r.nics[uuid] == nil {
			continue
		}
		own, gateways := r.nics[uuid].addresses()
		for _, a := range append(own, gateways...) {
			all[a] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// sameOwner refuses to make a guest a member of somebody else's group by a tag, which
// nobody has checked: members let each other in. By the messages it is the caller's
// rights that count.
func (g graph) sameOwner(ctx context.Context, groupUUID string, vm *pluginv1.PointSubject) error {
	owned, err := g.core.Get(ctx, typeGroup, groupUUID)
	if err == nil && owned.GetAccountUuid() != vm.GetAccountUuid() {
		err = errs.New(errs.Refused, "VmInstance "+vm.GetUuid(), "its system tag names %s %s of another account", typeGroup, groupUUID).
			WithAdvice("name a group of the guest's own account, or add its NIC to the group afterwards")
	}
	return err
}

// ofTags makes the memberships that a guest's system tags ask for: it is made with its
// NICs in groups, or gets one in groups. With starts, NICs count that the guest is made
// with, otherwise all, which are new.
func (g graph) ofTags(ctx context.Context, vm *pluginv1.PointSubject, starts bool) error {
	type tag struct {
		Tag string `json:"tag"`
	}
	tags, err := find[tag](ctx, g, "SystemTag", []string{"tag"}, "resourceUuid="+vm.GetUuid(), "tag~=l3::%::SecurityGroupUuids::%")
	if err != nil || len(tags) == 0 {
		return err
	}
	if starts {
		fresh, err := find[guest](ctx, g, "VmInstance", []string{"uuid"}, "uuid="+vm.GetUuid(), "state?=Created,Starting", "lastHostUuid is null")
		if err != nil || len(fresh) == 0 {
			return err // it has run before: what became of its memberships since then counts
		}
	}
	c := &changes{}
	for _, t := range tags {
		l3, list, _ := strings.Cut(strings.TrimPrefix(t.Tag, "l3::"), "::SecurityGroupUuids::")
		for _, n := range vm.GetNics() {
			if n.GetL3NetworkUuid() != l3 {
				continue
			}
			for i, group := range strings.Split(list, ",") {
				if err := g.sameOwner(ctx, group, vm); err != nil {
					return err
				}
				c.put(typeMember, pluginsdk.UUIDOf(group, n.GetUuid()), "", map[string]any{paramGroup: group, paramNIC: n.GetUuid(), "vmInstanceUuid": vm.GetUuid(), "priority": int64(i + 1)})
			}
		}
	}
	if c.err != nil {
		return c.err
	}
	return g.core.Put(ctx, &c.RowChanges)
}

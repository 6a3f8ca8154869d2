package main

import (
	"context"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// nicsNamed reads guests' NICs, all of which must be there and have a guest.
func (p *provider) nicsNamed(ctx context.Context, uuids []string) ([]*nic, error) {
	found, err := findIn[*nic](ctx, p.graph, "VmNic", nicFields, "uuid", uuids)
	if err != nil {
		return nil, err
	}
	var all []*nic
	for _, uuid := range uuids {
		i := slices.IndexFunc(found, func(n *nic) bool { return n.UUID == uuid })
		switch {
		case i < 0:
			return nil, errs.New(errs.NotFound, "VmNic "+uuid, "it does not exist")
		case found[i].VM == "":
			return nil, errs.New(errs.Refused, "VmNic "+uuid, "it is no guest's")
		case !slices.Contains(all, found[i]):
			all = append(all, found[i])
		}
	}
	return all, nil
}

// served are those of some L3 networks that have the service.
func (p *provider) served(ctx context.Context, nics []*nic) (map[string]bool, error) {
	var l3s []string
	for _, n := range nics {
		if !slices.Contains(l3s, n.L3) {
			l3s = append(l3s, n.L3)
		}
	}
	has := map[string]bool{}
	for some := range slices.Chunk(l3s, atOnce) {
		rows, err := find[l3Ref](ctx, p.graph, "L3Network", []string{"uuid"}, "uuid?="+strings.Join(some, ","), "serviceProviderRef.networkServiceType="+service)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			has[r.UUID] = true
		}
	}
	return has, nil
}

func noService(n *nic) error {
	return errs.New(errs.Refused, "VmNic "+n.UUID, "L3Network %s does not have the service %s", n.L3, service).
		WithAdvice("bind it to the network (attach network service)")
}

// addNICs makes NICs members of a group: the last one that is asked, but for groups
// that others share with the account, which come before its own.
func (p *provider) addNICs(ctx context.Context, c *call) (*pluginv1.ActOnResourceResponse, error) {
	g := c.GetResource()
	nics, err := p.nicsNamed(ctx, c.texts("vmNicUuids"))
	if err != nil {
		return nil, err
	}
	has, err := p.served(ctx, nics)
	if err != nil {
		return nil, err
	}
	of, err := p.membersOf(ctx, c.texts("vmNicUuids"))
	if err != nil {
		return nil, err
	}
	change := &changes{}
	for _, n := range nics {
		if !has[n.L3] {
			return nil, noService(n)
		}
		list := of[n.UUID]
		if slices.ContainsFunc(list, func(m *member) bool { return m.Group == g.GetUuid() }) {
			continue
		}
		fresh := &member{UUID: pluginsdk.UUIDOf(g.GetUuid(), n.UUID), Group: g.GetUuid(), NIC: n.UUID}
		at := len(list)
		if !c.GetAdmin() && g.GetAccountUuid() != c.GetAccountUuid() {
			at = 0
		}
		change.members(n, slices.Insert(list, at, fresh), fresh)
	}
	err = p.attach(ctx, change, g.GetUuid(), nics)
	if err != nil {
		return nil, err
	}
	return change.answer()
}

// members gives the memberships of a NIC the priorities from 1 on; fresh ones become
// rows.
func (c *changes) members(n *nic, list []*member, fresh ...*member) {
	for i, m := range list {
		want := int64(i + 1)
		switch {
		case slices.Contains(fresh, m):
			c.put(typeMember, m.UUID, "", map[string]any{paramGroup: m.Group, paramNIC: n.UUID, "vmInstanceUuid": n.VM, "priority": want})
		case m.Priority != want:
			c.put(typeMember, m.UUID, "", map[string]any{"priority": want})
		}
	}
}

// attach notes that a group is on the networks of NICs.
func (p *provider) attach(ctx context.Context, c *changes, groupUUID string, nics []*nic) error {
	refs, err := find[l3Ref](ctx, p.graph, typeL3, nil, "securityGroupUuid="+groupUUID)
	if err != nil {
		return err
	}
	for _, n := range nics {
		if !slices.ContainsFunc(refs, func(r l3Ref) bool { return r.L3 == n.L3 }) {
			refs = append(refs, l3Ref{L3: n.L3})
			c.put(typeL3, l3RefUUID(groupUUID, n.L3), "", map[string]any{paramGroup: groupUUID, "l3NetworkUuid": n.L3})
		}
	}
	return nil
}

func l3RefUUID(groupUUID, l3UUID string) string { return pluginsdk.UUIDOf(groupUUID, l3UUID) }

// deleteNICs takes NICs out of a group; those that are not in it are of no account.
func (p *provider) deleteNICs(ctx context.Context, c *call) (*pluginv1.ActOnResourceResponse, error) {
	change := &changes{}
	if err := p.leave(ctx, change, c.GetResource().GetUuid(), c.texts("vmNicUuids")); err != nil {
		return nil, err
	}
	return change.answer()
}

func (p *provider) leave(ctx context.Context, change *changes, groupUUID string, uuids []string) error {
	of, err := p.membersOf(ctx, uuids)
	if err != nil {
		return err
	}
	for _, uuid := range uuids {
		list := of[uuid]
		i := slices.IndexFunc(list, func(m *member) bool { return m.Group == groupUUID })
		if i < 0 {
			continue
		}
		change.delete(typeMember, list[i].UUID)
		change.members(&nic{UUID: uuid}, slices.Delete(list, i, i+1))
		delete(of, uuid)
	}
	return nil
}

// attachL3 lets NICs of a network be members, which must have the service.
func (p *provider) attachL3(ctx context.Context, c *call) (*pluginv1.ActOnResourceResponse, error) {
	l3 := &nic{UUID: "", L3: c.text("l3NetworkUuid")}
	has, err := p.served(ctx, []*nic{l3})
	if err != nil {
		return nil, err
	}
	if !has[l3.L3] {
		return nil, errs.New(errs.Refused, "L3Network "+l3.L3, "it does not have the service %s", service).WithAdvice("bind it to the network (attach network service)")
	}
	change := &changes{}
	if err := p.attach(ctx, change, c.GetResource().GetUuid(), []*nic{l3}); err != nil {
		return nil, err
	}
	return change.answer()
}

// detachL3 takes the NICs of a network out of the group.
func (p *provider) detachL3(ctx context.Context, c *call) (*pluginv1.ActOnResourceResponse, error) {
	g, l3 := c.GetResource().GetUuid(), c.text("l3NetworkUuid")
	refs, err := find[l3Ref](ctx, p.graph, typeL3, nil, "securityGroupUuid="+g, "l3NetworkUuid="+l3)
	if err != nil {
		return nil, err
	}
	members, err := find[*member](ctx, p.graph, typeMember, nil, "securityGroupUuid="+g, "vmNic.l3NetworkUuid="+l3)
	if err != nil {
		return nil, err
	}
	var uuids []string
	for _, m := range members {
		uuids = append(uuids, m.NIC)
	}
	change := &changes{}
	for _, r := range refs {
		change.delete(typeL3, r.UUID)
	}
	if err := p.leave(ctx, change, g, uuids); err != nil {
		return nil, err
	}
	return change.answer()
}

// setGroups gives a NIC its groups in their order.
func (p *provider) setGroups(ctx context.Context, c *call) (*pluginv1.ActOnResourceResponse, error) {
	nics, err := p.nicsNamed(ctx, []string{c.text(paramNIC)})
	if err != nil {
		return nil, err
	}
	n, refs := nics[0], c.objects("refs")
	has, err := p.served(ctx, nics)
	if err != nil {
		return nil, err
	}
	if len(refs) > 0 && !has[n.L3] {
		return nil, noService(n)
	}
	of, err := p.membersOf(ctx, []string{n.UUID})
	if err != nil {
		return nil, err
	}
	wanted, err := p.inOrder(ctx, c, refs)
	if err != nil {
		return nil, err
	}
	change, list, uuids := &changes{}, []*member{}, []string{}
	var fresh []*member
	for _, group := range wanted {
		i := slices.IndexFunc(of[n.UUID], func(m *member) bool { return m.Group == group })
		m := &member{UUID: pluginsdk.UUIDOf(group, n.UUID), Group: group, NIC: n.UUID}
		if i >= 0 {
			m = of[n.UUID][i]
		} else {
			fresh = append(fresh, m)
		}
		if err := p.attach(ctx, change, group, nics); err != nil {
			return nil, err
		}
		list, uuids = append(list, m), append(uuids, m.UUID)
	}
	for _, m := range of[n.UUID] {
		if !slices.Contains(wanted, m.Group) {
			change.delete(typeMember, m.UUID)
		}
	}
	change.members(n, list, fresh...)
	return change.answer(uuids...)
}

// inOrder are the groups of refs by their priorities, which are those from 1 on.
func (p *provider) inOrder(ctx context.Context, c *call, refs []map[string]any) ([]string, error) {
	groups := make([]string, len(refs))
	for _, r := range refs {
		group, _ := r[paramGroup].(string)
		at, _ := r["priority"].(int64)
		if at < 1 || at > int64(len(refs)) || groups[at-1] != "" || slices.Contains(groups, group) {
			return nil, invalid("refs", "the groups do not have the priorities 1 to %d, each once", len(refs))
		}
		groups[at-1] = group
	}
	own := false
	for _, group := range groups {
		g, err := p.core.Get(ctx, typeGroup, group)
		if err != nil {
			return nil, err
		}
		mine := c.GetAdmin() || g.GetAccountUuid() == c.GetAccountUuid()
		if own && !mine {
			return nil, invalid("refs", "group %s is shared with the account, and so comes before its own groups", group)
		}
		own = own || mine && !c.GetAdmin()
	}
	return groups, nil
}

// changePolicy says what happens to packets of a NIC in groups that no rule matches.
func (p *provider) changePolicy(ctx context.Context, c *call) (*pluginv1.ActOnResourceResponse, error) {
	uuid := c.text(paramNIC)
	if c.text("ingressPolicy") == "" && c.text("egressPolicy") == "" {
		return nil, invalid("ingressPolicy", "neither it nor egressPolicy is given")
	}
	have, err := find[policy](ctx, p.graph, typePolicy, nil, "vmNicUuid="+uuid)
	if err != nil {
		return nil, err
	}
	row := policy{UUID: pluginsdk.UUIDOf("policy", uuid), Ingress: deny, Egress: allow}
	if len(have) > 0 {
		row = have[0]
	}
	if v := c.text("ingressPolicy"); v != "" {
		row.Ingress = v
	}
	if v := c.text("egressPolicy"); v != "" {
		row.Egress = v
	}
	change := &changes{}
	values := map[string]any{"ingressPolicy": row.Ingress, "egressPolicy": row.Egress}
	if len(have) == 0 {
		values[paramNIC] = uuid
	}
	change.put(typePolicy, row.UUID, "", values)
	return change.answer(row.UUID)
}

// maxCandidates is how many resources an action may answer.
const maxCandidates = 1000

// candidates are the NICs that could become members, as who asks sees them.
func (p *provider) candidates(ctx context.Context, c *call) (*pluginv1.ActOnResourceResponse, error) {
	r := &pluginv1.QueryRequest{Type: "VmNic", Fields: nicFields, As: pluginv1.Caller_CALLER_OPERATION,
		Conditions: []string{"vmInstanceUuid not null", "vmInstance.state?=Running,Stopped,Paused"}}
	nics, err := pluginsdk.Find[*nic](ctx, p.core, r)
	if err != nil {
		return nil, err
	}
	has, err := p.served(ctx, nics)
	if err != nil {
		return nil, err
	}
	members, err := find[*member](ctx, p.graph, typeMember, nil, "securityGroupUuid="+c.GetResource().GetUuid())
	if err != nil {
		return nil, err
	}
	in := map[string]bool{}
	for _, m := range members {
		in[m.NIC] = true
	}
	var uuids []string
	for _, n := range nics {
		if has[n.L3] && !in[n.UUID] && len(uuids) < maxCandidates {
			uuids = append(uuids, n.UUID)
		}
	}
	return &pluginv1.ActOnResourceResponse{Uuids: uuids}, nil
}

package main

import (
	"context"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// graph reads rows, and makes changes of them.
type graph struct{ core pluginsdk.Core }

type group struct {
	UUID  string `json:"uuid"`
	State string `json:"state"`
}

// member is a NIC in a group.
type member struct {
	UUID     string `json:"uuid"`
	Group    string `json:"securityGroupUuid"`
	NIC      string `json:"vmNicUuid"`
	Priority int64  `json:"priority"`
}

type policy struct {
	UUID    string `json:"uuid"`
	NIC     string `json:"vmNicUuid"`
	Ingress string `json:"ingressPolicy"`
	Egress  string `json:"egressPolicy"`
}

type l3Ref struct {
	UUID string `json:"uuid"`
	L3   string `json:"l3NetworkUuid"`
}

// nic is a guest's network card with its addresses.
type nic struct {
	UUID      string `json:"uuid"`
	VM        string `json:"vmInstanceUuid"`
	L3        string `json:"l3NetworkUuid"`
	IP        string `json:"ip"`
	Gateway   string `json:"gateway"`
	MAC       string `json:"mac"`
	Device    string `json:"internalName"`
	Addresses []struct {
		IP      string `json:"ip"`
		Gateway string `json:"gateway"`
	} `json:"usedIps"`
}

// addresses are the NIC's own, gateways those of its networks.
func (n *nic) addresses() (own, gateways []string) {
	add := func(list []string, a string) []string {
		if a == "" || slices.Contains(list, a) {
			return list
		}
		return append(list, a)
	}
	own, gateways = add(own, n.IP), add(gateways, n.Gateway)
	for _, a := range n.Addresses {
		own, gateways = add(own, a.IP), add(gateways, a.Gateway)
	}
	return own, gateways
}

type guest struct {
	UUID  string `json:"uuid"`
	State string `json:"state"`
	Host  string `json:"hostUuid"`
}

// nicFields are those of nic, for queries.
var nicFields = []string{"uuid", "vmInstanceUuid", "l3NetworkUuid", "ip", "gateway", "mac", "internalName", "usedIps"}

// atOnce is how many values a condition lists: a text of some kilobytes.
const atOnce = 200

// find returns the rows of a type for which all conditions hold, as the platform sees
// them.
func find[T any](ctx context.Context, g graph, typeName string, fields []string, conditions ...string) ([]T, error) {
	return pluginsdk.Find[T](ctx, g.core, &pluginv1.QueryRequest{Type: typeName, Fields: fields, Conditions: conditions, As: pluginv1.Caller_CALLER_SYSTEM})
}

// findIn returns the rows of which a field has one of some values.
func findIn[T any](ctx context.Context, g graph, typeName string, fields []string, field string, values []string) ([]T, error) {
	var all []T
	for some := range slices.Chunk(values, atOnce) {
		rows, err := find[T](ctx, g, typeName, fields, field+"?="+strings.Join(some, ","))
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return all, nil
}

func (g graph) rules(ctx context.Context, groupUUID string) ([]*rule, error) {
	rules, err := find[*rule](ctx, g, typeRule, nil, "securityGroupUuid="+groupUUID)
	slices.SortStableFunc(rules, func(a, b *rule) int { return int(a.Priority - b.Priority) })
	return rules, err
}

func (g graph) membersOf(ctx context.Context, nicUUIDs []string) (map[string][]*member, error) {
	rows, err := findIn[*member](ctx, g, typeMember, nil, "vmNicUuid", nicUUIDs)
	if err != nil {
		return nil, err
	}
	of := map[string][]*member{}
	for _, m := range rows {
		of[m.NIC] = append(of[m.NIC], m)
	}
	for _, list := range of {
		slices.SortStableFunc(list, func(a, b *member) int { return int(a.Priority - b.Priority) })
	}
	return of, nil
}

// changes are rows that change together.
type changes struct {
	pluginv1.RowChanges
	err error
}

// put sets values of a row; a nil value clears one.
func (c *changes) put(typeName, uuid, version string, values map[string]any) {
	p := &pluginv1.RowPut{Type: typeName, Uuid: uuid, Version: version}
	set := map[string]any{}
	for name, v := range values {
		if text, is := v.(string); v == nil || is && text == "" {
			p.Clear = append(p.Clear, name)
			continue
		}
		set[name] = v
	}
	slices.Sort(p.Clear)
	var err error
	if p.Values, err = pluginsdk.Values(set); err != nil {
		c.err = err
	}
	c.Puts = append(c.Puts, p)
}

func (c *changes) delete(typeName, uuid string) {
	c.Deletes = append(c.Deletes, &pluginv1.RowDelete{Type: typeName, Uuid: uuid})
}

// touch makes the changes those of this version of a group: another one's rules are
// not renumbered twice at once.
func (c *changes) touch(g *pluginv1.Resource) {
	c.put(typeGroup, g.GetUuid(), g.GetVersion(), map[string]any{"revision": g.GetValues()["revision"].GetNumber() + 1})
}

func (c *changes) answer(uuids ...string) (*pluginv1.ActOnResourceResponse, error) {
	return &pluginv1.ActOnResourceResponse{Changes: &c.RowChanges, Uuids: uuids}, c.err
}

func invalid(param, format string, args ...any) error {
	return errs.New(errs.Invalid, "parameter "+param, format, args...)
}

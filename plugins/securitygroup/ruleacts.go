package main

import (
	"context"
	"slices"
	"strconv"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// ordered are the rules of a direction that have priorities, by them.
func ordered(rules []*rule, direction string) []*rule {
	var own []*rule
	for _, r := range rules {
		if r.Type == direction && !r.isDefault() {
			own = append(own, r)
		}
	}
	slices.SortStableFunc(own, func(a, b *rule) int { return int(a.Priority - b.Priority) })
	return own
}

// number gives the rules of a direction the priorities from 1 on: fresh ones become
// rows, of others the priority changes where it is another.
func (c *changes) number(rules []*rule, fresh ...*rule) {
	for i, r := range rules {
		before := r.Priority
		r.Priority = int64(i + 1)
		switch {
		case slices.Contains(fresh, r):
			c.put(typeRule, r.UUID, "", r.values())
		case before != r.Priority:
			c.put(typeRule, r.UUID, "", map[string]any{"priority": r.Priority})
		}
	}
}

// addRules adds rules at the end of their directions, or from a priority on.
func (p *provider) addRules(ctx context.Context, c *call) (*pluginv1.ActOnResourceResponse, error) {
	fresh, err := c.newRules()
	if err != nil {
		return nil, err
	}
	have, err := p.rules(ctx, c.GetResource().GetUuid())
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(have, func(o *rule) bool { return o.UUID == fresh[0].UUID }) { // a repeat: they were added together
		return &pluginv1.ActOnResourceResponse{}, nil
	}
	at, _ := c.given["priority"].(int64) // clients send 0, too, for the end
	change := &changes{}
	for _, direction := range []string{ingress, egress} {
		list, insert := ordered(have, direction), int(at)-1
		if at <= 0 {
			insert = len(list)
		}
		for _, r := range fresh {
			if r.Type != direction {
				continue
			}
			if insert > len(list) {
				return nil, invalid("priority", "%d is more than %d, the end of the %s rules", at, len(list)+1, direction)
			}
			if err := p.fits(have, r); err != nil {
				return nil, err
			}
			r.Priority = int64(insert + 1) // no default rule, for fits
			have, list = append(have, r), slices.Insert(list, insert, r)
			insert++
		}
		change.number(list, fresh...)
	}
	change.touch(c.GetResource())
	return change.answer()
}

// newRules are those of a call, each with the remote groups that are given beside them.
func (c *call) newRules() ([]*rule, error) {
	given := c.objects("rules")
	if len(given) > maxRules {
		return nil, invalid("rules", "there are %d, at most %d are allowed in a call", len(given), maxRules)
	}
	var all []*rule
	for i, g := range given {
		remotes := []string{""}
		if list := c.texts("remoteSecurityGroupUuids"); len(list) > 0 && g["remoteSecurityGroupUuid"] == nil {
			remotes = list
		}
		for _, remote := range remotes {
			if remote != "" {
				g["remoteSecurityGroupUuid"] = remote
			}
			r, err := ruleOf(g)
			if err != nil {
				return nil, errs.Wrap(errs.Invalid, "rules["+strconv.Itoa(i)+"]", err, "")
			}
			r.Group = c.GetResource().GetUuid()
			r.UUID = pluginsdk.UUIDOf(c.operation, r.Group, strconv.Itoa(len(all)))
			all = append(all, r)
		}
	}
	return all, nil
}

// ofGroup are the rules of the group that the call is on, which must all be its own.
func ofGroup(rules []*rule, groupUUID string, uuids []string) ([]*rule, error) {
	var named []*rule
	for _, uuid := range uuids {
		i := slices.IndexFunc(rules, func(r *rule) bool { return r.UUID == uuid })
		if i < 0 {
			return nil, errs.New(errs.Invalid, typeRule+" "+uuid, "it is no rule of group %s", groupUUID)
		}
		if !slices.Contains(named, rules[i]) {
			named = append(named, rules[i])
		}
	}
	return named, nil
}

// changeRules changes the state of rules.
func (p *provider) changeRules(ctx context.Context, c *call) (*pluginv1.ActOnResourceResponse, error) {
	g := c.GetResource()
	rules, err := p.rules(ctx, g.GetUuid())
	if err != nil {
		return nil, err
	}
	named, err := ofGroup(rules, g.GetUuid(), c.texts("ruleUuids"))
	if err != nil {
		return nil, err
	}
	change := &changes{}
	for _, r := range named {
		change.put(typeRule, r.UUID, "", map[string]any{"state": c.text("state")})
	}
	return change.answer()
}

// orderRules gives all rules of a direction their priorities.
func (p *provider) orderRules(ctx context.Context, c *call) (*pluginv1.ActOnResourceResponse, error) {
	g := c.GetResource()
	rules, err := p.rules(ctx, g.GetUuid())
	if err != nil {
		return nil, err
	}
	own := ordered(rules, c.text("type"))
	next := make([]*rule, len(own))
	for _, o := range c.objects("rules") {
		uuid, _ := o["ruleUuid"].(string)
		at, _ := o["priority"].(int64)
		i := slices.IndexFunc(own, func(r *rule) bool { return r.UUID == uuid })
		switch {
		case i < 0:
			return nil, invalid("rules", "%s is none of the %s rules of the group that can be ordered", uuid, c.text("type"))
		case at > int64(len(own)) || next[at-1] != nil || slices.Contains(next, own[i]):
			return nil, invalid("rules", "the priorities are not 1 to %d, each once", len(own))
		}
		next[at-1] = own[i]
	}
	if slices.Contains(next, nil) {
		return nil, invalid("rules", "%d of the %d %s rules are given; give all", len(c.objects("rules")), len(own), c.text("type"))
	}
	change := &changes{}
	change.number(next)
	change.touch(g)
	return change.answer()
}

// deleteRules deletes rules of a group; the others keep their order.
func (p *provider) deleteRules(ctx context.Context, c *call) (*pluginv1.ActOnResourceResponse, error) {
	named, err := findIn[*rule](ctx, p.graph, typeRule, nil, "uuid", c.texts("ruleUuids"))
	if err != nil || len(named) == 0 {
		return &pluginv1.ActOnResourceResponse{}, err
	}
	groupUUID := named[0].Group
	g, err := p.core.Get(ctx, typeGroup, groupUUID)
	if err != nil {
		return nil, err
	}
	change := &changes{}
	for _, r := range named {
		switch {
		case r.Group != groupUUID:
			return nil, invalid("ruleUuids", "they are of groups %s and %s; delete those of one group", groupUUID, r.Group)
		case r.isDefault():
			return nil, errs.New(errs.Refused, typeRule+" "+r.UUID, "it came with the group").WithAdvice("disable it")
		}
		change.delete(typeRule, r.UUID)
	}
	rules, err := p.rules(ctx, groupUUID)
	if err != nil {
		return nil, err
	}
	left := slices.DeleteFunc(rules, func(r *rule) bool {
		return slices.ContainsFunc(named, func(n *rule) bool { return n.UUID == r.UUID })
	})
	for _, direction := range []string{ingress, egress} {
		change.number(ordered(left, direction))
	}
	change.touch(g)
	return change.answer(groupUUID)
}

// changeRule changes what is given of a rule; the others of its direction make room for
// a new priority.
func (p *provider) changeRule(ctx context.Context, c *call) (*pluginv1.ActOnResourceResponse, error) {
	groupUUID := c.GetResource().GetValues()["securityGroupUuid"].GetText()
	g, err := p.core.Get(ctx, typeGroup, groupUUID)
	if err != nil {
		return nil, err
	}
	rules, err := p.rules(ctx, groupUUID)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(rules, func(r *rule) bool { return r.UUID == c.GetResource().GetUuid() })
	if i < 0 {
		return nil, errs.New(errs.NotFound, typeRule+" "+c.GetResource().GetUuid(), "it does not exist")
	}
	r := rules[i]
	change := &changes{}
	if r.isDefault() {
		for name, v := range c.given {
			if name == "priority" && v == int64(0) { // clients send it for none
				delete(c.given, name)
				continue
			}
			if name != "description" && name != "state" {
				return nil, errs.New(errs.Refused, typeRule+" "+r.UUID, "it came with the group: only its description and state change, not %s", name)
			}
		}
		change.put(typeRule, r.UUID, "", c.given)
		return change.answer()
	}
	if err := r.change(c.given); err != nil {
		return nil, err
	}
	if err := p.fits(slices.Delete(slices.Clone(rules), i, i+1), r); err != nil {
		return nil, err
	}
	list := ordered(rules, r.Type)
	if at, has := c.given["priority"].(int64); has && at != 0 {
		if at < 1 || at > int64(len(list)) {
			return nil, invalid("priority", "%d is not in 1..%d", at, len(list))
		}
		list = slices.DeleteFunc(list, func(o *rule) bool { return o == r })
		list = slices.Insert(list, int(at)-1, r)
	}
	change.number(list, r)
	change.touch(g)
	return change.answer()
}

// change puts what is given into a rule, and checks it.
func (r *rule) change(given map[string]any) error {
	for name, own := range map[string]*string{"description": &r.Description, "remoteSecurityGroupUuid": &r.Remote, "action": &r.Action, "state": &r.State,
		"protocol": &r.Protocol, "srcIpRange": &r.Src, "dstIpRange": &r.Dst, "dstPortRange": &r.Ports} {
		if text, has := given[name].(string); has {
			*own = text
		}
	}
	return r.settle()
}

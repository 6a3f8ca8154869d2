package main

import (
	"cmp"
	"context"
	"errors"
	"strconv"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// provider is behind the resource types: it answers which rows change, and changes
// nothing itself.
type provider struct {
	graph
	// limit is how many rules a group has in a direction.
	limit int
}

// CreateResource gives a new group its default rules, by which its members reach each
// other.
func (p *provider) CreateResource(_ context.Context, req *pluginv1.CreateResourceRequest) (*pluginv1.CreateResourceResponse, error) {
	g := req.GetResource()
	if err := pluginsdk.CheckUUID(typeGroup, g.GetUuid()); err != nil {
		return nil, err
	}
	if v := g.GetValues()["ipVersion"].GetNumber(); v != 0 && v != 4 && v != 6 { // clients send 0 for none
		return nil, invalid("ipVersion", "it is %d, neither 4 nor 6", v)
	}
	c := &changes{}
	for _, direction := range []string{ingress, egress} {
		for _, version := range []int64{4, 6} {
			r := &rule{Group: g.GetUuid(), Type: direction, IPVersion: version, Protocol: "ALL", State: enabled, Action: accept, Remote: g.GetUuid()}
			if err := r.settle(); err != nil {
				return nil, err
			}
			c.put(typeRule, pluginsdk.UUIDOf(g.GetUuid(), direction, strconv.FormatInt(version, 10)), "", r.values())
		}
	}
	return &pluginv1.CreateResourceResponse{Changes: &c.RowChanges}, c.err
}

// UpdateResource accepts names and states; hosts are told after the row has changed.
func (p *provider) UpdateResource(context.Context, *pluginv1.UpdateResourceRequest) (*pluginv1.UpdateResourceResponse, error) {
	return &pluginv1.UpdateResourceResponse{}, nil
}

// DeleteResource has nothing to do: hosts are told after the rules and members of the
// group have gone.
func (p *provider) DeleteResource(context.Context, *pluginv1.DeleteResourceRequest) (*pluginv1.DeleteResourceResponse, error) {
	return &pluginv1.DeleteResourceResponse{}, nil
}

// call is an action with its parameters.
type call struct {
	*pluginv1.ActOnResourceRequest
	given map[string]any
	// operation tells calls apart: a repeat has the same one.
	operation string
}

func (c *call) text(name string) string { s, _ := c.given[name].(string); return s }

func (c *call) texts(name string) []string { l, _ := c.given[name].([]string); return l }

func (c *call) objects(name string) []map[string]any {
	l, _ := c.given[name].([]map[string]any)
	return l
}

// ActOnResource carries out the messages of actions.go.
func (p *provider) ActOnResource(ctx context.Context, req *pluginv1.ActOnResourceRequest) (*pluginv1.ActOnResourceResponse, error) {
	c := &call{req, pluginsdk.PlainValues(req.GetParams()), pluginsdk.OperationID(ctx)}
	act := map[string]func(context.Context, *call) (*pluginv1.ActOnResourceResponse, error){
		addRules: p.addRules, changeRule: p.changeRule, changeRules: p.changeRules, orderRules: p.orderRules, deleteRules: p.deleteRules,
		validateRule: p.validateRule, attachL3: p.attachL3, detachL3: p.detachL3, addNICs: p.addNICs, deleteNICs: p.deleteNICs,
		setGroups: p.setGroups, changePolicy: p.changePolicy, candidateNICs: p.candidates,
	}[req.GetMessage()]
	if act == nil {
		return nil, errs.New(errs.Unsupported, req.GetMessage(), "this plugin does not have it")
	}
	return act(ctx, c)
}

// validateRule tells whether a rule could be added.
func (p *provider) validateRule(ctx context.Context, c *call) (*pluginv1.ActOnResourceResponse, error) {
	r, err := ruleOf(c.given)
	if err == nil {
		var have []*rule
		if have, err = p.rules(ctx, c.GetResource().GetUuid()); err != nil {
			return nil, err
		}
		err = p.fits(have, r)
	}
	said := map[string]any{"available": err == nil, "success": true, "code": codeOK}
	if bad, is := errors.AsType[*ruleError](err); is {
		said["code"], said["reason"] = bad.code, bad.Error()
	} else if err != nil {
		said["code"], said["reason"] = codeConflict, err.Error()
	}
	answers, err := pluginsdk.Values(said)
	return &pluginv1.ActOnResourceResponse{Answers: answers}, err
}

// fits refuses a rule that a group cannot have beside those that it has.
func (p *provider) fits(have []*rule, r *rule) error {
	n := 0
	for _, o := range have {
		if o.UUID != r.UUID && !o.isDefault() && o.same(r) {
			return wrong(codeDuplicate, "rules", "rule %s says the same", o.UUID)
		}
		if !o.isDefault() && o.Type == r.Type && o.UUID != r.UUID {
			n++
		}
	}
	if limit := cmp.Or(p.limit, defaultLimit); n >= limit {
		return errs.New(errs.Exhausted, typeGroup+" "+r.Group, "it has %d %s rules, the most that there may be", n, r.Type).
			WithAdvice("delete some, or make a second group")
	}
	return nil
}

// defaultLimit is how many rules a group has in a direction, by default (specification,
// section 4).
const defaultLimit = 100

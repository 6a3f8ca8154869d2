package plugintest_test

import (
	"context"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// thing is the resource type of the memory plugin's own.
var thing = &pluginv1.ResourceTypeDecl{
	Name: "Thing", Path: "/things", Caption: pluginsdk.Say("Thing", "东西"), Owned: true, Calls: true,
	Fields: []*pluginv1.Field{
		{Name: "size", Kind: "int", Min: 1, Max: 1 << 20, Caption: pluginsdk.Say("Size", "大小")},
		{Name: "place", Fact: true, Caption: pluginsdk.Say("Place", "位置")},
	},
	Create: &pluginv1.ResourceMessage{}, Update: &pluginv1.ResourceMessage{}, Delete: &pluginv1.ResourceMessage{},
	Actions: []*pluginv1.ActionDecl{{Message: "APIShakeThingMsg", Caption: pluginsdk.Say("Shake", "摇")}},
}

type memoryProvider struct{ m *memory }

// check refuses a thing without a size, and one whose UUID is none.
func (p memoryProvider) check(r *pluginv1.Resource) error {
	if err := p.m.uuid("thing", r.Uuid); err != nil {
		return err
	}
	if r.Values["size"].GetNumber() < 1 {
		return p.m.invalid("thing "+r.Uuid, "it has no size")
	}
	return nil
}

func (p memoryProvider) CreateResource(_ context.Context, r *pluginv1.CreateResourceRequest) (*pluginv1.CreateResourceResponse, error) {
	if err := p.check(r.Resource); err != nil {
		return nil, err
	}
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if p.m.broken == "repeat" && p.m.things[r.Resource.Uuid] {
		return nil, errs.New(errs.Exists, "thing "+r.Resource.Uuid, "it is there")
	}
	p.m.things[r.Resource.Uuid] = true
	facts := map[string]any{"place": "here"}
	if p.m.broken == "differs" {
		facts = map[string]any{"size": 7}
	}
	values, err := pluginsdk.Values(facts)
	return &pluginv1.CreateResourceResponse{Facts: values}, err
}

func (p memoryProvider) UpdateResource(_ context.Context, r *pluginv1.UpdateResourceRequest) (*pluginv1.UpdateResourceResponse, error) {
	if p.m.broken == "taken back" && r.Resource.Values["size"].GetNumber() != 99 {
		return nil, errs.New(errs.Refused, "thing "+r.Resource.Uuid, "it does not shrink")
	}
	return &pluginv1.UpdateResourceResponse{}, p.check(r.Resource)
}

func (p memoryProvider) DeleteResource(_ context.Context, r *pluginv1.DeleteResourceRequest) (*pluginv1.DeleteResourceResponse, error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if p.m.broken == "undo" && !p.m.things[r.Resource.Uuid] {
		return nil, errs.New(errs.NotFound, "thing "+r.Resource.Uuid, "no such thing")
	}
	if p.m.broken != "leaves" {
		delete(p.m.things, r.Resource.Uuid)
	}
	return &pluginv1.DeleteResourceResponse{}, nil
}

func (p memoryProvider) ActOnResource(_ context.Context, r *pluginv1.ActOnResourceRequest) (*pluginv1.ActOnResourceResponse, error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if !p.m.things[r.Resource.Uuid] {
		return nil, errs.New(errs.NotFound, "thing "+r.Resource.Uuid, "no such thing")
	}
	if p.m.broken == "acts once" {
		p.m.things[r.Resource.Uuid] = false
	}
	return &pluginv1.ActOnResourceResponse{}, nil
}

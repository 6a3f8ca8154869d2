package inventory_test

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// sky is a plugin of a place outside, with isles and ships at them.
type sky struct {
	mu     sync.Mutex
	things []thing
	// breaks: how many calls of Sync end after a page, without having failed before.
	breaks int
	failed string // why Sync fails; "" when it does not
	met    func() // called before each page
	made   int
	calls  []string
}

type thing struct {
	typ, id, name, isle string
	size                int64
}

func say(en string) *pluginv1.Caption { return pluginsdk.Say(en, en) }

const secret = "s3cr3t-of-the-sky"

func skyTypes() []*pluginv1.ResourceTypeDecl {
	endpoint := &pluginv1.Field{Name: "skyUuid", Required: true, Immutable: true, Caption: say("Sky")}
	toSky := &pluginv1.EdgeDecl{Name: "sky", To: "Sky", Column: "skyUuid", OnDelete: "cascade", Inverse: "isles"}
	toSky2 := &pluginv1.EdgeDecl{Name: "sky", To: "Sky", Column: "skyUuid", OnDelete: "cascade", Inverse: "ships"}
	all := func() (a, b, c *pluginv1.ResourceMessage) {
		return &pluginv1.ResourceMessage{}, &pluginv1.ResourceMessage{}, &pluginv1.ResourceMessage{}
	}
	crew := &pluginv1.ResourceTypeDecl{Name: "Crew", Path: "/crews", Owned: true, Caption: say("Crew"),
		Fields: []*pluginv1.Field{{Name: "shipUuid", Required: true, Caption: say("Ship")}},
		Edges:  []*pluginv1.EdgeDecl{{Name: "ship", To: "Ship", Column: "shipUuid", OnDelete: "restrict"}}}
	crew.Create, crew.Update, crew.Delete = all()
	account := &pluginv1.ResourceTypeDecl{Name: "Sky", Path: "/skies", Owned: true, Caption: say("Sky"),
		Fields: []*pluginv1.Field{{Name: "key", Secret: true, Required: true, Caption: say("Key")}}}
	account.Create, account.Update, account.Delete = all()
	isle := &pluginv1.ResourceTypeDecl{Name: "Isle", Path: "/isles", Owned: true, Caption: say("Isle"),
		Fields: []*pluginv1.Field{endpoint}, Edges: []*pluginv1.EdgeDecl{toSky}, Update: &pluginv1.ResourceMessage{}, Delete: &pluginv1.ResourceMessage{},
		Foreign: &pluginv1.ForeignDecl{EndpointType: "Sky", Endpoint: "skyUuid", Delete: []string{"local"}}}
	ship := &pluginv1.ResourceTypeDecl{Name: "Ship", Path: "/ships", OwnedBy: "sky", Caption: say("Ship"), Calls: true, Priced: true,
		Fields: []*pluginv1.Field{endpoint, {Name: "isleUuid", Required: true, Immutable: true, Caption: say("Isle")},
			{Name: "size", Kind: "long", Min: 1, Max: 100, Caption: say("Size")}, {Name: "flag", Caption: say("Flag")}, {Name: "state", Fact: true, Caption: say("State")}},
		Edges:   []*pluginv1.EdgeDecl{toSky2, {Name: "isle", To: "Isle", Column: "isleUuid", OnDelete: "cascade", Inverse: "ships"}},
		States:  &pluginv1.StatesDecl{Column: "state", Creating: "Building", Ready: "Afloat"},
		Foreign: &pluginv1.ForeignDecl{EndpointType: "Sky", Endpoint: "skyUuid", Create: true, Delete: []string{"remote", "local"}}}
	ship.Create, ship.Update, ship.Delete = all()
	return []*pluginv1.ResourceTypeDecl{account, isle, ship, crew}
}

func (s *sky) plugin() pluginsdk.Plugin {
	return pluginsdk.Plugin{ResourceProvider: s, InventorySync: s, HybridCloud: s, Manifest: &pluginv1.Manifest{Name: "sky", Version: "1", ResourceTypes: skyTypes(),
		Inventories: []*pluginv1.InventoryDecl{{EndpointType: "Sky", Types: []string{"Isle", "Ship"}}}}}
}

const perPage = 2

// Sync tells of the things, two a page; its cursor is how many it has told of.
func (s *sky) Sync(_ context.Context, req *pluginv1.SyncRequest, emit func(*pluginv1.Page) error) error {
	at, _ := strconv.Atoi(req.GetCursor())
	for pages := 0; ; pages++ {
		s.mu.Lock()
		failed, met, things := s.failed, s.met, s.things
		broken := pages > 0 && s.breaks > 0
		if broken {
			s.breaks--
		}
		s.mu.Unlock()
		if met != nil {
			met()
		}
		if failed != "" {
			return errs.New(errs.Denied, "sky", "%s", failed)
		}
		if broken {
			return errs.New(errs.Unavailable, "sky", "it is foggy")
		}
		some := things[min(at, len(things)):min(at+perPage, len(things))]
		at += len(some)
		p := &pluginv1.Page{Cursor: strconv.Itoa(at), Last: at >= len(things)}
		for _, t := range some {
			row := &pluginv1.ForeignRow{Type: t.typ, ForeignId: t.id}
			row.Values, _ = pluginsdk.Values(map[string]any{"name": t.name, "description": ""})
			if t.typ == "Ship" {
				row.Values, _ = pluginsdk.Values(map[string]any{"name": t.name, "size": t.size, "flag": ""})
				row.Refs = map[string]*pluginv1.ForeignRef{"isleUuid": {Type: "Isle", ForeignId: t.isle}}
			}
			p.Rows = append(p.Rows, row)
		}
		if err := emit(p); err != nil || p.Last {
			return err
		}
	}
}

func (s *sky) set(things ...thing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.things = things
}

func (s *sky) called(what string, r *pluginv1.Resource) {
	s.calls = append(s.calls, strings.TrimSpace(what+" "+r.GetForeignId()))
}

func (s *sky) CreateResource(_ context.Context, req *pluginv1.CreateResourceRequest) (*pluginv1.CreateResourceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := req.GetResource()
	if r.GetEndpoint().GetValues()["key"].GetText() != secret {
		return nil, errs.New(errs.Denied, "sky", "it needs the key")
	}
	for _, t := range s.things {
		if t.name == r.GetUuid() { // it was made before
			return &pluginv1.CreateResourceResponse{ForeignId: t.id}, nil
		}
	}
	s.made++
	id := "made-" + strconv.Itoa(s.made)
	s.called("create", &pluginv1.Resource{ForeignId: id})
	s.things = append(s.things, thing{"Ship", id, r.GetUuid(), "i1", r.GetValues()["size"].GetNumber()})
	return &pluginv1.CreateResourceResponse{ForeignId: id}, nil
}

func (s *sky) UpdateResource(_ context.Context, req *pluginv1.UpdateResourceRequest) (*pluginv1.UpdateResourceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.called("update", req.GetResource())
	return &pluginv1.UpdateResourceResponse{}, nil
}

func (s *sky) DeleteResource(_ context.Context, req *pluginv1.DeleteResourceRequest) (*pluginv1.DeleteResourceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.called("delete", req.GetResource())
	var left []thing
	for _, t := range s.things {
		if t.id != req.GetResource().GetForeignId() && t.name != req.GetResource().GetUuid() {
			left = append(left, t)
		}
	}
	s.things = left
	return &pluginv1.DeleteResourceResponse{}, nil
}

func (s *sky) ActOnResource(context.Context, *pluginv1.ActOnResourceRequest) (*pluginv1.ActOnResourceResponse, error) {
	return &pluginv1.ActOnResourceResponse{}, nil
}

func (s *sky) Price(_ context.Context, req *pluginv1.PriceRequest) (*pluginv1.PriceResponse, error) {
	if req.GetEndpoint().GetValues()["key"].GetText() != secret {
		return nil, errs.New(errs.Denied, "sky", "it needs the key")
	}
	return &pluginv1.PriceResponse{Amount: strconv.FormatInt(req.GetParams()["size"].GetNumber(), 10) + ".50", Currency: "EUR", Unit: "ship", Period: "hour"}, nil
}

// has are the calls of its provider since the last time.
func (s *sky) has() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := strings.Join(s.calls, ", ")
	s.calls = nil
	return text
}

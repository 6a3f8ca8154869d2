package provider_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/assembly/cloudtest"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

type P = cloudtest.P

// yard is a plugin of boats, which it has; of moorings, which are rows alone; and of
// logs, which are parts of boats and have no state.
type yard struct {
	mu   sync.Mutex
	has  map[string]*pluginv1.Resource
	acts []*pluginv1.ActOnResourceRequest
	// moorings are those that it finds.
	moorings []string
	// facts, if any, is what it answers to a create.
	facts map[string]any
}

func say(en string) *pluginv1.Caption { return pluginsdk.Say(en, en) }

func boats() *pluginv1.ResourceTypeDecl {
	return &pluginv1.ResourceTypeDecl{
		Name: "Boat", Path: "/boats", Owned: true, Calls: true, Caption: say("Boat"), Columns: []string{"name", "state"},
		Fields: []*pluginv1.Field{
			{Name: "sail", Required: true, MaxLength: 32, Unique: true, Caption: say("Sail")},
			{Name: "code", Secret: true, Immutable: true, Caption: say("Code")},
			{Name: "length", Kind: "double", Caption: say("Length")},
			{Name: "crew", Kind: "int", Min: 1, Max: 9, Default: "2", Caption: say("Crew")},
			{Name: "launched", Kind: "time", Caption: say("Launched")},
			{Name: "racing", Kind: "bool", Caption: say("Racing")},
			{Name: "rig", Values: []string{"sloop", "ketch"}, Words: []*pluginv1.ValueWord{{Value: "sloop", Caption: say("Sloop"), Tone: "info"}}, Caption: say("Rig")},
			{Name: "cargo", Kind: "long", Caption: say("Cargo")},
			{Name: "zoneUuid", Caption: say("Zone")},
			{Name: "mooringUuid", Caption: say("Mooring")},
			{Name: "flag", Fact: true, MaxLength: 8, Caption: say("Flag")},
			{Name: "keel", Hidden: true},
			{Name: "state", Fact: true, Caption: say("State")},
		},
		Edges: []*pluginv1.EdgeDecl{
			{Name: "zone", To: "Zone", Column: "zoneUuid", OnDelete: "cascade", Inverse: "boats"},
			{Name: "mooring", To: "Mooring", Column: "mooringUuid", OnDelete: "detach", Inverse: "boats"},
		},
		States: &pluginv1.StatesDecl{Column: "state", Creating: "Building", Ready: "Afloat", Change: &pluginv1.ResourceMessage{},
			Moves: []*pluginv1.StateMove{{Event: "sink", From: "Afloat", To: "Sunk"}, {Event: "raise", From: "Sunk", To: "Afloat"}}},
		Create: &pluginv1.ResourceMessage{}, Update: &pluginv1.ResourceMessage{Message: "APIRefitBoatMsg"}, Delete: &pluginv1.ResourceMessage{},
		Actions: []*pluginv1.ActionDecl{
			{Message: "APIPaintBoatMsg", Path: "/paint", Method: "POST", Caption: say("Paint"), Params: []*pluginv1.Field{
				{Name: "colours", Kind: "strings", Required: true, Caption: say("Colours")}, {Name: "at", Kind: "time", Caption: say("At")}}},
			{Message: "APITowBoatsMsg", On: "many", Caption: say("Tow"), Params: []*pluginv1.Field{{Name: "mooringUuid", Ref: "Mooring", Caption: say("Mooring")}}},
			{Message: "APISweepBoatsMsg", On: "type", Access: "admin", Caption: say("Sweep")},
			{Message: "APIGetCandidateMooringsMsg", Method: "GET", Path: "/candidates", Returns: "Mooring", Caption: say("Moorings")},
			{Message: "APIFindMooringsMsg", On: "type", Returns: "Mooring", Caption: say("Find")},
		},
		Embeds:  []*pluginv1.EmbedDecl{{Name: "logs", Type: "ShipLog", Column: "boatUuid", OrderBy: "-pages"}, {Name: "logNames", Type: "ShipLog", Column: "boatUuid", Scalar: "name"}},
		Indexes: []*pluginv1.IndexDecl{{Columns: []string{"sail", "crew"}, Unique: true}},
		Tags:    []*pluginv1.TagDecl{{Pattern: "berth::{berth}", Single: true, Caption: say("Berth")}},
	}
}

func moorings() *pluginv1.ResourceTypeDecl {
	return &pluginv1.ResourceTypeDecl{Name: "Mooring", Path: "/moorings", Owned: true, Caption: say("Mooring"),
		Fields: []*pluginv1.Field{{Name: "depth", Kind: "int", Caption: say("Depth")}},
		Create: &pluginv1.ResourceMessage{}, Update: &pluginv1.ResourceMessage{}, Delete: &pluginv1.ResourceMessage{}}
}

func logs() *pluginv1.ResourceTypeDecl {
	return &pluginv1.ResourceTypeDecl{Name: "ShipLog", Path: "/ship-logs", OwnedBy: "boat", Calls: true, Caption: say("Log"),
		Fields: []*pluginv1.Field{{Name: "boatUuid", Required: true, Immutable: true, Caption: say("Boat")}, {Name: "pages", Kind: "int", Caption: say("Pages")},
			{Name: "flag", Fact: true, Caption: say("Flag")}},
		Edges:  []*pluginv1.EdgeDecl{{Name: "boat", To: "Boat", Column: "boatUuid", OnDelete: "cascade", Inverse: "log"}},
		Create: &pluginv1.ResourceMessage{}, Update: &pluginv1.ResourceMessage{}, Delete: &pluginv1.ResourceMessage{}}
}

func (y *yard) plugin(types ...*pluginv1.ResourceTypeDecl) pluginsdk.Plugin {
	y.has = map[string]*pluginv1.Resource{}
	return pluginsdk.Plugin{Manifest: &pluginv1.Manifest{Name: "yard", Version: "1", ResourceTypes: types}, ResourceProvider: y}
}

func (y *yard) answer() (map[string]*pluginv1.Value, error) {
	if y.facts == nil {
		return pluginsdk.Values(map[string]any{"flag": "red"})
	}
	return pluginsdk.Values(y.facts)
}

func (y *yard) CreateResource(_ context.Context, req *pluginv1.CreateResourceRequest) (*pluginv1.CreateResourceResponse, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.has[req.Resource.Uuid] = req.Resource
	facts, err := y.answer()
	return &pluginv1.CreateResourceResponse{Facts: facts}, err
}

func (y *yard) UpdateResource(_ context.Context, req *pluginv1.UpdateResourceRequest) (*pluginv1.UpdateResourceResponse, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.has[req.Resource.Uuid] = req.Resource
	return &pluginv1.UpdateResourceResponse{}, nil
}

func (y *yard) DeleteResource(_ context.Context, req *pluginv1.DeleteResourceRequest) (*pluginv1.DeleteResourceResponse, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	delete(y.has, req.Resource.Uuid)
	return &pluginv1.DeleteResourceResponse{}, nil
}

func (y *yard) ActOnResource(_ context.Context, req *pluginv1.ActOnResourceRequest) (*pluginv1.ActOnResourceResponse, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.acts = append(y.acts, req)
	if req.Resource == nil || strings.Contains(req.Message, "Candidate") {
		return &pluginv1.ActOnResourceResponse{Uuids: y.moorings}, nil
	}
	facts, err := pluginsdk.Values(map[string]any{"flag": "blue"})
	return &pluginv1.ActOnResourceResponse{Facts: facts}, err
}

// of is a value that the plugin has been told of a resource.
func (y *yard) of(uuid, field string) any {
	y.mu.Lock()
	defer y.mu.Unlock()
	return pluginsdk.Plain(y.has[uuid].GetValues()[field])
}

func (y *yard) count() int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return len(y.has)
}

func newYard(t *testing.T) (*cloudtest.Cloud, *yard) {
	y := &yard{}
	return cloudtest.New(t, y.plugin(boats(), moorings(), logs())), y
}

// A resource of a plugin's own lives as others do.
func TestLife(t *testing.T) {
	c, y := newYard(t)
	account := c.Account()
	me := c.As(account)
	mooring := me.Create("APICreateMooringMsg", P{"name": "m", "depth": 7})
	c.Want("the plugin's calls for rows alone", len(c.Calls.Of("CreateResource")), 0)
	boat := me.Do("APICreateBoatMsg", P{"name": "b", "sail": "K7", "code": "secret", "length": 12.5, "launched": "2026-01-31 12:00:00", "racing": true,
		"cargo": int64(1) << 40, "mooringUuid": mooring, "systemTags": []string{"berth::9"}, "userTags": []string{"fast"}})
	uuid := boat.Text("uuid")
	launched, _ := time.ParseInLocation(time.DateTime, "2026-01-31 12:00:00", time.Local)
	for field, want := range map[string]any{"state": "Afloat", "flag": "red", "sail": "K7", "length": 12.5, "racing": true, "cargo": float64(1 << 40),
		"crew": 2.0, "mooringUuid": mooring, "code": nil, "keel": nil} {
		c.Want("the boat's "+field, boat[field], want)
	}
	for field, want := range map[string]any{"code": "secret", "length": 12.5, "racing": true, "cargo": int64(1 << 40), "crew": int64(2), "launched": launched.UTC(), "name": "b"} {
		c.Want("what the plugin knows as "+field, y.of(uuid, field), want)
	}
	c.Want("the owner that the plugin knows", y.has[uuid].AccountUuid, account)
	c.Want("the tags that the plugin knows", strings.Join(y.has[uuid].SystemTags, " "), "berth::9")
	c.Want("boats of more than 12", len(c.List("Boat", "length>12", "mooring.depth=7", "__userTag__=fast", "launched<2026-02-01")), 1)
	c.Want("moorings by their boats", len(c.List("Mooring", "boats.sail=K7")), 1)

	me.Do("APIRefitBoatMsg", P{"uuid": uuid, "length": 13.5, "launched": ""})
	row := c.Get("Boat", uuid)
	c.Want("the new length", row["length"], 13.5)
	c.Want("the time that was taken away", row["launched"], nil)
	c.Want("the new length that the plugin knows", y.of(uuid, "length"), 13.5)
	c.Want("the secret that the plugin still knows", y.of(uuid, "code"), "secret")
	me.Refused(errs.Invalid, "APIRefitBoatMsg", P{"uuid": uuid, "sail": ""}, "sail")
	me.Refused(errs.Invalid, "APIRefitBoatMsg", P{"uuid": uuid, "rig": "raft"}, "rig")
	me.Refused(errs.Invalid, "APIRefitBoatMsg", P{"uuid": uuid, "launched": "soon"}, "launched", "soon")

	me.Do("APIChangeBoatStateMsg", P{"uuid": uuid, "stateEvent": "sink"})
	c.Want("the state", c.Get("Boat", uuid).Text("state"), "Sunk")
	c.Want("the state that the plugin knows", y.of(uuid, "state"), "Sunk")
	me.Refused(errs.Refused, "APIChangeBoatStateMsg", P{"uuid": uuid, "stateEvent": "sink"}, "Sunk")

	me.Do("APIPaintBoatMsg", P{"uuid": uuid, "colours": []string{"red", "white"}, "at": "2026-02-01"})
	c.Want("the flag after it was painted", c.Get("Boat", uuid).Text("flag"), "blue")
	c.Want("the colours", len(y.acts[0].Params["colours"].GetList().GetItems()), 2)
	other := me.Create("APICreateBoatMsg", P{"name": "c", "sail": "K8"})
	me.Do("APITowBoatsMsg", P{"uuids": []string{uuid, other}, "mooringUuid": mooring})
	c.Want("what was towed", y.acts[1].Resource.Uuid+y.acts[2].Resource.Uuid, uuid+other)
	c.Want("who asked for it", y.acts[1].AccountUuid, account)
	me.Refused(errs.Denied, "APISweepBoatsMsg", P{})
	c.Do("APISweepBoatsMsg", P{})
	y.moorings = []string{c.Create("APICreateMooringMsg", P{"name": "theirs"}), mooring, strings.Repeat("0", 32)}
	for message, p := range map[string]P{"APIGetCandidateMooringsMsg": {"uuid": uuid}, "APIFindMooringsMsg": {}} {
		found := me.Do(message, p).Rows("inventories")
		if len(found) != 1 || found[0].Text("uuid") != mooring {
			t.Errorf("%s found %v, and not only what the account may read", message, found)
		}
	}
	y.acts = nil
	me.Create("APICreateShipLogMsg", P{"name": "l", "boatUuid": uuid, "pages": 3})
	me.Create("APICreateShipLogMsg", P{"name": "m", "boatUuid": uuid, "pages": 4})
	row = c.Get("Boat", uuid)
	c.Want("the thickest log", row.Rows("logs")[0].Text("name"), "m")
	c.Want("the logs' names", len(row["logNames"].([]any)), 2)

	me.Do("APIDeleteMooringMsg", P{"uuid": mooring})
	c.Want("the boat's mooring", c.Get("Boat", uuid)["mooringUuid"], nil)
	c.Want("the mooring that the plugin knows", y.of(uuid, "mooringUuid"), nil)
	for range 2 {
		me.Do("APIDeleteBoatMsg", P{"uuid": uuid})
	}
	c.Want("the boat", len(c.List("Boat")), 1)
	c.Want("what the plugin has", y.count(), 1)
	c.Want("actions by now", len(y.acts), 0)
}

// Nobody else reads or changes what an account has, unless it is shared; a part
// belongs to whom its whole does.
func TestOwners(t *testing.T) {
	c, y := newYard(t)
	account := c.Account()
	me, other := c.As(account), c.As(c.Account())
	boat := me.Create("APICreateBoatMsg", P{"name": "b", "sail": "K1"})
	log := me.Create("APICreateShipLogMsg", P{"name": "l", "boatUuid": boat})
	c.Want("whose log the plugin takes it for", y.has[log].AccountUuid, account)
	for message, p := range map[string]P{
		"APIRefitBoatMsg": {"uuid": boat, "name": "mine"}, "APIDeleteBoatMsg": {"uuid": boat}, "APITowBoatsMsg": {"uuids": []string{boat}},
		"APIPaintBoatMsg": {"uuid": boat, "colours": []string{"red"}}, "APICreateShipLogMsg": {"name": "l", "boatUuid": boat}, "APIDeleteShipLogMsg": {"uuid": log},
	} {
		other.Refused(errs.Refused, message, p, "another account")
	}
	mooring := other.Create("APICreateMooringMsg", P{"name": "m"})
	me.Refused(errs.Refused, "APIRefitBoatMsg", P{"uuid": boat, "mooringUuid": mooring}, mooring)
	me.Refused(errs.Refused, "APITowBoatsMsg", P{"uuids": []string{boat}, "mooringUuid": mooring}, mooring)
	me.Refused(errs.Exists, "APICreateBoatMsg", P{"name": "b", "sail": "K1"})
	c.Want("boats", y.count(), 2)
	me.Do("APIDeleteBoatMsg", P{"uuid": boat})
	c.Want("what is left", y.count(), 0)
}

// A create leaves nothing behind, and a change changes nothing, whichever of its
// steps fails or works without an answer.
func TestFailingSteps(t *testing.T) {
	c, y := newYard(t)
	boat := c.Create("APICreateBoatMsg", P{"name": "b", "sail": "K1", "crew": 3})
	for message, p := range map[string]P{"APICreateBoatMsg": {"name": "c", "sail": "K2"}, "APICreateShipLogMsg": {"name": "l", "boatUuid": boat}} {
		steps := map[string][]string{"APICreateBoatMsg": {"record", "make", "keep"}, "APICreateShipLogMsg": {"admit", "make", "keep"}}[message]
		c.FailEachStep(steps, []string{"Boat", "ShipLog"}, func() error { _, err := c.Call(message, p); return err })
		c.Want("what the plugin has", y.count(), 1)
	}
	update := func() error { _, err := c.Call("APIRefitBoatMsg", P{"uuid": boat, "crew": 5}); return err }
	c.FailEachStep([]string{"look", "tell", "write"}, []string{"Boat"}, update)
	c.Want("the crew that the plugin knows", y.of(boat, "crew"), int64(3))
	c.Ok(c.RepeatEachStep(update))
	c.Want("the crew", c.Get("Boat", boat).Int("crew"), int64(5))
}

// What a plugin refuses does not happen, and says why; what it answers wrongly is
// its defect, and no row's.
func TestRefusingPlugin(t *testing.T) {
	c, y := newYard(t)
	boat := c.Create("APICreateBoatMsg", P{"name": "b", "sail": "K1"})
	c.Calls.Fail("CreateResource", errs.New(errs.Refused, "sail", "it is torn").WithAdvice("sew it"))
	c.Refused(errs.Refused, "APICreateBoatMsg", P{"name": "c", "sail": "K2"}, "yard", "it is torn", "sew it")
	c.Calls.On("UpdateResource", func(req any) error {
		if req.(*pluginv1.UpdateResourceRequest).Resource.Values["name"].GetText() == "c" {
			return errs.New(errs.Exhausted, "paint", "there is none")
		}
		return nil
	})
	c.Refused(errs.Exhausted, "APIRefitBoatMsg", P{"uuid": boat, "name": "c"}, "there is none")
	c.Calls.Fail("DeleteResource", errs.New(errs.Unavailable, "slip", "it is closed"))
	c.Refused(errs.Unavailable, "APIDeleteBoatMsg", P{"uuid": boat}, "it is closed", "Enforcing")
	c.Want("the name", c.Get("Boat", boat).Text("name"), "b")
	c.Do("APIDeleteBoatMsg", P{"uuid": boat, "deleteMode": "Enforcing"})
	c.Want("boats after a delete by force", len(c.List("Boat")), 0)
	c.Want("what the plugin still has", y.count(), 1)
	for _, m := range []string{"CreateResource", "UpdateResource", "DeleteResource"} {
		c.Calls.Fail(m, nil)
	}
	left, err := c.Cascade.Garbage(t.Context())
	c.Ok(err)
	c.Want("leftovers", len(left), 1)
	c.Ok(c.Cascade.CollectOne(t.Context(), left[0].UUID))
	c.Want("what the plugin has when the leftover is gone", y.count(), 0)
	for word, facts := range map[string]map[string]any{"mast": {"mast": "tall"}, "sail": {"sail": "K3"}, "flag": {"flag": int64(3)}, "characters": {"flag": "much too long"}} {
		y.facts = facts
		if _, err := c.Call("APICreateBoatMsg", P{"name": "d", "sail": "K4"}); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("the plugin answered %v, and the call %v", facts, err)
		}
	}
	c.Want("boats of a plugin that answers nonsense", y.count()+len(c.List("Boat")), 0)
}

// What belongs to a zone goes with it, and a UUID that is taken makes nothing.
func TestCascadeAndTakenUUID(t *testing.T) {
	c, y := newYard(t)
	zone := c.Create("APICreateZoneMsg", P{"name": "z"})
	boat := c.Create("APICreateBoatMsg", P{"name": "b", "sail": "K1", "zoneUuid": zone})
	log := c.Create("APICreateShipLogMsg", P{"name": "l", "boatUuid": boat})
	c.Refused(errs.Exists, "APICreateShipLogMsg", P{"name": "m", "boatUuid": boat, "resourceUuid": log})
	c.Refused(errs.Exists, "APICreateBoatMsg", P{"name": "m", "sail": "K2", "resourceUuid": boat})
	c.Want("what the plugin has", y.count(), 2)
	c.Do("APIDeleteZoneMsg", P{"uuid": zone})
	c.Want("what is left", y.count()+len(c.List("Boat"))+len(c.List("ShipLog")), 0)
}

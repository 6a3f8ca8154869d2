package provider_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/kumo-cloud/kumo/core/assembly/cloudtest"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// office is a plugin of ledgers whose entries it writes itself, as answers to its
// actions.
type office struct {
	mu sync.Mutex
	// opening are the rows with which a ledger is made.
	opening func(ledger string) *pluginv1.RowChanges
	act     func(*pluginv1.ActOnResourceRequest) *pluginv1.ActOnResourceResponse
	asked   []*pluginv1.ActOnResourceRequest
}

func ledgers() *pluginv1.ResourceTypeDecl {
	ledger := &pluginv1.Field{Name: "ledgerUuid", Required: true, Ref: "Ledger", Caption: say("Ledger")}
	return &pluginv1.ResourceTypeDecl{
		Name: "Ledger", Path: "/ledgers", Owned: true, Calls: true, Caption: say("Ledger"),
		Fields: []*pluginv1.Field{{Name: "sum", Kind: "int", Fact: true, Caption: say("Sum")}},
		Embeds: []*pluginv1.EmbedDecl{{Name: "entries", Type: "Entry", Column: "ledgerUuid"}},
		Create: &pluginv1.ResourceMessage{}, Update: &pluginv1.ResourceMessage{}, Delete: &pluginv1.ResourceMessage{},
		Actions: []*pluginv1.ActionDecl{
			{Message: "APIAddEntriesMsg", Method: "POST", Route: "/ledgers/{ledgerUuid}/entries", Subject: "ledgerUuid", Caption: say("Add"), Params: []*pluginv1.Field{
				{Name: "entries", Kind: "objects", Required: true, Caption: say("Entries"), Members: []*pluginv1.Field{
					{Name: "side", Required: true, Values: []string{"debit", "credit"}, Caption: say("Side")},
					{Name: "amount", Kind: "int", Min: 1, Max: 100, Caption: say("Amount")},
					{Name: "place", Holds: "mac", Caption: say("Place")},
					{Name: "againstUuid", Ref: "Ledger", Caption: say("Against")}}}}},
			{Message: "APIMoveEntryMsg", On: "type", Route: "/ledgers/{ledgerUuid}/entries/{entryUuid}/actions", Returns: "Entry", ReturnsAs: "one", Caption: say("Move"),
				Params: []*pluginv1.Field{ledger, {Name: "entryUuid", Required: true, Ref: "Entry", Caption: say("Entry")}}},
			{Message: "APIDeleteEntriesMsg", On: "type", Method: "DELETE", Route: "/ledgers/entries", Returns: "Ledger", ReturnsAs: "one", Caption: say("Delete"),
				Params: []*pluginv1.Field{{Name: "entryUuids", Kind: "strings", Required: true, Ref: "Entry", Rights: "change", Caption: say("Entries")}}},
			{Message: "APIListEntriesMsg", Method: "GET", Route: "/ledgers/{ledgerUuid}/list", Subject: "ledgerUuid", Returns: "Entry", ReturnsAs: "inventory-list", Caption: say("List")},
			{Message: "APICheckLedgerMsg", On: "type", Method: "GET", Route: "/ledgers/{ledgerUuid}/check", Caption: say("Check"),
				Params:  []*pluginv1.Field{{Name: "ledgerUuid", Required: true, Ref: "Ledger", Rights: "read", Caption: say("Ledger")}},
				Answers: []*pluginv1.Field{{Name: "balanced", Kind: "bool", Caption: say("Balanced")}, {Name: "reason", Caption: say("Reason")}}},
		},
	}
}

func entries() *pluginv1.ResourceTypeDecl {
	return &pluginv1.ResourceTypeDecl{Name: "Entry", Path: "/ledger-entries", OwnedBy: "ledger", Caption: say("Entry"),
		Fields: []*pluginv1.Field{{Name: "ledgerUuid", Required: true, Immutable: true, Caption: say("Ledger")},
			{Name: "side", Required: true, Values: []string{"debit", "credit"}, Caption: say("Side")},
			{Name: "amount", Kind: "int", Caption: say("Amount")}},
		Edges: []*pluginv1.EdgeDecl{{Name: "ledger", To: "Ledger", Column: "ledgerUuid", OnDelete: "cascade", Inverse: "entry"}}}
}

func (o *office) CreateResource(_ context.Context, req *pluginv1.CreateResourceRequest) (*pluginv1.CreateResourceResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.opening == nil || req.Resource.Type != "Ledger" {
		return &pluginv1.CreateResourceResponse{}, nil
	}
	return &pluginv1.CreateResourceResponse{Changes: o.opening(req.Resource.Uuid)}, nil
}

func (o *office) UpdateResource(_ context.Context, req *pluginv1.UpdateResourceRequest) (*pluginv1.UpdateResourceResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return &pluginv1.UpdateResourceResponse{Changes: o.opening(req.Resource.Uuid)}, nil
}

func (o *office) DeleteResource(context.Context, *pluginv1.DeleteResourceRequest) (*pluginv1.DeleteResourceResponse, error) {
	return &pluginv1.DeleteResourceResponse{}, nil
}

func (o *office) ActOnResource(_ context.Context, req *pluginv1.ActOnResourceRequest) (*pluginv1.ActOnResourceResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, req)
	if o.act == nil {
		return nil, errs.New(errs.Refused, "ledger", "it is closed")
	}
	return o.act(req), nil
}

func entry(ledger, side string, amount int) *pluginv1.RowPut {
	v, err := pluginsdk.Values(map[string]any{"ledgerUuid": ledger, "side": side, "amount": amount})
	if err != nil {
		panic(err)
	}
	return &pluginv1.RowPut{Type: "Entry", Uuid: resource.NewUUID(), Values: v}
}

func puts(rows ...*pluginv1.RowPut) *pluginv1.RowChanges { return &pluginv1.RowChanges{Puts: rows} }

func newOffice(t *testing.T) (*cloudtest.Cloud, *office) {
	o := &office{}
	p := pluginsdk.Plugin{Manifest: &pluginv1.Manifest{Name: "office", Version: "1", ResourceTypes: []*pluginv1.ResourceTypeDecl{ledgers(), entries()}}, ResourceProvider: o}
	return cloudtest.New(t, p), o
}

// Rows that a resource comes with, or that change with it, are there with it or not at
// all.
func TestChangesOfAResource(t *testing.T) {
	c, o := newOffice(t)
	o.opening = func(ledger string) *pluginv1.RowChanges {
		return puts(entry(ledger, "debit", 1), entry(ledger, "credit", 1))
	}
	ledger := c.Create("APICreateLedgerMsg", P{"name": "l"})
	c.Want("entries", len(c.Get("Ledger", ledger).Rows("entries")), 2)
	o.opening = func(ledger string) *pluginv1.RowChanges {
		return puts(entry(ledger, "debit", 1), entry(ledger, "left", 1))
	}
	c.Refused(errs.Invalid, "APICreateLedgerMsg", P{"name": "m"}, "plugin office", "side", "no such value")
	c.Refused(errs.Invalid, "APIUpdateLedgerMsg", P{"uuid": ledger, "name": "m"}, "side")
	c.Want("ledgers", len(c.List("Ledger", "name=l")), 1)
	c.Want("all ledgers", len(c.List("Ledger")), 1)
	c.Want("all entries", len(c.List("Entry")), 2)
	o.opening = func(ledger string) *pluginv1.RowChanges { return puts(entry(ledger, "debit", 1)) }
	c.Do("APIUpdateLedgerMsg", P{"uuid": ledger, "name": "m"})
	c.Want("all entries", len(c.List("Entry")), 3)
}

// An action has a route of its own and lists of objects, whose members are checked as
// parameters are; what it answers is made.
func TestObjectsAndRoutes(t *testing.T) {
	c, o := newOffice(t)
	me, theirs := c.As(c.Account()), c.Create("APICreateLedgerMsg", P{"name": "theirs"})
	ledger := me.Create("APICreateLedgerMsg", P{"name": "l"})
	o.act = func(r *pluginv1.ActOnResourceRequest) *pluginv1.ActOnResourceResponse {
		var all []*pluginv1.RowPut
		for _, e := range pluginsdk.Plain(r.Params["entries"]).([]map[string]any) {
			amount, _ := e["amount"].(int64)
			all = append(all, entry(r.Resource.Uuid, e["side"].(string), int(amount)))
		}
		return &pluginv1.ActOnResourceResponse{Changes: puts(all...)}
	}
	add := func(entries ...P) P { return P{"ledgerUuid": ledger, "entries": entries} }
	row := me.Do("APIAddEntriesMsg", add(P{"side": "debit", "amount": "7", "place": "FA-16-3E-00-00-01", "againstUuid": ledger}, P{"side": "credit"}))
	c.Want("entries", len(row.Rows("entries")), 2)
	first := pluginsdk.Plain(o.asked[0].Params["entries"]).([]map[string]any)
	c.Want("the first one's place", first[0]["place"], "fa:16:3e:00:00:01")
	c.Want("the first one's amount", first[0]["amount"], int64(7))
	_, has := first[1]["amount"]
	c.Want("the second one has an amount", has, false)
	for word, bad := range map[string]P{
		"entries[1].side":   {"amount": 1},
		"entries[1].amount": {"side": "debit", "amount": 101},
		"entries[1].place":  {"side": "debit", "place": "home"},
	} {
		me.Refused(errs.Invalid, "APIAddEntriesMsg", add(P{"side": "debit"}, bad), word)
	}
	me.Refused(errs.Refused, "APIAddEntriesMsg", add(P{"side": "debit", "againstUuid": theirs}), "another account")
	me.Refused(errs.Refused, "APIAddEntriesMsg", P{"ledgerUuid": theirs, "entries": []P{{"side": "debit"}}}, "another account")
	me.Refused(errs.Invalid, "APIAddEntriesMsg", add(), "required")
	c.Want("all entries", len(c.List("Entry")), 2)
	c.Want("calls of the plugin", len(o.asked), 1)
}

// An action that takes rows away shows them before.
func TestPlanOfAnAction(t *testing.T) {
	c, o := newOffice(t)
	o.opening = func(ledger string) *pluginv1.RowChanges {
		return puts(entry(ledger, "debit", 1), entry(ledger, "credit", 1))
	}
	me := c.As(c.Account())
	row := me.Do("APICreateLedgerMsg", P{"name": "l"})
	ledger, gone := row.Text("uuid"), row.Rows("entries")[0].Text("uuid")
	o.act = func(r *pluginv1.ActOnResourceRequest) *pluginv1.ActOnResourceResponse {
		a := &pluginv1.ActOnResourceResponse{Uuids: []string{ledger}, Changes: &pluginv1.RowChanges{}}
		for _, uuid := range r.Params["entryUuids"].GetList().GetItems() {
			a.Changes.Deletes = append(a.Changes.Deletes, &pluginv1.RowDelete{Type: "Entry", Uuid: uuid})
		}
		return a
	}
	p := P{"entryUuids": []string{gone}}
	plan := c.Plan("APIDeleteEntriesMsg", p)
	c.Want("the plan was asked for as one", o.asked[0].Plan, true)
	if text, err := jsonOf(plan); err != nil || !strings.Contains(text, gone) {
		t.Errorf("the plan is %s, without entry %s", text, gone)
	}
	c.Want("entries after the plan", len(c.List("Entry")), 2)
	c.As(c.Account()).Refused(errs.Refused, "APIDeleteEntriesMsg", p, "another account")
	for range 2 {
		row = me.Do("APIDeleteEntriesMsg", p)
		if len(c.List("Entry")) == 1 {
			break
		}
	}
	c.Want("what is answered", row.Text("uuid"), ledger)
	c.Want("entries that are left", len(row.Rows("entries")), 1)
	o.act = nil
	if text, _ := jsonOf(c.Plan("APIDeleteEntriesMsg", P{"entryUuids": []string{row.Rows("entries")[0].Text("uuid")}})); !strings.Contains(text, "closed") {
		t.Errorf("the plan does not say why: %s", text)
	}
}

// Answers of other forms: members of its own, one resource, a list as inventory.
func TestAnswers(t *testing.T) {
	c, o := newOffice(t)
	o.opening = func(ledger string) *pluginv1.RowChanges {
		return puts(entry(ledger, "debit", 1), entry(ledger, "credit", 1))
	}
	row := c.Do("APICreateLedgerMsg", P{"name": "l"})
	all := row.Rows("entries")
	o.act = func(r *pluginv1.ActOnResourceRequest) *pluginv1.ActOnResourceResponse {
		answers, err := pluginsdk.Values(map[string]any{"balanced": true, "reason": "of course", "secret": "no"})
		if err != nil {
			panic(err)
		}
		return &pluginv1.ActOnResourceResponse{Answers: answers, Uuids: []string{all[1].Text("uuid"), all[0].Text("uuid")}}
	}
	told := c.Do("APICheckLedgerMsg", P{"ledgerUuid": row.Text("uuid")})
	c.Want("balanced", told["balanced"], true)
	c.Want("reason", told["reason"], "of course")
	c.Want("what was not declared", told["secret"], nil)
	one := c.Do("APIMoveEntryMsg", P{"ledgerUuid": row.Text("uuid"), "entryUuid": all[0].Text("uuid")})
	c.Want("the one", one.Text("uuid"), all[1].Text("uuid"))
	list, err := c.Call("APIListEntriesMsg", P{"ledgerUuid": row.Text("uuid")})
	if text, _ := jsonOf(list); err != nil || !strings.Contains(text, all[0].Text("uuid")) {
		t.Errorf("the list is %s, %v", text, err)
	}
}

// What was made up for rows that have changed meanwhile is made up again.
func TestStaleChanges(t *testing.T) {
	c, o := newOffice(t)
	ledger := c.Create("APICreateLedgerMsg", P{"name": "l"})
	e := entry(ledger, "debit", 1)
	c.Ok(c.Provider.Put(t.Context(), "office", puts(e)))
	tries := 0
	o.act = func(r *pluginv1.ActOnResourceRequest) *pluginv1.ActOnResourceResponse {
		tries++
		now, err := c.Provider.Get(t.Context(), "office", "Entry", e.Uuid)
		c.Ok(err)
		if tries < 3 { // somebody else is faster
			e.Values["amount"].Kind = &pluginv1.Value_Number{Number: now.Values["amount"].GetNumber() + 10}
			c.Ok(c.Provider.Put(t.Context(), "office", puts(&pluginv1.RowPut{Type: "Entry", Uuid: e.Uuid, Values: map[string]*pluginv1.Value{"amount": e.Values["amount"]}})))
		}
		amount := &pluginv1.Value{Kind: &pluginv1.Value_Number{Number: now.Values["amount"].GetNumber() + 1}}
		return &pluginv1.ActOnResourceResponse{Changes: puts(&pluginv1.RowPut{Type: "Entry", Uuid: e.Uuid, Version: now.Version,
			Values: map[string]*pluginv1.Value{"amount": amount}})}
	}
	c.Do("APIAddEntriesMsg", P{"ledgerUuid": ledger, "entries": []P{{"side": "debit"}}})
	c.Want("tries", tries, 3)
	c.Want("the sum", c.Get("Entry", e.Uuid).Int("amount"), int64(22))
}

// A plugin puts rows of its own types only, that fit, and all or none of them.
func TestPut(t *testing.T) {
	c, _ := newOffice(t)
	ctx, put := t.Context(), c.Provider.Put
	ledger := c.Create("APICreateLedgerMsg", P{"name": "l"})
	other := c.Create("APICreateLedgerMsg", P{"name": "o"})
	one, two := entry(ledger, "debit", 1), entry(ledger, "credit", 2)
	for range 2 {
		c.Ok(put(ctx, "office", puts(one, two)))
	}
	c.Want("entries", len(c.List("Entry")), 2)
	owned := func(values map[string]any) *pluginv1.RowPut {
		v, err := pluginsdk.Values(values)
		c.Ok(err)
		return &pluginv1.RowPut{Type: "Ledger", Uuid: resource.NewUUID(), Values: v}
	}
	for what, bad := range map[string]struct {
		class   errs.Class
		plugin  string
		changes *pluginv1.RowChanges
	}{
		"a type of the core":    {errs.Denied, "office", puts(&pluginv1.RowPut{Type: "Zone", Uuid: resource.NewUUID()})},
		"another plugin":        {errs.Denied, "yard", puts(entry(ledger, "debit", 1))},
		"no UUID":               {errs.Invalid, "office", puts(&pluginv1.RowPut{Type: "Entry", Uuid: "1", Values: one.Values})},
		"a parent that is gone": {errs.NotFound, "office", puts(entry(resource.NewUUID(), "debit", 1))},
		"a value of no enum":    {errs.Invalid, "office", puts(entry(ledger, "left", 1))},
		"nobody's":              {errs.Invalid, "office", puts(owned(map[string]any{"name": "n"}))},
		"an immutable field":    {errs.Invalid, "office", puts(&pluginv1.RowPut{Type: "Entry", Uuid: one.Uuid, Values: entry(other, "debit", 1).Values})},
		"a field that it lacks": {errs.Invalid, "office", puts(&pluginv1.RowPut{Type: "Entry", Uuid: one.Uuid, Clear: []string{"nothing"}})},
		"a required field":      {errs.Invalid, "office", puts(&pluginv1.RowPut{Type: "Entry", Uuid: one.Uuid, Clear: []string{"side"}})},
		"another version":       {errs.Unavailable, "office", puts(&pluginv1.RowPut{Type: "Entry", Uuid: one.Uuid, Version: "old", Clear: []string{"amount"}})},
		"a row that is gone":    {errs.Unavailable, "office", puts(&pluginv1.RowPut{Type: "Entry", Uuid: resource.NewUUID(), Version: "old", Values: one.Values})},
		"what others need":      {errs.Refused, "office", &pluginv1.RowChanges{Deletes: []*pluginv1.RowDelete{{Type: "Ledger", Uuid: ledger}}}},
	} {
		bad.changes.Puts = append([]*pluginv1.RowPut{entry(ledger, "debit", 3)}, bad.changes.Puts...)
		if err := put(ctx, bad.plugin, bad.changes); errs.ClassOf(err) != bad.class {
			t.Errorf("%s: %v, not %s", what, err, bad.class)
		}
	}
	c.Want("entries after what was refused", len(c.List("Entry")), 2)
	if _, err := c.Provider.Get(ctx, "yard", "Entry", one.Uuid); errs.ClassOf(err) != errs.Denied {
		t.Errorf("another plugin's row: %v", err)
	}
	for range 2 {
		c.Ok(put(ctx, "office", &pluginv1.RowChanges{Deletes: []*pluginv1.RowDelete{{Type: "Entry", Uuid: one.Uuid}, {Type: "Entry", Uuid: two.Uuid}}}))
	}
	c.Ok(put(ctx, "office", &pluginv1.RowChanges{Deletes: []*pluginv1.RowDelete{{Type: "Ledger", Uuid: ledger}}}))
	c.Want("ledgers", len(c.List("Ledger")), 1)
}

func jsonOf(v any) (string, error) {
	text, err := json.Marshal(v)
	return string(text), err
}

package plugintest_test

import (
	"context"
	"os"
	"strconv"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// outside is a plugin for a place where there are one port and three crates, told of in
// pages of two.
type outside struct {
	pluginsdk.ResourceProvider
	broken string
	// last is the cursor that a process remembers, which it must not rely on.
	last  string
	asked int
}

func outsidePlugin() pluginsdk.Plugin {
	o := &outside{broken: os.Getenv(breakEnv), ResourceProvider: memoryProvider{}}
	field := func() *pluginv1.Field {
		return &pluginv1.Field{Name: "placeUuid", Required: true, Immutable: true, Ref: "Place", Caption: pluginsdk.Say("Place", "处")}
	}
	port := &pluginv1.ResourceTypeDecl{Name: "Port", Path: "/ports", Owned: true, Caption: pluginsdk.Say("Port", "港"), Fields: []*pluginv1.Field{field()},
		Foreign: &pluginv1.ForeignDecl{EndpointType: "Place", Endpoint: "placeUuid"}}
	crate := proto.Clone(port).(*pluginv1.ResourceTypeDecl)
	crate.Name, crate.Path, crate.Priced, crate.Calls, crate.Create = "Crate", "/crates", true, true, &pluginv1.ResourceMessage{}
	crate.Fields = append(crate.Fields, &pluginv1.Field{Name: "portUuid", Ref: "Port", Caption: pluginsdk.Say("Port", "港")},
		&pluginv1.Field{Name: "size", Kind: "int", Caption: pluginsdk.Say("Size", "大小")})
	place := &pluginv1.ResourceTypeDecl{Name: "Place", Path: "/places", Owned: true, Caption: pluginsdk.Say("Place", "处"),
		Fields: []*pluginv1.Field{{Name: "key", Secret: true, Caption: pluginsdk.Say("Key", "密钥")}}}
	return pluginsdk.Plugin{ResourceProvider: o, InventorySync: o, HybridCloud: o, Manifest: &pluginv1.Manifest{Name: "outside", Version: "1",
		ResourceTypes: []*pluginv1.ResourceTypeDecl{place, port, crate}, Inventories: []*pluginv1.InventoryDecl{{EndpointType: "Place", Types: []string{"Port", "Crate"}}}}}
}

// told are the things in their order.
func (o *outside) told() []*pluginv1.ForeignRow {
	in := map[string]*pluginv1.ForeignRef{"portUuid": {Type: "Port", ForeignId: "p"}}
	rows := []*pluginv1.ForeignRow{{Type: "Port", ForeignId: "p"}}
	for _, id := range []string{"a", "b", "c"} {
		rows = append(rows, &pluginv1.ForeignRow{Type: "Crate", ForeignId: id, Refs: in, Values: map[string]*pluginv1.Value{"size": size(7)}})
	}
	switch o.broken {
	case "unordered":
		rows[0], rows[3] = rows[3], rows[0]
	case "twice":
		rows[2].ForeignId = "a"
	case "kind":
		rows[1].Values["size"] = &pluginv1.Value{Kind: &pluginv1.Value_Text{Text: "7"}}
	}
	return rows
}

func (o *outside) Sync(_ context.Context, req *pluginv1.SyncRequest, emit func(*pluginv1.Page) error) error {
	key := req.GetEndpoint().GetValues()["key"].GetText()
	if key != "good-key" && o.broken != "lets in" {
		why := "it is not the key"
		if o.broken == "leaks" {
			why += " " + key
		}
		return errs.New(errs.Denied, "place", "%s", why)
	}
	cursor := req.GetCursor()
	if o.broken == "remembers" && cursor != "" {
		cursor = o.last
		if cursor == "" {
			return errs.New(errs.Invalid, "cursor", "it is not known")
		}
	}
	at, _ := strconv.Atoi(cursor)
	if o.broken == "skips" && at > 0 {
		at++
	}
	rows := o.told()
	for {
		to := min(at+2, len(rows))
		p := &pluginv1.Page{Rows: rows[min(at, to):to], Cursor: strconv.Itoa(to), Last: to == len(rows) && o.broken != "endless"}
		o.last = p.Cursor
		if err := emit(p); err != nil {
			return err
		}
		if at = to; at == len(rows) {
			return nil
		}
	}
}

func (o *outside) Price(_ context.Context, req *pluginv1.PriceRequest) (*pluginv1.PriceResponse, error) {
	o.asked++
	n := req.GetParams()["size"].GetNumber()
	if n < 1 && o.broken != "accepts" {
		return nil, errs.New(errs.Invalid, "size", "it has no price")
	}
	amount := strconv.FormatInt(n, 10)
	switch o.broken {
	case "differs":
		amount = strconv.Itoa(o.asked)
	case "no price":
		amount += " euros"
	}
	return &pluginv1.PriceResponse{Amount: amount, Currency: "EUR", Unit: "crate", Period: "month"}, nil
}

func TestInventory(t *testing.T) {
	key := func(text string) map[string]*pluginv1.Value {
		return map[string]*pluginv1.Value{"key": {Kind: &pluginv1.Value_Text{Text: text}}}
	}
	plugintest.Inventory(t, plugintest.InventoryFixture{Conn: plugintest.Loopback(t, outsidePlugin()),
		Endpoint: &pluginv1.Resource{Type: "Place", Uuid: plugintest.NewUUID(), Values: key("good-key")},
		Denied:   func(r *pluginv1.Resource) { r.Values = key("bad-secret") },
		Restart:  func() *plugintest.Conn { return plugintest.Loopback(t, outsidePlugin()) }})
}

func TestHybridCloud(t *testing.T) {
	ask := func(n int64) *pluginv1.PriceRequest {
		return &pluginv1.PriceRequest{Type: "Crate", Params: map[string]*pluginv1.Value{"size": size(n)}}
	}
	plugintest.HybridCloud(t, plugintest.HybridCloudFixture{Conn: plugintest.Loopback(t, outsidePlugin()), Priced: ask(3), Unpriced: ask(0)})
}

// Command kumo-plugin-nimbus is the sample of a plugin for something outside: an
// invented cloud, whose regions, zones and instances it tells of, and of which it makes
// and removes instances. It must not import core or web.
package main

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func main() { pluginsdk.Serve(plugin()) }

func plugin() pluginsdk.Plugin {
	p := provider{}
	return pluginsdk.Plugin{Manifest: manifest, ResourceProvider: p, InventorySync: p, HybridCloud: p}
}

// provider keeps nothing: each call has the account.
type provider struct{}

// kinds are the things of the cloud in the order in which they are told, with their
// types and the field that says in which thing they are.
var kinds = []struct{ path, typ, in, inType string }{
	{"regions", region.Name, "", ""}, {"zones", zone.Name, "regionUuid", region.Name}, {"instances", instance.Name, "zoneUuid", zone.Name},
}

// Sync tells of one kind after another; its cursor is the kind and how many of it came.
func (provider) Sync(ctx context.Context, req *pluginv1.SyncRequest, emit func(*pluginv1.Page) error) error {
	path, at, _ := strings.Cut(req.GetCursor(), ":")
	from, _ := strconv.Atoi(at) // the beginning, when there is no cursor
	for n, k := range kinds {
		if path != "" && path != k.path {
			continue
		}
		path = ""
		for more := true; more; {
			var list struct {
				Things []thing
				Next   int
				More   bool
			}
			if err := call(ctx, req.GetEndpoint(), http.MethodGet, k.path+"?from="+strconv.Itoa(from), nil, &list); err != nil {
				return err
			}
			page := &pluginv1.Page{}
			for _, t := range list.Things {
				row := &pluginv1.ForeignRow{Type: k.typ, ForeignId: t.ID}
				values := map[string]any{"name": t.Name}
				if k.typ == instance.Name {
					values["size"] = t.Size
				}
				var err error
				if row.Values, err = pluginsdk.Values(values); err != nil {
					return err
				}
				if k.in != "" {
					row.Refs = map[string]*pluginv1.ForeignRef{k.in: {Type: k.inType, ForeignId: t.In}}
				}
				page.Rows = append(page.Rows, row)
			}
			from, more = list.Next, list.More
			page.Cursor = k.path + ":" + strconv.Itoa(from)
			if page.Last = !more && n == len(kinds)-1; page.Last {
				return emit(page)
			}
			if err := emit(page); err != nil {
				return err
			}
		}
		from = 0
	}
	return errs.New(errs.Invalid, "cursor", "%q is none", req.GetCursor())
}

// CreateResource makes an instance, with the row's UUID as the token by which it is the
// same one when the call is repeated.
func (provider) CreateResource(ctx context.Context, req *pluginv1.CreateResourceRequest) (*pluginv1.CreateResourceResponse, error) {
	r := req.GetResource()
	if err := pluginsdk.CheckUUID("instance", r.GetUuid()); err != nil {
		return nil, err
	}
	made := thing{Name: r.GetValues()["name"].GetText(), Size: r.GetValues()["size"].GetNumber(), In: r.GetRefs()["zoneUuid"].GetForeignId(), Token: r.GetUuid()}
	err := call(ctx, r.GetEndpoint(), http.MethodPost, "instances", made, &made)
	return &pluginv1.CreateResourceResponse{ForeignId: made.ID}, err
}

func (provider) UpdateResource(context.Context, *pluginv1.UpdateResourceRequest) (*pluginv1.UpdateResourceResponse, error) {
	return &pluginv1.UpdateResourceResponse{}, nil // no type says that it is changed from here
}

// DeleteResource removes an instance, also one whose ID never came back.
func (provider) DeleteResource(ctx context.Context, req *pluginv1.DeleteResourceRequest) (*pluginv1.DeleteResourceResponse, error) {
	r := req.GetResource()
	path := "instances/" + url.PathEscape(r.GetForeignId()) + "?token=" + url.QueryEscape(r.GetUuid())
	return &pluginv1.DeleteResourceResponse{}, call(ctx, r.GetEndpoint(), http.MethodDelete, path, nil, nil)
}

func (provider) ActOnResource(_ context.Context, req *pluginv1.ActOnResourceRequest) (*pluginv1.ActOnResourceResponse, error) {
	return nil, errs.New(errs.Unsupported, req.GetMessage(), "there are no actions")
}

func (provider) Price(ctx context.Context, req *pluginv1.PriceRequest) (*pluginv1.PriceResponse, error) {
	var p struct{ Amount, Currency string }
	err := call(ctx, req.GetEndpoint(), http.MethodGet, "price?size="+strconv.FormatInt(req.GetParams()["size"].GetNumber(), 10), nil, &p)
	return &pluginv1.PriceResponse{Amount: p.Amount, Currency: p.Currency, Unit: "instance", Period: "hour"}, err
}

// Command kumo-plugin-sizelimit is the sample of an observer that is asked before
// calls: it denies guests with a root disk above a size, and hangs when it is asked about
// one called "hang". It must not import core or web.
package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// most bytes of a root disk.
const most = 100 << 30

// Of a guest it is asked and must answer within its time; without it instance
// offerings can be made.
var manifest = &pluginv1.Manifest{Name: "sizelimit", Version: "1", Caption: pluginsdk.Say("Size limit", "大小限制"),
	Subscriptions: []*pluginv1.Subscription{
		{Phase: pluginsdk.PhaseBefore, Type: "VmInstance", Verb: pluginsdk.VerbCreate, TimeoutMs: 500},
		{Phase: pluginsdk.PhaseBefore, Type: "InstanceOffering", Verb: pluginsdk.VerbCreate, TimeoutMs: 500, OnFailure: pluginsdk.FailureIgnore},
	}}

func main() { pluginsdk.Serve(plugin()) }

func plugin() pluginsdk.Plugin { return pluginsdk.Plugin{Manifest: manifest, Observer: limit{}} }

type limit struct{ pluginsdk.NoObserver }

func (limit) Before(ctx context.Context, r *pluginv1.BeforeRequest) (*pluginv1.BeforeResponse, error) {
	var p struct {
		Name         string
		RootDiskSize int64
	}
	if err := json.Unmarshal(r.GetParameters(), &p); err != nil {
		return nil, errs.Wrap(errs.Invalid, "parameters", err, "read them")
	}
	if p.Name == "hang" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if p.RootDiskSize > most {
		return pluginsdk.Deny(fmt.Sprintf("a root disk has at most %d GiB here", most>>30), "choose a smaller one"), nil
	}
	return pluginsdk.Allow(), nil
}

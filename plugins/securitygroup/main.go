package main

import (
	"context"
	"strconv"

	"github.com/kumo-cloud/kumo/pluginsdk"
)

// version is set by the linker.
var version = "unreleased"

func main() { pluginsdk.Serve(newPlugin()) }

func newPlugin() pluginsdk.Plugin {
	p := &provider{}
	o := &observer{}
	return pluginsdk.Plugin{Manifest: manifest(), ResourceProvider: p, Observer: o,
		Purge: func(ctx context.Context) error { return o.passes.sweep(ctx) },
		Configure: func(_ context.Context, env pluginsdk.Env) error {
			p.graph = graph{env.Core}
			p.limit, _ = strconv.Atoi(env.Settings["rules.num.limit"]) // the core has checked it
			o.passes = newPasses(graph{env.Core}, env.Log)
			return nil
		}}
}

package main

import (
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func TestConformance(t *testing.T) {
	asked := func(typ, parameters string) *pluginv1.BeforeRequest {
		return &pluginv1.BeforeRequest{Type: typ, Verb: pluginsdk.VerbCreate, Message: "APICreate" + typ + "Msg", Parameters: []byte(parameters)}
	}
	plugintest.Observer(t, plugintest.ObserverFixture{Conn: plugintest.Loopback(t, plugin()), Before: []plugintest.AskedBefore{
		{Request: asked("VmInstance", `{"name":"vm","rootDiskSize":1073741824}`), Allowed: true},
		{Request: asked("VmInstance", `{"name":"vm","rootDiskSize":1099511627776}`), Denied: true},
		{Request: asked("InstanceOffering", `{"name":"small"}`), Allowed: true},
	}})
}

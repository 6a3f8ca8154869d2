// Command kumo-plugin-rack is the sample of a hypervisor whose hosts run no guests, and
// that keeps no state: several processes of it can serve hosts at once. A host's field
// servedBy says which version has connected it. It must not import core or web.
package main

import (
	"context"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// version is set by the linker.
var version = "1"

func main() { pluginsdk.Serve(plugin()) }

func plugin() pluginsdk.Plugin {
	return pluginsdk.Plugin{Hypervisor: rack{}, Manifest: &pluginv1.Manifest{Name: "rack", Version: version, Caption: pluginsdk.Say("Rack", "机架"),
		Hypervisors: []*pluginv1.HypervisorDecl{{Type: "Rack",
			Add: &pluginv1.AddMessage{Message: "APIAddRackHostMsg", Path: "/hosts/racks", Subtype: "RackHost", InventoryClass: "cloud.kumo.RackHostInventory",
				Caption: pluginsdk.Say("Rack host", "机架物理机"), Doc: pluginsdk.Say("A host that runs no guests.", "不运行云主机的物理机。")},
			Fields: []*pluginv1.Field{{Name: "servedBy", Kind: "string", Fact: true, MaxLength: 64, Caption: pluginsdk.Say("Served by", "服务版本"),
				Doc: "The version of the plugin that has connected it."}},
			VolumeFormat: "raw"}}}}
}

// rack has no guests.
type rack struct{ pluginsdk.Hypervisor }

func (rack) ConnectHost(context.Context, *pluginv1.ConnectHostRequest) (*pluginv1.ConnectHostResponse, error) {
	return &pluginv1.ConnectHostResponse{Facts: &pluginv1.HostFacts{CpuNum: 1, CpuMhz: 1000, CpuSockets: 1, MemoryBytes: 1 << 30, Architecture: "x86_64",
		Fields: map[string]string{"servedBy": version}}}, nil
}

func (rack) CheckHost(context.Context, *pluginv1.CheckHostRequest) (*pluginv1.CheckHostResponse, error) {
	return &pluginv1.CheckHostResponse{}, nil
}

func (rack) DisconnectHost(context.Context, *pluginv1.DisconnectHostRequest) (*pluginv1.DisconnectHostResponse, error) {
	return &pluginv1.DisconnectHostResponse{}, nil
}

func (rack) ListVMs(context.Context, *pluginv1.ListVMsRequest) (*pluginv1.ListVMsResponse, error) {
	return &pluginv1.ListVMsResponse{}, nil
}

// WatchHost has the core look at the host once; then a watch that ends has the host
// connected again.
func (rack) WatchHost(ctx context.Context, _ *pluginv1.WatchHostRequest, emit func(*pluginv1.VMStatus) error) error {
	if err := emit(nil); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (rack) StartVM(context.Context, *pluginv1.StartVMRequest) (*pluginv1.StartVMResponse, error) {
	return nil, errs.New(errs.Refused, "host", "it runs no guests")
}

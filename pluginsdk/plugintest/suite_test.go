package plugintest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func memoryHost() *pluginv1.Host {
	return &pluginv1.Host{Uuid: plugintest.NewUUID(), HypervisorType: "Memory"}
}

func TestHypervisor(t *testing.T) {
	plugintest.Hypervisor(t, plugintest.HypervisorFixture{
		Conn: plugintest.Loopback(t, memoryPlugin()), Host: memoryHost(), Absent: memoryHost(),
		VM: func(_ int, uuid string) *pluginv1.VM {
			return &pluginv1.VM{Uuid: uuid, CpuNum: 1, MemoryBytes: 1 << 20}
		},
	})
}

func TestBackupStorage(t *testing.T) {
	plugintest.BackupStorage(t, plugintest.BackupStorageFixture{
		Conn:    plugintest.Loopback(t, memoryPlugin()),
		Store:   &pluginv1.Storage{Uuid: plugintest.NewUUID(), Type: "Memory"},
		Invalid: &pluginv1.Storage{Uuid: "wrong", Type: "Memory"},
		NoBytes: true, ImageURL: "http://192.0.2.1/image",
	})
}

func TestL2Network(t *testing.T) {
	plugintest.L2Network(t, plugintest.L2NetworkFixture{
		Conn: plugintest.Loopback(t, memoryPlugin()), Host: memoryHost(), Parallel: 64,
		Network: func(n int, uuid string) *pluginv1.L2Network {
			return &pluginv1.L2Network{Uuid: uuid, Type: "Memory", PhysicalInterface: fmt.Sprintf("eth%d", n)}
		},
	})
}

func TestNetworkService(t *testing.T) {
	network := &pluginv1.L3Network{Uuid: plugintest.NewUUID(), Bridge: "br0"}
	plugintest.NetworkService(t, plugintest.NetworkServiceFixture{
		Conn: plugintest.Loopback(t, memoryPlugin()), Host: memoryHost(), Network: network,
		NIC: func(n int, uuid string) *pluginv1.GuestNIC {
			return &pluginv1.GuestNIC{NicUuid: uuid, Mac: fmt.Sprintf("fa:00:00:00:00:%02x", n), Ip: fmt.Sprintf("192.0.2.%d", n+1), L3Uuid: network.Uuid}
		},
	})
}

func TestResourceProvider(t *testing.T) {
	conn := plugintest.Loopback(t, memoryPlugin())
	plugintest.ResourceProvider(t, plugintest.ResourceProviderFixture{
		Conn: conn,
		New: func(n int, uuid string) *pluginv1.Resource {
			values, err := pluginsdk.Values(map[string]any{"name": "thing", "size": n + 1})
			if err != nil {
				t.Fatal(err)
			}
			return &pluginv1.Resource{Type: "Thing", Uuid: uuid, Values: values}
		},
		Change:  func(r *pluginv1.Resource) []string { r.Values["size"] = size(99); return []string{"size"} },
		Refused: func(r *pluginv1.Resource) { r.Values["size"] = size(0) },
		Exists: func(ctx context.Context, uuid string) (bool, error) {
			_, err := conn.ResourceProvider().ActOnResource(ctx, &pluginv1.ActOnResourceRequest{Type: "Thing", Message: "APIShakeThingMsg", Resource: &pluginv1.Resource{Uuid: uuid}})
			if errors.Is(err, errs.NotFound) {
				return false, nil
			}
			return err == nil, err
		},
		Actions: []*pluginv1.ActOnResourceRequest{{Message: "APIShakeThingMsg"}},
	})
}

func size(n int64) *pluginv1.Value { return &pluginv1.Value{Kind: &pluginv1.Value_Number{Number: n}} }

// TestFindsBrokenPromises runs the suites above on plugins that break one
// promise each, in processes of their own, and wants the right check to fail.
func TestFindsBrokenPromises(t *testing.T) {
	tests := []struct{ broken, test, check string }{
		{"repeat", "TestHypervisor", "StartVM repeated"},
		{"repeat", "TestHypervisor", "StartVM, answer lost"},
		{"differs", "TestHypervisor", "StartVM repeated"},
		{"undo", "TestHypervisor", "DestroyVM of what never was"},
		{"undo", "TestHypervisor", "DestroyVM, answer lost"},
		{"leaves", "TestHypervisor", "StartVM and DestroyVM"},
		{"tells all", "TestHypervisor", "ListVMs of one guest"},
		{"accepts", "TestHypervisor", "StartVM with no memory is refused"},
		{"class", "TestBackupStorage", "ConnectStore with a wrong configuration is refused"},
		{"object", "TestNetworkService", "ApplyNetworkState with an IP address that is none is refused"},
		{"repeat", "TestNetworkService", "ApplyNetworkState on another base"},
		{"any base", "TestNetworkService", "ApplyNetworkState on another base"},
		{"leaves", "TestNetworkService", "SyncNetworkState equals the sum of changes"},
		{"all or none", "TestNetworkService", "SyncNetworkState with a NIC that cannot be"},
		{"parallel", "TestL2Network", "Realize in parallel"},
		{"accepts", "TestL2Network", "Realize on an interface that cannot be is refused"},
		{"repeat", "TestResourceProvider", "CreateResource repeated"},
		{"repeat", "TestResourceProvider", "CreateResource, answer lost"},
		{"differs", "TestResourceProvider", "CreateResource and DeleteResource"},
		{"undo", "TestResourceProvider", "DeleteResource of what never was"},
		{"leaves", "TestResourceProvider", "CreateResource and DeleteResource"},
		{"accepts", "TestResourceProvider", "CreateResource, refused, leaves nothing"},
		{"class", "TestResourceProvider", "CreateResource with a UUID that is none is refused"},
		{"taken back", "TestResourceProvider", "UpdateResource, repeated and taken back"},
		{"unordered", "TestInventory", "Sync tells all, parents first"},
		{"twice", "TestInventory", "Sync tells all, parents first"},
		{"kind", "TestInventory", "Sync tells all, parents first"},
		{"endless", "TestInventory", "Sync tells all, parents first"},
		{"skips", "TestInventory", "Sync goes on behind each page"},
		{"remembers", "TestInventory", "Sync goes on in another process"},
		{"lets in", "TestInventory", "Sync with wrong credentials"},
		{"leaks", "TestInventory", "Sync with wrong credentials"},
		{"differs", "TestHybridCloud", "Price, repeated, answer lost"},
		{"no price", "TestHybridCloud", "Price, repeated, answer lost"},
		{"accepts", "TestHybridCloud", "Price of what has none is refused"},
		{"no reason", "TestObserver", "Before create of Zone"},
		{"accepts", "TestObserver", "Before create of Zone"},
		{"differs", "TestObserver", "Before create of Zone"},
		{"amends", "TestObserver", "Before create of Zone"},
		{"repeat", "TestObserver", "After delete of Zone"},
		{"repeat", "TestObserver", "DoPoint memory.point repeated"},
		{"undo", "TestObserver", "UndoPoint memory.point of what never was"},
		{"leaves", "TestObserver", "DoPoint memory.point and UndoPoint memory.point"},
		{"acts once", "TestResourceProvider", "APIShakeThingMsg, repeated, answer lost"},
	}
	for _, tt := range tests {
		t.Run(tt.broken+" "+tt.check, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^"+tt.test+"$")
			cmd.Env = append(os.Environ(), breakEnv+"="+tt.broken)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				t.Fatalf("the suite passed: %v", err)
			}
			for line := range strings.Lines(string(out)) {
				if name, rest, ok := strings.Cut(strings.TrimSpace(line), "  "); ok && name == tt.check && strings.Contains(rest, "FAILED") {
					return
				}
			}
			t.Errorf("check %q did not fail:\n%s", tt.check, out)
		})
	}
}

func TestDropAnswer(t *testing.T) {
	conn := plugintest.Loopback(t, memoryPlugin())
	hv := pluginsdk.NewHypervisorClient(plugintest.DropAnswer(conn, 2))
	start := func() error {
		_, err := hv.StartVM(t.Context(), &pluginv1.StartVMRequest{Vm: &pluginv1.VM{Uuid: plugintest.NewUUID(), CpuNum: 1, MemoryBytes: 1}})
		return err
	}
	if err := start(); err != nil {
		t.Errorf("first call: %v", err)
	}
	if err := start(); !errors.Is(err, errs.Unavailable) || !errors.Is(err, pluginsdk.ErrConnectionLost) {
		t.Errorf("second call: %v", err)
	}
	if err := start(); err != nil {
		t.Errorf("third call: %v", err)
	}
	r, err := conn.Hypervisor().ListVMs(t.Context(), &pluginv1.ListVMsRequest{})
	if err != nil || len(r.Vms) != 3 {
		t.Errorf("all three calls must have happened: %v %v", r, err)
	}
	hv = pluginsdk.NewHypervisorClient(plugintest.DropAnswer(conn, 1))
	err = hv.CallAgent(t.Context(), &pluginv1.CallAgentRequest{Method: "/kumo.host.v1.HostAgentService/Info"}, func([]byte) error {
		t.Error("an answer came through")
		return nil
	})
	if !errors.Is(err, pluginsdk.ErrConnectionLost) {
		t.Errorf("stream: %v", err)
	}
}

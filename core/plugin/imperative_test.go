package plugin

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// earlier is a provider of the earlier contract: it has no other calls.
type earlier struct {
	pluginv1.UnimplementedNetworkServiceServiceServer
	calls []string
	fail  string // the call that fails
}

func (e *earlier) called(name string, host *pluginv1.Host, networks []*pluginv1.L3Network, nics []*pluginv1.GuestNIC, more ...string) error {
	all := append([]string{name, host.GetUuid()}, more...)
	for _, n := range networks {
		all = append(all, n.GetUuid())
	}
	for _, n := range nics {
		all = append(all, n.GetNicUuid())
	}
	e.calls = append(e.calls, strings.Join(all, " "))
	if name == e.fail {
		return errs.New(errs.Exhausted, "host "+host.GetUuid(), "it is full")
	}
	return nil
}

func (e *earlier) PrepareNICs(_ context.Context, r *pluginv1.PrepareNICsRequest) (*pluginv1.PrepareNICsResponse, error) {
	return &pluginv1.PrepareNICsResponse{Problems: []*pluginv1.NetworkProblem{{Reason: "left out"}}}, e.called("PrepareNICs", r.Host, r.Networks, r.Nics)
}

func (e *earlier) ReleaseNICs(_ context.Context, r *pluginv1.ReleaseNICsRequest) (*pluginv1.ReleaseNICsResponse, error) {
	return &pluginv1.ReleaseNICsResponse{}, e.called("ReleaseNICs", r.Host, nil, r.Nics)
}

func (e *earlier) SyncHost(_ context.Context, r *pluginv1.SyncHostRequest) (*pluginv1.SyncHostResponse, error) {
	return &pluginv1.SyncHostResponse{Problems: []*pluginv1.NetworkProblem{{Reason: "left out"}}}, e.called("SyncHost", r.Host, r.Networks, r.Nics)
}

func (e *earlier) ReleaseNetwork(_ context.Context, r *pluginv1.ReleaseNetworkRequest) (*pluginv1.ReleaseNetworkResponse, error) {
	return &pluginv1.ReleaseNetworkResponse{}, e.called("ReleaseNetwork", r.Host, nil, nil, r.L3Uuid)
}

// serveEarlier puts the provider behind real gRPC.
func serveEarlier(t *testing.T, e *earlier) imperative {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "plugin")
	lis, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(pluginsdk.ServerOptions(nil)...)
	pluginv1.RegisterNetworkServiceServiceServer(server, e)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(lis) }()
	conn, err := grpc.NewClient("unix:"+socket, append(pluginsdk.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return imperative{pluginv1.NewNetworkServiceServiceClient(conn)}
}

// A provider of the earlier contract gets its calls: what goes before what comes, and
// its problems and errors come back.
func TestImperativeProvider(t *testing.T) {
	e := &earlier{}
	i := serveEarlier(t, e)
	host := pluginsdk.HostTarget(&pluginv1.Host{Uuid: "h"})
	network, nic := &pluginv1.L3Network{Uuid: "l3"}, &pluginv1.GuestNIC{NicUuid: "nic"}
	rows := pluginsdk.NetworkRows{Networks: []*pluginv1.L3Network{network}, NICs: []*pluginv1.GuestNIC{nic}}.Join()
	gone := pluginsdk.NetworkKeys{Networks: []string{"old"}, NICs: []string{"a", "b"}}.Join()
	apply := func(upserts []*pluginv1.NetworkRow, removes []*pluginv1.NetworkRowKey) (*pluginv1.ApplyNetworkStateResponse, error) {
		return i.ApplyNetworkState(t.Context(), &pluginv1.ApplyNetworkStateRequest{Target: host, Base: "1", Revision: "2", Upserts: upserts, Removes: removes})
	}
	for _, c := range []struct {
		what     string
		call     func() (problems int, err error)
		want     []string
		problems int
	}{
		{"a NIC", func() (int, error) { r, err := apply(rows, nil); return len(r.GetProblems()), err }, []string{"PrepareNICs h l3 nic"}, 1},
		{"a network", func() (int, error) { r, err := apply(rows[:1], nil); return len(r.GetProblems()), err }, []string{"PrepareNICs h l3"}, 1},
		{"what goes", func() (int, error) { r, err := apply(nil, gone); return len(r.GetProblems()), err },
			[]string{"ReleaseNICs h a b", "ReleaseNetwork h old"}, 0},
		{"both", func() (int, error) { r, err := apply(rows, gone); return len(r.GetProblems()), err },
			[]string{"ReleaseNICs h a b", "ReleaseNetwork h old", "PrepareNICs h l3 nic"}, 1},
		{"nothing", func() (int, error) { r, err := apply(nil, nil); return len(r.GetProblems()), err }, nil, 0},
		{"everything", func() (int, error) {
			r, err := i.SyncNetworkState(t.Context(), &pluginv1.SyncNetworkStateRequest{Target: host, Revision: "1", Rows: rows})
			return len(r.GetProblems()), err
		}, []string{"SyncHost h l3 nic"}, 1},
	} {
		e.calls = nil
		problems, err := c.call()
		if err != nil || problems != c.problems || !slices.Equal(e.calls, c.want) {
			t.Errorf("%s: calls %q, %d problems, %v", c.what, e.calls, problems, err)
		}
	}
	for _, e.fail = range []string{"PrepareNICs", "ReleaseNICs", "ReleaseNetwork"} {
		if _, err := apply(rows, gone); errs.ClassOf(err) != errs.Exhausted {
			t.Errorf("%s fails: %v", e.fail, err)
		}
	}
	e.fail = "SyncHost"
	if _, err := i.SyncNetworkState(t.Context(), &pluginv1.SyncNetworkStateRequest{Target: host}); errs.ClassOf(err) != errs.Exhausted {
		t.Errorf("SyncHost fails: %v", err)
	}
	e.calls, e.fail = nil, ""
	if _, err := apply([]*pluginv1.NetworkRow{{}}, gone); errs.ClassOf(err) != errs.Invalid || len(e.calls) > 0 {
		t.Errorf("a row of no kind: %v, calls %v", err, e.calls)
	}
}

// The manifest decides how a provider is called.
func TestContractOfAProvider(t *testing.T) {
	for _, declarative := range []bool{false, true} {
		p := &supervised{name: "p"}
		p.manifest.Store(&pluginv1.Manifest{NetworkServices: []*pluginv1.NetworkServiceDecl{{Type: "T", Declarative: declarative}}})
		m := &Manager{}
		m.add(p)
		got, err := m.NetworkService("T")
		if err != nil {
			t.Fatal(err)
		}
		if _, is := got.NetworkService.(imperative); is == declarative {
			t.Errorf("declarative %t: it is called by %s", declarative, fmt.Sprintf("%T", got.NetworkService))
		}
	}
}

package plugintest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// L2NetworkFixture is what an L2 network plugin is tested with.
type L2NetworkFixture struct {
	// Conn is the plugin, from Loopback or Process.
	Conn *Conn
	Host *pluginv1.Host
	// Network gives the nth of several networks that can be on Host together,
	// with the UUID uuid.
	Network func(n int, uuid string) *pluginv1.L2Network
	// Parallel is how many networks are made at once; 0 means 8.
	Parallel int
}

// L2Network checks an L2 network plugin.
func L2Network(t *testing.T, f L2NetworkFixture) {
	t.Helper()
	s := newSuite(t, f.Conn)
	l2 := f.Conn.L2Network()
	numbers := newNumbers()
	s.pair(pair{
		name: "Realize", undoName: "Unrealize", parallel: f.Parallel,
		do: func(ctx context.Context, conn grpc.ClientConnInterface, id string) (proto.Message, error) {
			r, err := pluginsdk.NewL2NetworkClient(conn).Realize(ctx, &pluginv1.RealizeRequest{
				Host: f.Host, Network: f.Network(numbers.of(id), id),
			})
			if err == nil && r.Bridge == "" {
				err = errors.New("the answer names no bridge")
			}
			return r, err
		},
		undo: func(ctx context.Context, conn grpc.ClientConnInterface, id string) error {
			_, err := pluginsdk.NewL2NetworkClient(conn).Unrealize(ctx, &pluginv1.UnrealizeRequest{
				Host: f.Host, Network: f.Network(numbers.of(id), id),
			})
			return err
		},
	})
	s.refused("Realize with a UUID that is none", func(ctx context.Context) error {
		_, err := l2.Realize(ctx, &pluginv1.RealizeRequest{Host: f.Host, Network: f.Network(0, badUUID)})
		return err
	})
	s.refused("Realize on an interface that cannot be", func(ctx context.Context) error {
		network := f.Network(0, NewUUID())
		network.PhysicalInterface = "eth0; reboot"
		_, err := l2.Realize(ctx, &pluginv1.RealizeRequest{Host: f.Host, Network: network})
		return err
	})
}

// NetworkServiceFixture is what a network service plugin is tested with.
type NetworkServiceFixture struct {
	// Conn is the plugin, from Loopback or Process.
	Conn *Conn
	Host *pluginv1.Host
	// Network is one whose bridge exists on Host.
	Network *pluginv1.L3Network
	// NIC gives the nth of several NICs in Network, with addresses of its own
	// and the UUID uuid.
	NIC func(n int, uuid string) *pluginv1.GuestNIC
	// Parallel is how many guests' NICs are prepared at once; 0 means 8.
	Parallel int
}

// NetworkService checks a network service plugin.
func NetworkService(t *testing.T, f NetworkServiceFixture) {
	t.Helper()
	s := newSuite(t, f.Conn)
	ns := f.Conn.NetworkService()
	networks := []*pluginv1.L3Network{f.Network}
	numbers := newNumbers()
	nics := func(id string) []*pluginv1.GuestNIC { return []*pluginv1.GuestNIC{f.NIC(numbers.of(id), id)} }
	s.pair(pair{
		name: "PrepareNICs", undoName: "ReleaseNICs", parallel: f.Parallel,
		do: func(ctx context.Context, conn grpc.ClientConnInterface, id string) (proto.Message, error) {
			return pluginsdk.NewNetworkServiceClient(conn).PrepareNICs(ctx, &pluginv1.PrepareNICsRequest{
				Host: f.Host, Networks: networks, Nics: nics(id),
			})
		},
		undo: func(ctx context.Context, conn grpc.ClientConnInterface, id string) error {
			_, err := pluginsdk.NewNetworkServiceClient(conn).ReleaseNICs(ctx, &pluginv1.ReleaseNICsRequest{Host: f.Host, Nics: nics(id)})
			return err
		},
	})
	one := nics(NewUUID())
	s.ok("SyncHost with NICs", func(ctx context.Context) error {
		_, err := ns.SyncHost(ctx, &pluginv1.SyncHostRequest{Host: f.Host, Networks: networks, Nics: one})
		return err
	})
	s.check("SyncHost, answer lost", func(t *testing.T) {
		req := &pluginv1.SyncHostRequest{Host: f.Host, Networks: networks, Nics: one}
		_, err := pluginsdk.NewNetworkServiceClient(DropAnswer(s.conn, 1)).SyncHost(call(t), req)
		wantLost(t, err)
		if _, err := ns.SyncHost(call(t), req); err != nil {
			t.Error(err)
		}
	})
	s.ok("SyncHost with nothing", func(ctx context.Context) error {
		_, err := ns.SyncHost(ctx, &pluginv1.SyncHostRequest{Host: f.Host})
		return err
	})
	s.ok("ReleaseNetwork", func(ctx context.Context) error {
		_, err := ns.ReleaseNetwork(ctx, &pluginv1.ReleaseNetworkRequest{Host: f.Host, L3Uuid: f.Network.Uuid, Bridge: f.Network.Bridge})
		return err
	})
	s.ok("ReleaseNetwork of what never was", func(ctx context.Context) error {
		_, err := ns.ReleaseNetwork(ctx, &pluginv1.ReleaseNetworkRequest{Host: f.Host, L3Uuid: NewUUID(), Bridge: f.Network.Bridge})
		return err
	})
	bad := func(what string, change func(*pluginv1.GuestNIC)) {
		s.refused("PrepareNICs with "+what, func(ctx context.Context) error {
			nic := f.NIC(0, NewUUID())
			change(nic)
			_, err := ns.PrepareNICs(ctx, &pluginv1.PrepareNICsRequest{Host: f.Host, Networks: networks, Nics: []*pluginv1.GuestNIC{nic}})
			return err
		})
	}
	bad("a MAC address that is none", func(n *pluginv1.GuestNIC) { n.Mac = "fa:00\nset" })
	bad("an IP address that is none", func(n *pluginv1.GuestNIC) { n.Ip = "10.0.0.300" })
	bad("a network that is not given", func(n *pluginv1.GuestNIC) { n.L3Uuid = NewUUID() })
}

// numbers gives each UUID of a suite a small number of its own, so that a
// fixture can derive addresses from it.
type numbers struct {
	mu   sync.Mutex
	seen map[string]int
}

func newNumbers() *numbers {
	return &numbers{seen: map[string]int{}}
}

func (n *numbers) of(id string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.seen[id]; !ok {
		n.seen[id] = len(n.seen)
	}
	return n.seen[id]
}

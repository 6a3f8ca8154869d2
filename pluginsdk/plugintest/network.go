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

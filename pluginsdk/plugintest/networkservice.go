package plugintest

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// NetworkServiceFixture is what a network service plugin is tested with.
type NetworkServiceFixture struct {
	// Conn is the plugin, from Loopback or Process.
	Conn *Conn
	Host *pluginv1.Host
	// Provider is the type of the provider, the manifest's first when empty.
	Provider string
	// Network is one whose bridge exists on Host.
	Network *pluginv1.L3Network
	// NIC gives the nth of several NICs in Network, with addresses of its own
	// and the UUID uuid.
	NIC func(n int, uuid string) *pluginv1.GuestNIC
	// Parallel is how many guests' NICs are prepared at once; 0 means 8.
	Parallel int
}

// NetworkService checks a network service plugin. It leaves nothing on the host.
func NetworkService(t *testing.T, f NetworkServiceFixture) {
	t.Helper()
	s := &serviceSuite{suite: newSuite(t, f.Conn), f: f, numbers: newNumbers(), ns: f.Conn.NetworkService(), at: NewUUID()}
	if f.Provider == "" {
		s.f.Provider = f.Conn.Manifest.GetNetworkServices()[0].GetType()
	}
	s.check("is declared as declarative", func(t *testing.T) {
		if !f.Conn.Manifest.GetNetworkServices()[0].GetDeclarative() {
			t.Error("the manifest does not say so")
		}
	})
	s.ok("SyncNetworkState with nothing", func(ctx context.Context) error { _, err := s.sync(ctx, s.conn, s.at); return err })
	s.pair(pair{
		name: "ApplyNetworkState", undoName: "ApplyNetworkState of what goes", parallel: f.Parallel,
		do: func(ctx context.Context, conn grpc.ClientConnInterface, id string) (proto.Message, error) {
			return s.apply(ctx, conn, s.change(s.at, s.at, s.nic(id)))
		},
		undo: func(ctx context.Context, conn grpc.ClientConnInterface, id string) error {
			_, err := s.apply(ctx, conn, s.without(s.at, pluginsdk.NetworkKeys{NICs: []string{id}}))
			return err
		},
	})
	s.ok("ApplyNetworkState of a network that goes and never was", func(ctx context.Context) error {
		_, err := s.apply(ctx, s.conn, s.without(s.at, pluginsdk.NetworkKeys{Networks: []string{NewUUID()}}))
		return err
	})
	s.sums()
	s.revisions()
	s.problems()
	bad := func(what string, change func(*pluginv1.GuestNIC)) {
		s.refused("ApplyNetworkState with "+what, func(ctx context.Context) error {
			nic := s.nic(NewUUID())
			change(nic)
			_, err := s.apply(ctx, s.conn, s.change(s.at, s.at, nic))
			return err
		})
	}
	bad("a MAC address that is none", func(n *pluginv1.GuestNIC) { n.Mac = "fa:00\nset" })
	bad("an IP address that is none", func(n *pluginv1.GuestNIC) { n.Ip = "10.0.0.300" })
	bad("a network that is not given", func(n *pluginv1.GuestNIC) { n.L3Uuid = NewUUID() })
	s.refused("ApplyNetworkState with a row of no kind", func(ctx context.Context) error {
		r := s.change(s.at, s.at)
		r.Upserts = append(r.Upserts, &pluginv1.NetworkRow{})
		_, err := s.apply(ctx, s.conn, r)
		return err
	})
	s.check("nothing is left", func(t *testing.T) {
		s.synced(t, s.at)
		s.same(t, s.at)
	})
}

// serviceSuite is the suite with the words for a network service's calls.
type serviceSuite struct {
	*suite
	f       NetworkServiceFixture
	ns      pluginsdk.NetworkService
	numbers *numbers
	// at is the revision at which checks find and leave the host.
	at string
}

func (s *serviceSuite) nic(uuid string) *pluginv1.GuestNIC { return s.f.NIC(s.numbers.of(uuid), uuid) }

func (s *serviceSuite) rows(nics []*pluginv1.GuestNIC) []*pluginv1.NetworkRow {
	return pluginsdk.NetworkRows{Networks: []*pluginv1.L3Network{s.f.Network}, NICs: nics}.Join()
}

func (s *serviceSuite) change(base, revision string, nics ...*pluginv1.GuestNIC) *pluginv1.ApplyNetworkStateRequest {
	return &pluginv1.ApplyNetworkStateRequest{Target: pluginsdk.HostTarget(s.f.Host), Provider: s.f.Provider, Base: base, Revision: revision, Upserts: s.rows(nics)}
}

func (s *serviceSuite) without(at string, gone pluginsdk.NetworkKeys) *pluginv1.ApplyNetworkStateRequest {
	return &pluginv1.ApplyNetworkStateRequest{Target: pluginsdk.HostTarget(s.f.Host), Provider: s.f.Provider, Base: at, Revision: at, Removes: gone.Join()}
}

// apply is a change that must find its base.
func (s *serviceSuite) apply(ctx context.Context, conn grpc.ClientConnInterface, r *pluginv1.ApplyNetworkStateRequest) (*pluginv1.ApplyNetworkStateResponse, error) {
	answer, err := pluginsdk.NewNetworkServiceClient(conn).ApplyNetworkState(ctx, r)
	if err == nil && answer.GetResync() {
		err = errors.New("the host is said to be at another revision")
	}
	return answer, err
}

// sync makes the NICs all that is on the host; without any, nothing.
func (s *serviceSuite) sync(ctx context.Context, conn grpc.ClientConnInterface, revision string, nics ...*pluginv1.GuestNIC) (*pluginv1.SyncNetworkStateResponse, error) {
	r := &pluginv1.SyncNetworkStateRequest{Target: pluginsdk.HostTarget(s.f.Host), Provider: s.f.Provider, Revision: revision}
	if len(nics) > 0 {
		r.Rows = s.rows(nics)
	}
	return pluginsdk.NewNetworkServiceClient(conn).SyncNetworkState(ctx, r)
}

func (s *serviceSuite) synced(t *testing.T, revision string, nics ...*pluginv1.GuestNIC) *pluginv1.SyncNetworkStateResponse {
	t.Helper()
	r, err := s.sync(call(t), s.conn, revision, nics...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// same is a sync that must find the host with just these NICs.
func (s *serviceSuite) same(t *testing.T, revision string, nics ...*pluginv1.GuestNIC) {
	t.Helper()
	if r := s.synced(t, revision, nics...); r.GetChanged() != 0 || r.GetRemoved() != 0 || len(r.GetProblems()) > 0 {
		t.Fatalf("the host had something else than these %d NICs: %v", len(nics), r)
	}
}

func (s *serviceSuite) applied(t *testing.T, r *pluginv1.ApplyNetworkStateRequest) {
	t.Helper()
	if _, err := s.apply(call(t), s.conn, r); err != nil {
		t.Fatal(err)
	}
}

// sums checks that changes one by one come to what a sync of the outcome makes.
func (s *serviceSuite) sums() {
	s.check("SyncNetworkState equals the sum of changes", func(t *testing.T) {
		s.synced(t, s.at)
		a, b, c := s.nic(NewUUID()), s.nic(NewUUID()), s.nic(NewUUID())
		for _, nic := range []*pluginv1.GuestNIC{a, b, c} {
			s.applied(t, s.change(s.at, s.at, nic))
		}
		s.applied(t, s.without(s.at, pluginsdk.NetworkKeys{NICs: []string{b.NicUuid}}))
		s.same(t, s.at, a, c)
		if r := s.synced(t, s.at, a); r.GetRemoved() == 0 {
			t.Errorf("a sync without a NIC that was there removed nothing: %v", r)
		}
		s.same(t, s.at, a)
		moved := s.change(s.at, s.at, b)
		moved.Removes = pluginsdk.NetworkKeys{NICs: []string{a.NicUuid}}.Join()
		s.applied(t, moved)
		s.same(t, s.at, b)
		s.applied(t, s.without(s.at, pluginsdk.NetworkKeys{Networks: []string{s.f.Network.Uuid}}))
		s.same(t, s.at)
	})
	s.check("SyncNetworkState, answer lost", func(t *testing.T) {
		a := s.nic(NewUUID())
		_, err := s.sync(call(t), DropAnswer(s.conn, 1), s.at, a)
		wantLost(t, err)
		s.same(t, s.at, a)
		s.synced(t, s.at)
	})
}

// revisions checks that a change is made only to what it was computed for.
func (s *serviceSuite) revisions() {
	s.check("ApplyNetworkState on another base", func(t *testing.T) {
		a, b := s.nic(NewUUID()), s.nic(NewUUID())
		one, two, three := NewUUID(), NewUUID(), NewUUID()
		s.synced(t, one, a)
		stale := func(r *pluginv1.ApplyNetworkStateRequest) {
			t.Helper()
			if answer, err := s.ns.ApplyNetworkState(call(t), r); err != nil || !answer.GetResync() {
				t.Fatalf("a change on another base: %v, %v", answer, err)
			}
		}
		stale(s.change(two, three, b))
		stale(s.change("", three, b))
		stale(s.without(two, pluginsdk.NetworkKeys{NICs: []string{a.NicUuid}}))
		s.same(t, one, a)
		for range 2 { // the answer of the first may be lost
			s.applied(t, s.change(one, two, b))
		}
		stale(s.change(one, three, b))
		s.applied(t, s.without("", pluginsdk.NetworkKeys{NICs: []string{a.NicUuid}}))
		s.applied(t, s.change(two, two, a))
		s.same(t, s.at, a, b)
		s.synced(t, s.at)
	})
}

// problems checks that what is not possible costs the others nothing.
func (s *serviceSuite) problems() {
	s.check("SyncNetworkState with a NIC that cannot be", func(t *testing.T) {
		good, bad := s.nic(NewUUID()), s.nic(NewUUID())
		bad.Ip = "10.0.0.300"
		r := s.synced(t, s.at, bad, good)
		if len(r.GetProblems()) != 1 || r.GetProblems()[0].GetL3Uuid() != bad.L3Uuid || r.GetProblems()[0].GetReason() == "" {
			t.Errorf("problems: %v", r.GetProblems())
		}
		s.same(t, s.at, good)
		if _, err := s.ns.ApplyNetworkState(call(t), s.change(s.at, s.at, s.nic(NewUUID()), bad)); err == nil {
			t.Error("a change with a NIC that cannot be was made")
		}
		s.same(t, s.at, good)
		s.synced(t, s.at)
	})
}

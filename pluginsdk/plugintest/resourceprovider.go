package plugintest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// ResourceProviderFixture is what one resource type of a plugin's own, which calls
// the plugin, is tested with.
type ResourceProviderFixture struct {
	// Conn is the plugin, from Loopback or Process.
	Conn *Conn
	// New is the nth resource of the type, which the plugin can make.
	New func(n int, uuid string) *pluginv1.Resource
	// Change changes a resource and returns the fields that it has changed.
	Change func(r *pluginv1.Resource) []string
	// Refused is what CreateResource and UpdateResource must refuse of a resource.
	// nil: the plugin refuses nothing.
	Refused func(r *pluginv1.Resource)
	// Exists asks for what CreateResource made; nil when there is no way to ask.
	Exists func(ctx context.Context, uuid string) (bool, error)
	// Actions are the declared actions with good parameters; those on resources are
	// called for one that New made.
	Actions []*pluginv1.ActOnResourceRequest
	// Parallel is how many resources are made at once; 0 means 8.
	Parallel int
}

// ResourceProvider checks the provider of a resource type.
func ResourceProvider(t *testing.T, f ResourceProviderFixture) {
	t.Helper()
	s := &providerSuite{suite: newSuite(t, f.Conn), f: f}
	name := f.New(0, NewUUID()).GetType()
	i := slices.IndexFunc(f.Conn.Manifest.ResourceTypes, func(d *pluginv1.ResourceTypeDecl) bool { return d.Name == name })
	if i < 0 {
		t.Fatalf("the manifest declares no resource type %q", name)
	}
	s.decl = f.Conn.Manifest.ResourceTypes[i]
	if s.decl.Calls {
		s.pair(s.resources())
		s.update()
		s.refusals()
	}
	s.actions()
}

type providerSuite struct {
	*suite
	f    ResourceProviderFixture
	decl *pluginv1.ResourceTypeDecl
}

// facts refuses answers for fields that are not the plugin's to fill in, and of
// another kind than theirs.
func (s *providerSuite) facts(told map[string]*pluginv1.Value) error {
	for name, v := range told {
		i := slices.IndexFunc(s.decl.Fields, func(f *pluginv1.Field) bool { return f.Name == name })
		if i < 0 || !s.decl.Fields[i].Fact && !s.decl.Fields[i].Hidden {
			return fmt.Errorf("field %s is not the plugin's to fill in", name)
		}
		want := plainKind(s.decl.Fields[i].Kind)
		if got := fmt.Sprintf("%T", pluginsdk.Plain(v)); v.GetKind() != nil && got != want {
			return fmt.Errorf("field %s is a %s and was answered with a %s", name, want, got)
		}
	}
	return nil
}

func (s *providerSuite) create(ctx context.Context, conn grpc.ClientConnInterface, r *pluginv1.Resource) (*pluginv1.CreateResourceResponse, error) {
	answer, err := pluginsdk.NewResourceProviderClient(conn).CreateResource(ctx, &pluginv1.CreateResourceRequest{Resource: r})
	if err == nil {
		err = s.facts(answer.Facts)
	}
	if has := answer.GetForeignId() != ""; err == nil && has != s.decl.GetForeign().GetCreate() {
		err = fmt.Errorf("it answers foreign ID %q, and its type makes things outside: %t", answer.GetForeignId(), s.decl.GetForeign().GetCreate())
	}
	return answer, err
}

func (s *providerSuite) resources() pair {
	return pair{
		name: "CreateResource", undoName: "DeleteResource", parallel: s.f.Parallel, exists: s.f.Exists,
		do: func(ctx context.Context, conn grpc.ClientConnInterface, id string) (proto.Message, error) {
			return s.create(ctx, conn, s.f.New(numberOf(id), id))
		},
		undo: func(ctx context.Context, conn grpc.ClientConnInterface, id string) error {
			_, err := pluginsdk.NewResourceProviderClient(conn).DeleteResource(ctx, &pluginv1.DeleteResourceRequest{Resource: s.f.New(numberOf(id), id)})
			return err
		},
		same: func(a, b proto.Message) bool { // what is measured, such as a time, may differ
			names := func(m proto.Message) []string {
				return slices.Sorted(maps.Keys(m.(*pluginv1.CreateResourceResponse).Facts))
			}
			id := func(m proto.Message) string { return m.(*pluginv1.CreateResourceResponse).ForeignId }
			return slices.Equal(names(a), names(b)) && id(a) == id(b)
		},
	}
}

// numberOf is a number of a UUID, so that both calls of a pair tell of the same
// resource.
func numberOf(uuid string) int {
	n := 0
	for _, c := range uuid {
		n = (n*31 + int(c)) % 10000
	}
	return n
}

func (s *providerSuite) change(ctx context.Context, conn grpc.ClientConnInterface, r *pluginv1.Resource, changed []string) error {
	answer, err := pluginsdk.NewResourceProviderClient(conn).UpdateResource(ctx, &pluginv1.UpdateResourceRequest{Resource: r, Changed: changed})
	if err == nil {
		err = s.facts(answer.Facts)
	}
	return err
}

// updates tells whether the plugin is called for changes: not of what is only changed
// outside.
func (s *providerSuite) updates() bool {
	return s.decl.Update != nil && (s.decl.Foreign == nil || s.decl.Foreign.Update)
}

func (s *providerSuite) update() {
	if !s.updates() || s.f.Change == nil {
		return
	}
	p := s.resources()
	steps := func(name string, lose bool) {
		s.check(name, func(t *testing.T) {
			id := p.fresh(t, s.conn)
			p.make(t, s.conn, id)
			before, after := s.f.New(numberOf(id), id), s.f.New(numberOf(id), id)
			changed := s.f.Change(after)
			if lose {
				wantLost(t, s.change(call(t), DropAnswer(s.conn, 1), after, changed))
			}
			for _, r := range []*pluginv1.Resource{after, after, before, before} { // changed, taken back, each repeated
				if err := s.change(call(t), s.conn, r, changed); err != nil {
					t.Fatal(err)
				}
				p.want(t, id, true)
			}
		})
	}
	steps("UpdateResource, repeated and taken back", false)
	steps("UpdateResource, answer lost", true)
}

func (s *providerSuite) refusals() {
	s.refused("CreateResource with a UUID that is none", func(ctx context.Context) error {
		_, err := s.create(ctx, s.conn, s.f.New(0, badUUID))
		return err
	})
	if s.f.Refused == nil {
		return
	}
	p := s.resources()
	refuse := func(t *testing.T, err error) {
		t.Helper()
		var e *errs.Error
		if class := errs.ClassOf(err); err == nil || class == errs.Internal || !errors.As(err, &e) || e.Object == "" {
			t.Errorf("it does not say of what it is refused, and why: %v", err)
		}
	}
	s.check("CreateResource, refused, leaves nothing", func(t *testing.T) {
		id := p.fresh(t, s.conn)
		r := s.f.New(numberOf(id), id)
		s.f.Refused(r)
		_, err := s.create(call(t), s.conn, r)
		refuse(t, err)
		p.want(t, id, false)
	})
	s.check("UpdateResource, refused, can be taken back", func(t *testing.T) {
		if !s.updates() {
			return
		}
		id := p.fresh(t, s.conn)
		p.make(t, s.conn, id)
		r := s.f.New(numberOf(id), id)
		s.f.Refused(r)
		refuse(t, s.change(call(t), s.conn, r, nil))
		if err := s.change(call(t), s.conn, s.f.New(numberOf(id), id), nil); err != nil {
			t.Error(err)
		}
		p.want(t, id, true)
	})
}

func (s *providerSuite) actions() {
	for _, a := range s.decl.Actions {
		i := slices.IndexFunc(s.f.Actions, func(r *pluginv1.ActOnResourceRequest) bool { return r.Message == a.Message })
		if i < 0 {
			s.t.Errorf("the fixture has no call of %s", a.Message)
			continue
		}
		s.check(a.Message+", repeated, answer lost", func(t *testing.T) {
			p := s.resources()
			req := proto.Clone(s.f.Actions[i]).(*pluginv1.ActOnResourceRequest)
			req.Type = s.decl.Name
			if a.On != pluginsdk.ActsOnType {
				id := p.fresh(t, s.conn)
				p.make(t, s.conn, id)
				req.Resource = s.f.New(numberOf(id), id)
			}
			_, err := pluginsdk.NewResourceProviderClient(DropAnswer(s.conn, 1)).ActOnResource(call(t), req)
			wantLost(t, err)
			for range 2 {
				answer, err := s.conn.ResourceProvider().ActOnResource(call(t), req)
				if err == nil {
					err = s.facts(answer.Facts)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

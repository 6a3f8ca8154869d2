package plugintest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// InventoryFixture is what a plugin that tells what there is outside is tested with.
// Nothing may change there meanwhile.
type InventoryFixture struct {
	// Conn is the plugin, from Loopback or Process.
	Conn *Conn
	// Endpoint is a row of an endpoint at which there are things for two pages at least.
	Endpoint *pluginv1.Resource
	// Denied makes the credentials of an endpoint wrong ones.
	Denied func(r *pluginv1.Resource)
	// Restart gives a connection to another process of the plugin; nil: that of Conn.
	Restart func() *Conn
}

// Inventory checks what tells what there is at endpoints of one type.
func Inventory(t *testing.T, f InventoryFixture) {
	t.Helper()
	s := &inventorySuite{suite: newSuite(t, f.Conn), f: f}
	i := slices.IndexFunc(f.Conn.Manifest.Inventories, func(d *pluginv1.InventoryDecl) bool { return d.EndpointType == f.Endpoint.GetType() })
	if i < 0 {
		t.Fatalf("the manifest brings nothing of endpoints of type %q", f.Endpoint.GetType())
	}
	s.decl = f.Conn.Manifest.Inventories[i]
	if !s.check("Sync tells all, parents first", s.whole) {
		return
	}
	s.check("Sync repeated", func(t *testing.T) { s.same(t, s.conn, "", s.all) })
	s.check("Sync goes on behind each page", func(t *testing.T) { s.fromEach(t, s.conn) })
	s.check("Sync goes on in another process", func(t *testing.T) {
		conn := s.conn
		if f.Restart != nil {
			conn = f.Restart()
		}
		s.fromEach(t, conn)
	})
	s.check("Sync cancelled after a page", s.cancelled)
	s.check("Sync, answer lost", func(t *testing.T) {
		err := pluginsdk.NewInventorySyncClient(DropAnswer(s.conn, 1)).Sync(call(t), &pluginv1.SyncRequest{Endpoint: s.f.Endpoint}, func(*pluginv1.Page) error { return nil })
		wantLost(t, err)
		s.same(t, s.conn, "", s.all)
	})
	if f.Denied != nil {
		s.check("Sync with wrong credentials", s.denied)
	}
}

type inventorySuite struct {
	*suite
	f    InventoryFixture
	decl *pluginv1.InventoryDecl
	// all are the pages that it tells.
	all []*pluginv1.Page
}

func (s *inventorySuite) pages(ctx context.Context, conn grpc.ClientConnInterface, cursor string) (all []*pluginv1.Page, err error) {
	err = pluginsdk.NewInventorySyncClient(conn).Sync(ctx, &pluginv1.SyncRequest{Endpoint: s.f.Endpoint, Cursor: cursor}, func(p *pluginv1.Page) error {
		all = append(all, proto.Clone(p).(*pluginv1.Page))
		return nil
	})
	return all, err
}

// whole takes all pages, and checks each by the contract.
func (s *inventorySuite) whole(t *testing.T) {
	var err error
	if s.all, err = s.pages(call(t), s.conn, ""); err != nil {
		t.Fatal(err)
	}
	if len(s.all) < 2 {
		t.Fatalf("it tells %d pages; the fixture's endpoint must have two at least", len(s.all))
	}
	met, secrets := map[string]bool{}, s.secrets()
	for n, p := range s.all {
		if p.GetLast() != (n == len(s.all)-1) {
			t.Errorf("page %d of %d says that it is the last one: %t", n+1, len(s.all), p.GetLast())
		}
		if len(p.Rows) > pluginsdk.MaxPageRows || len(p.Cursor) > pluginsdk.MaxCursor || !p.GetLast() && p.Cursor == "" {
			t.Errorf("page %d has %d rows and a cursor of %d bytes", n+1, len(p.Rows), len(p.Cursor))
		}
		for _, secret := range secrets {
			if strings.Contains(p.String(), secret) {
				t.Errorf("page %d has a secret of the endpoint", n+1)
			}
		}
		for _, row := range p.Rows {
			if err := s.row(row, met); err != nil {
				t.Errorf("page %d: %v", n+1, err)
			}
		}
	}
}

// row checks a row; met has those before it.
func (s *inventorySuite) row(row *pluginv1.ForeignRow, met map[string]bool) error {
	what := row.GetType() + " " + row.GetForeignId()
	i := slices.IndexFunc(s.conn.Manifest.ResourceTypes, func(d *pluginv1.ResourceTypeDecl) bool { return d.Name == row.GetType() })
	switch {
	case !slices.Contains(s.decl.Types, row.GetType()) || i < 0:
		return fmt.Errorf("%s is of a type that is not declared", what)
	case row.GetForeignId() == "" || len([]rune(row.GetForeignId())) > pluginsdk.MaxForeignID:
		return fmt.Errorf("%s has no foreign ID, or a long one", what)
	case met[what]:
		return fmt.Errorf("%s is told twice", what)
	}
	met[what] = true
	d := s.conn.Manifest.ResourceTypes[i]
	field := func(name string) *pluginv1.Field {
		for _, f := range append([]*pluginv1.Field{{Name: "name"}, {Name: "description"}}, d.Fields...) {
			if f.Name == name && name != d.GetForeign().GetEndpoint() {
				return f
			}
		}
		return nil
	}
	for name, v := range row.Values {
		f := field(name)
		if f == nil {
			return fmt.Errorf("%s has no field %s that comes from outside", what, name)
		}
		if got, want := fmt.Sprintf("%T", pluginsdk.Plain(v)), plainKind(f.Kind); v.GetKind() != nil && got != want {
			return fmt.Errorf("%s: field %s is a %s and was told as a %s", what, name, want, got)
		}
	}
	for name, ref := range row.Refs {
		if field(name) == nil || ref.GetForeignId() != "" && !met[ref.GetType()+" "+ref.GetForeignId()] {
			return fmt.Errorf("%s refers by %s to %s %s, which has not come before it", what, name, ref.GetType(), ref.GetForeignId())
		}
	}
	return nil
}

// plainKind is the Go type of the values of a kind.
func plainKind(kind string) string {
	if t := map[string]string{"int": "int64", "long": "int64", "bool": "bool", "double": "float64", "time": "time.Time"}[kind]; t != "" {
		return t
	}
	return "string"
}

// rows are all things of pages, in their order.
func rows(pages []*pluginv1.Page) (all []string) {
	for _, p := range pages {
		for _, r := range p.Rows {
			all = append(all, r.GetType()+" "+r.GetForeignId())
		}
	}
	return all
}

// same checks that what is told from a cursor on is all that is wanted, and perhaps some
// before it again.
func (s *inventorySuite) same(t *testing.T, conn grpc.ClientConnInterface, cursor string, want []*pluginv1.Page) {
	t.Helper()
	got, err := s.pages(call(t), conn, cursor)
	if err != nil {
		t.Fatalf("from cursor %q: %v", cursor, err)
	}
	have := rows(got)
	for _, r := range rows(want) {
		if !slices.Contains(have, r) {
			t.Errorf("from cursor %q it does not tell of %s", cursor, r)
		}
	}
	if len(got) == 0 || !got[len(got)-1].GetLast() {
		t.Errorf("from cursor %q it does not come to a last page", cursor)
	}
}

func (s *inventorySuite) fromEach(t *testing.T, conn grpc.ClientConnInterface) {
	for n, p := range s.all[:len(s.all)-1] {
		s.same(t, conn, p.GetCursor(), s.all[n+1:])
	}
}

// cancelled ends the call after a page: it returns soon, and the next one goes on.
func (s *inventorySuite) cancelled(t *testing.T) {
	for n := range s.all {
		ctx, cancel := context.WithCancel(call(t))
		came := 0
		err := pluginsdk.NewInventorySyncClient(s.conn).Sync(ctx, &pluginv1.SyncRequest{Endpoint: s.f.Endpoint}, func(*pluginv1.Page) error {
			if came++; came > n {
				cancel()
			}
			return ctx.Err()
		})
		cancel()
		if err != nil && !errors.Is(err, errs.Cancelled) && !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled after %d pages: %v", came, err)
		}
		s.same(t, s.conn, "", s.all)
	}
}

// denied: wrong credentials are told as such, and are not in the error.
func (s *inventorySuite) denied(t *testing.T) {
	wrong := proto.Clone(s.f.Endpoint).(*pluginv1.Resource)
	s.f.Denied(wrong)
	err := pluginsdk.NewInventorySyncClient(s.conn).Sync(call(t), &pluginv1.SyncRequest{Endpoint: wrong}, func(p *pluginv1.Page) error {
		return fmt.Errorf("a page of %d rows comes", len(p.Rows))
	})
	if class := errs.ClassOf(err); class != errs.Denied && class != errs.Unauthenticated {
		t.Fatalf("got %v, want %s", err, errs.Denied)
	}
	for _, secret := range s.secrets(wrong) {
		if strings.Contains(err.Error(), secret) {
			t.Error("the error has a secret of the endpoint")
		}
	}
}

// secrets are those of the endpoint, and of others.
func (s *inventorySuite) secrets(more ...*pluginv1.Resource) (all []string) {
	for _, r := range append(more, s.f.Endpoint) {
		for _, d := range s.conn.Manifest.ResourceTypes {
			for _, f := range d.Fields {
				if text := r.GetValues()[f.Name].GetText(); d.Name == r.GetType() && f.Secret && text != "" {
					all = append(all, text)
				}
			}
		}
	}
	return all
}

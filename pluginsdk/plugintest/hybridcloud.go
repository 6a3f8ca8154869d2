package plugintest

import (
	"context"
	"regexp"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// HybridCloudFixture is what prices are tested with. That things are made outside, and
// have one foreign ID however often they are asked for, is checked by ResourceProvider.
type HybridCloudFixture struct {
	// Conn is the plugin, from Loopback or Process.
	Conn *Conn
	// Priced is something that has a price; Unpriced something of its type that has none,
	// nil when all have.
	Priced, Unpriced *pluginv1.PriceRequest
	// Count tells how many things there are outside; nil when there is no way to ask.
	Count func(ctx context.Context) (int, error)
}

var (
	amount   = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)
	currency = regexp.MustCompile(`^[A-Z]{3}$`)
)

// HybridCloud checks the prices of a resource type.
func HybridCloud(t *testing.T, f HybridCloudFixture) {
	t.Helper()
	s := newSuite(t, f.Conn)
	if !slices.ContainsFunc(f.Conn.Manifest.ResourceTypes, func(d *pluginv1.ResourceTypeDecl) bool { return d.Name == f.Priced.GetType() && d.Priced }) {
		t.Fatalf("the manifest declares no price of %q", f.Priced.GetType())
	}
	client := pluginsdk.NewHybridCloudClient(s.conn)
	s.check("Price, repeated, answer lost", func(t *testing.T) {
		before := f.count(t)
		first, err := client.Price(call(t), f.Priced)
		if err != nil {
			t.Fatal(err)
		}
		if !amount.MatchString(first.GetAmount()) || !currency.MatchString(first.GetCurrency()) || first.GetUnit() == "" || first.GetPeriod() == "" {
			t.Errorf("it is no price: %v", first)
		}
		_, err = pluginsdk.NewHybridCloudClient(DropAnswer(s.conn, 1)).Price(call(t), f.Priced)
		wantLost(t, err)
		if again, err := client.Price(call(t), f.Priced); err != nil || !proto.Equal(first, again) {
			t.Errorf("asked again it is %v, %v; at first %v", again, err, first)
		}
		if after := f.count(t); after != before {
			t.Errorf("there were %d things, and there are %d", before, after)
		}
	})
	if f.Unpriced != nil {
		s.refused("Price of what has none", func(ctx context.Context) error {
			_, err := client.Price(ctx, f.Unpriced)
			return err
		})
	}
	s.check("Price, cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(call(t))
		cancel()
		if _, err := client.Price(ctx, f.Priced); errs.ClassOf(err) != errs.Cancelled {
			t.Errorf("got %v, want %s", err, errs.Cancelled)
		}
	})
}

func (f HybridCloudFixture) count(t *testing.T) int {
	t.Helper()
	if f.Count == nil {
		return 0
	}
	n, err := f.Count(call(t))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

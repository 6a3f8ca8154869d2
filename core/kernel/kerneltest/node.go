package kerneltest

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/kumo-cloud/kumo/core/mgmt"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
)

// EndedNode returns a management node whose stay is over, so that it owns
// nothing: for tests that a service leaves alone what is another node's.
func EndedNode(t testing.TB) *mgmt.Node {
	t.Helper()
	log := plugintest.Logger(t)
	types := resource.NewRegistry()
	if err := types.Add(mgmt.Types()...); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "node.db"), storetest.Seal(t), types, log)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	identity, err := mgmt.Identify(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	node, err := mgmt.Join(context.Background(), st, identity, "ended", log)
	if err == nil {
		err = node.Leave(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
	return node
}

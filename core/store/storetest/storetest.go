// Package storetest opens databases for tests. It must be imported by tests
// only.
package storetest

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
)

// Open returns a store on a new SQLite file that has the tables of types. It
// is closed when the test ends.
func Open(t testing.TB, types ...*resource.Type) *store.Store {
	t.Helper()
	return OpenDSN(t, "sqlite:"+filepath.Join(t.TempDir(), "kumo.db"), types...)
}

// OpenDSN is Open for a DSN.
func OpenDSN(t testing.TB, dsn string, types ...*resource.Type) *store.Store {
	t.Helper()
	reg := resource.NewRegistry()
	if err := reg.Add(types...); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(context.Background(), dsn, reg, Logger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the database: %v", err)
		}
	})
	return s
}

// Logger returns a logger that writes to the test's log.
func Logger(t testing.TB) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: lines{t}, Level: hclog.Debug, DisableTime: true})
}

type lines struct{ t testing.TB }

// Write implements io.Writer.
func (l lines) Write(p []byte) (int, error) {
	l.t.Helper()
	l.t.Logf("%s", p)
	return len(p), nil
}

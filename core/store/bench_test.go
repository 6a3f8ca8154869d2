package store_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
)

// BenchmarkInsert writes one row with four secondary indexes for each
// transaction, 100 callers at a time.
func BenchmarkInsert(b *testing.B) {
	for name, dsn := range map[string]string{
		"full":   "sqlite:" + filepath.Join(b.TempDir(), "full.db"),
		"normal": "sqlite:" + filepath.Join(b.TempDir(), "normal.db") + "?synchronous=NORMAL",
	} {
		b.Run("sqlite-"+name, func(b *testing.B) { benchmarkInsert(b, storetest.OpenDSN(b, dsn, racks.Type), resource.NewUUID) })
	}
	b.Run("sqlite-random-uuids", func(b *testing.B) {
		benchmarkInsert(b, storetest.Open(b, racks.Type), func() string { return reverse(resource.NewUUID()) })
	})
	b.Run("mariadb", func(b *testing.B) {
		benchmarkInsert(b, storetest.OpenDSN(b, mariadb.Start(b), racks.Type), resource.NewUUID)
	})
}

// reverse makes a uuid that begins with its random part.
func reverse(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

func benchmarkInsert(b *testing.B, s *store.Store, uuid func() string) {
	var n atomic.Int64
	b.ResetTimer()
	b.SetParallelism(50)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			r := newRack(fmt.Sprintf("rack-%d", i))
			r.UUID, r.AccountUUID = uuid(), strings.Repeat("a", 32)
			r.Serial = r.UUID
			if err := s.Update(ctx, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, r) }); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkGet reads a row by its uuid.
func BenchmarkGet(b *testing.B) {
	run := func(b *testing.B, s *store.Store) {
		r := newRack("a")
		update(b, s, func(tx *store.Tx) error { return store.Insert(ctx, tx, racks, r) })
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := store.Get(ctx, s, racks, r.UUID); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	b.Run("sqlite", func(b *testing.B) { run(b, storetest.Open(b, racks.Type)) })
	b.Run("mariadb", func(b *testing.B) { run(b, storetest.OpenDSN(b, mariadb.Start(b), racks.Type)) })
}

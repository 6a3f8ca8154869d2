package cascade_test

import (
	"context"
	"os"
	"testing"

	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
)

func TestMain(m *testing.M) { os.Exit(mariadb.Main(m)) }

// TestMariaDB runs the suite again on a MariaDB server. All tests share one
// database, which is emptied for each cloud.
func TestMariaDB(t *testing.T) {
	s := openStore(t, mariadb.Start(t))
	sqlite := open
	defer func() { open = sqlite }()
	open = func(t testing.TB) *store.Store {
		err := s.Update(context.Background(), func(tx *store.Tx) error {
			for _, types := range [][]*resource.Type{flow.Types(), cascade.Types(), everything} {
				for _, ty := range types {
					if _, err := tx.Exec(context.Background(), "DELETE FROM `"+ty.Name+"`"); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	t.Run("RowsOnly", TestRowsOnly)
	t.Run("World", TestWorld)
	t.Run("Parts", TestParts)
	t.Run("Checks", TestChecks)
	t.Run("PermissiveStops", TestPermissiveStops)
	t.Run("EnforcingLeavesGarbage", TestEnforcingLeavesGarbage)
	t.Run("Alive", TestAlive)
	t.Run("Guard", TestGuard)
	t.Run("GuardHolds", TestGuardHolds)
	t.Run("ChildrenKeepComing", TestChildrenKeepComing)
	t.Run("Crash", TestCrash)
	t.Run("Queue", TestQueue)
	t.Run("ManyChildren", TestManyChildren)
}

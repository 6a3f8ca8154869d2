package flow_test

import (
	"context"
	"os"
	"testing"

	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
)

func TestMain(m *testing.M) { os.Exit(mariadb.Main(m)) }

// TestMariaDB runs the suite again on a MariaDB server. All tests share one
// database, which is emptied for each world.
func TestMariaDB(t *testing.T) {
	s := openStore(t, mariadb.Start(t))
	sqlite := open
	defer func() { open = sqlite }()
	open = func(t testing.TB) *store.Store {
		err := s.Update(context.Background(), func(tx *store.Tx) error {
			if _, err := tx.Exec(context.Background(), "DELETE FROM `Flow`"); err != nil {
				return err
			}
			_, err := tx.Exec(context.Background(), "DELETE FROM `TestSlot`")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	t.Run("FailEachStep", TestFailEachStep)
	t.Run("RepeatEachStep", TestRepeatEachStep)
	t.Run("CrashEachPoint", TestCrashEachPoint)
	t.Run("Transactions", TestTransactions)
	t.Run("Job", TestJob)
	t.Run("Errors", TestErrors)
	t.Run("Stop", TestStop)
	t.Run("CallerGivesUp", TestCallerGivesUp)
	t.Run("UndoFails", TestUndoFails)
	t.Run("Finish", TestFinish)
	t.Run("DatabaseAway", TestDatabaseAway)
	t.Run("UnknownFlow", TestUnknownFlow)
}

package job_test

import (
	"os"
	"testing"

	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
)

func TestMain(m *testing.M) { os.Exit(mariadb.Main(m)) }

// TestMariaDB runs the suite again on a MariaDB server. All tests share one
// database, which is emptied for each.
func TestMariaDB(t *testing.T) {
	s := openStore(t, mariadb.Start(t))
	sqlite := open
	defer func() { open = sqlite }()
	open = func(t testing.TB) *store.Store {
		err := s.Update(ctx, func(tx *store.Tx) error {
			for _, table := range []string{"Job", "Flow"} {
				if _, err := tx.Exec(ctx, "DELETE FROM `"+table+"`"); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	t.Run("Outcomes", TestOutcomes)
	t.Run("BadJobs", TestBadJobs)
	t.Run("Memory", TestMemory)
	t.Run("WithFlow", TestWithFlow)
	t.Run("Restart", TestRestart)
	t.Run("Expiry", TestExpiry)
	t.Run("WebHook", TestWebHook)
	t.Run("WebHookAfterRestart", TestWebHookAfterRestart)
}

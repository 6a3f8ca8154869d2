package server

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "modernc.org/sqlite" // to read what the server wrote

	"github.com/kumo-cloud/kumo/plugins/simulator/fault"
	"github.com/kumo-cloud/kumo/plugins/simulator/world"
)

// settled bounds how long flows may take to end; undos that failed are tried
// again every half minute.
const settled = 100 * time.Second

// Database opens the server's database to be read. It is closed with the test.
func (s *Server) Database() *sql.DB {
	s.t.Helper()
	return s.open("ro")
}

// Write changes the database behind the server's back.
func (s *Server) Write(query string, args ...any) {
	s.t.Helper()
	if _, err := s.open("rw").ExecContext(s.ctx(), query, args...); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
}

func (s *Server) open(mode string) *sql.DB {
	s.t.Helper()
	driver, dsn := "sqlite", ""
	if path, ok := strings.CutPrefix(s.DB, "sqlite:"); ok {
		dsn = "file:" + path + "?mode=" + mode + "&_pragma=busy_timeout(5000)"
	} else {
		driver = "mysql"
		login, place, _ := strings.Cut(strings.TrimPrefix(s.DB, "mysql://"), "@")
		c := mysql.NewConfig()
		c.User, c.Passwd, _ = strings.Cut(login, ":")
		c.Net = "tcp"
		c.Addr, c.DBName, _ = strings.Cut(place, "/")
		dsn = c.FormatDSN()
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := db.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return db
}

// Grows tells of a table that every call and every start may add to.
func Grows(table string) bool {
	return slices.Contains([]string{"Job", "FlowTrace", "Session", "ManagementNode", "Audit"}, table)
}

// Counts tells how many rows each table of the server has, but for those that
// grow.
func (s *Server) Counts(db *sql.DB) map[string]int64 {
	s.t.Helper()
	query := "SELECT name FROM sqlite_master WHERE type = 'table'"
	if strings.HasPrefix(s.DB, "mysql:") {
		query = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
	}
	counts := map[string]int64{}
	for _, name := range s.texts(db, query) {
		if !Grows(name) && !strings.HasPrefix(name, "sqlite_") {
			counts[name] = s.number(db, "SELECT COUNT(*) FROM `"+name+"`")
		}
	}
	if len(counts) < 20 {
		s.t.Fatalf("the database has %d tables only", len(counts))
	}
	return counts
}

// Differences lists the tables with another number of rows.
func Differences(before, after map[string]int64) []string {
	var list []string
	for name, n := range after {
		if n != before[name] {
			list = append(list, fmt.Sprintf("%s: %d rows before, %d after", name, before[name], n))
		}
	}
	sort.Strings(list)
	return list
}

func (s *Server) texts(db *sql.DB, query string, args ...any) []string {
	s.t.Helper()
	rows, err := db.QueryContext(s.ctx(), query, args...)
	if err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	var list []string
	for rows.Next() {
		var text sql.NullString
		if err := rows.Scan(&text); err != nil {
			s.t.Fatalf("%s: %v", query, err)
		}
		list = append(list, text.String)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return list
}

func (s *Server) number(db *sql.DB, query string, args ...any) int64 {
	s.t.Helper()
	var n int64
	if err := db.QueryRowContext(s.ctx(), query, args...).Scan(&n); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return n
}

func (s *Server) ctx() context.Context { return s.t.Context() }

// Settle waits until no flow is in the journal, no job is processing, and the
// states of guests on connected hosts are known: that of a host which has come
// back is looked at after its connect.
func (s *Server) Settle(db *sql.DB) {
	s.t.Helper()
	var left []string
	for begin := time.Now(); time.Since(begin) < settled; time.Sleep(20 * time.Millisecond) {
		left = append(s.texts(db, "SELECT name FROM `Flow`"), s.texts(db, "SELECT message FROM `Job` WHERE `state` <> 'Done'")...)
		left = append(left, s.texts(db, "SELECT name FROM `VmInstance` WHERE `state` = 'Unknown' AND `hostUuid` IN (SELECT uuid FROM `Host` WHERE `status` = 'Connected')")...)
		if len(left) == 0 {
			return
		}
	}
	s.t.Errorf("flows and jobs that have not ended, or guests whose state is unknown, after %s: %v", settled, left)
}

// Swept waits until nothing is noted that the collector is to remove. Settle,
// and a short undo interval, come before.
func (s *Server) Swept(db *sql.DB) {
	s.t.Helper()
	for begin := time.Now(); time.Since(begin) < settled; time.Sleep(20 * time.Millisecond) {
		if s.number(db, "SELECT COUNT(*) FROM `GCJob` WHERE `leftover` IS NOT NULL") == 0 {
			return
		}
	}
	s.t.Errorf("what is to be removed from hosts is still noted after %s", settled)
}

// leaks are queries whose every row is something that nothing explains.
var leaks = map[string]string{
	"unfinished flow":                      "SELECT name FROM `Flow`",
	"unfinished job":                       "SELECT message FROM `Job` WHERE `state` <> 'Done'",
	"call that ended without a record":     "SELECT message FROM `Job` WHERE `state` = 'Done' AND uuid NOT IN (SELECT `jobUuid` FROM `Audit` WHERE `jobUuid` IS NOT NULL)",
	"call with several records":            "SELECT `jobUuid` FROM `Audit` WHERE `jobUuid` IS NOT NULL GROUP BY `jobUuid` HAVING COUNT(*) > 1",
	"NIC without guest":                    "SELECT uuid FROM `VmNic` WHERE `vmInstanceUuid` IS NULL OR `vmInstanceUuid` NOT IN (SELECT uuid FROM `VmInstance`)",
	"address without NIC":                  "SELECT ip FROM `UsedIp` WHERE `usedFor` IS NULL AND (`vmNicUuid` IS NULL OR `vmNicUuid` NOT IN (SELECT uuid FROM `VmNic`))",
	"address of a NIC outside of a range":  "SELECT ip FROM `UsedIp` WHERE `ipRangeUuid` NOT IN (SELECT uuid FROM `IpRange`)",
	"CD-ROM without guest":                 "SELECT uuid FROM `VmCdRom` WHERE `vmInstanceUuid` NOT IN (SELECT uuid FROM `VmInstance`)",
	"volume of a guest that is gone":       "SELECT uuid FROM `Volume` WHERE `vmInstanceUuid` IS NOT NULL AND `vmInstanceUuid` NOT IN (SELECT uuid FROM `VmInstance`)",
	"root volume without guest":            "SELECT uuid FROM `Volume` WHERE `type` = 'Root' AND `vmInstanceUuid` IS NULL",
	"volume that is not made":              "SELECT uuid FROM `Volume` WHERE `status` = 'Creating'",
	"guest without its root volume":        "SELECT uuid FROM `VmInstance` WHERE `rootVolumeUuid` NOT IN (SELECT uuid FROM `Volume`)",
	"guest between two states":             "SELECT CONCAT(uuid, ' ', state) FROM `VmInstance` WHERE `state` NOT IN ('Running', 'Stopped', 'Paused', 'Destroyed')",
	"guest that runs on no host":           "SELECT uuid FROM `VmInstance` WHERE `state` IN ('Running', 'Paused') AND (`hostUuid` IS NULL OR `hostUuid` NOT IN (SELECT uuid FROM `Host`))",
	"guest that holds a host and runs not": "SELECT uuid FROM `VmInstance` WHERE `state` IN ('Stopped', 'Destroyed') AND `hostUuid` IS NOT NULL",
	"image that is not ready":              "SELECT uuid FROM `Image` WHERE `status` NOT IN ('Ready', 'Deleted')",
	"system tag of a guest that is gone":   "SELECT tag FROM `SystemTag` WHERE `resourceType` = 'VmInstanceVO' AND `resourceUuid` NOT IN (SELECT uuid FROM `VmInstance`)",
	"user tag of a guest that is gone":     "SELECT tag FROM `UserTag` WHERE `resourceType` = 'VmInstanceVO' AND `resourceUuid` NOT IN (SELECT uuid FROM `VmInstance`)",
	"host whose CPUs do not add up": "SELECT name FROM `Host` h WHERE h.`availableCpuCapacity` <> h.`totalCpuCapacity` - " +
		"(SELECT COALESCE(SUM(v.`cpuNum`), 0) FROM `VmInstance` v WHERE v.`hostUuid` = h.uuid)",
	"host whose memory does not add up": "SELECT name FROM `Host` h WHERE h.`availableMemoryCapacity` <> h.`totalMemoryCapacity` - " +
		"(SELECT COALESCE(SUM(v.`memorySize`), 0) FROM `VmInstance` v WHERE v.`hostUuid` = h.uuid)",
}

// emptyStorage is one more leak where storages had nothing on them at first.
const emptyStorage = "SELECT name FROM `PrimaryStorage` p WHERE p.`availableCapacity` <> p.`totalCapacity` - " +
	"(SELECT COALESCE(SUM(v.`size`), 0) FROM `Volume` v WHERE v.`primaryStorageUuid` = p.uuid) - " +
	"(SELECT COALESCE(SUM(c.`size`), 0) FROM `ImageCache` c WHERE c.`primaryStorageUuid` = p.uuid)"

// AuditRows fails the test for everything in the database that nothing explains.
func (s *Server) AuditRows(db *sql.DB) {
	s.t.Helper()
	for what, query := range leaks {
		if strings.HasPrefix(s.DB, "sqlite:") {
			query = strings.ReplaceAll(query, "CONCAT(uuid, ' ', state)", "uuid || ' ' || state")
		}
		if found := s.texts(db, query); len(found) > 0 {
			s.t.Errorf("%s: %v", what, found)
		}
	}
}

// Audit is AuditRows, and fails the test for every difference between the
// database and the simulated world.
func (s *Server) Audit(db *sql.DB) {
	s.t.Helper()
	s.AuditRows(db)
	if found := s.texts(db, emptyStorage); len(found) > 0 {
		s.t.Errorf("primary storage whose bytes do not add up: %v", found)
	}
	w := s.World()
	for _, v := range w.Violations() {
		s.t.Errorf("simulated world: %s", v)
	}
	s.same("running guests, as guest on host",
		s.texts(db, s.concat("SELECT %s FROM `VmInstance` WHERE `state` IN ('Running', 'Paused')", "uuid", "`hostUuid`")),
		collect(w.VMs, func(v *world.VM) (string, bool) { return v.UUID + " " + v.Host, v.Active() }))
	s.same("NICs of running guests, as guest with NIC",
		s.texts(db, s.concat("SELECT %s FROM `VmNic` n JOIN `VmInstance` v ON v.uuid = n.`vmInstanceUuid` WHERE v.`state` IN ('Running', 'Paused')", "v.uuid", "n.uuid")),
		pluggedIn(w))
	known := s.texts(db, "SELECT uuid FROM `VmInstance`")
	for uuid, v := range w.VMs {
		if !slices.Contains(known, uuid) {
			s.t.Errorf("simulated host %s has guest %s (%s), of which the database does not know", v.Host, uuid, v.State)
		}
	}
	s.same("volumes",
		s.texts(db, "SELECT `installPath` FROM `Volume`"),
		collect(w.Volumes, func(v *world.Volume) (string, bool) { return world.VolumePath(v.Storage, v.UUID), true }))
	s.same("prepared NICs, as NIC with address",
		s.texts(db, s.concat("SELECT %s FROM `VmNic` n JOIN `VmInstance` v ON v.uuid = n.`vmInstanceUuid` WHERE v.`state` IN ('Running', 'Paused') AND "+
			"n.`l3NetworkUuid` IN (SELECT `l3NetworkUuid` FROM `NetworkServiceL3NetworkRef`)", "n.uuid", "n.ip")),
		collect(w.Bindings, func(b *world.Binding) (string, bool) { return b.NIC + " " + b.IP, true }))
	s.same("bridges, as network on host",
		s.texts(db, s.concat("SELECT %s FROM `L2NetworkHostRef`", "`l2NetworkUuid`", "`hostUuid`")),
		collect(w.Bridges, func(b *world.Bridge) (string, bool) { return b.Network + " " + b.Host, true }))
	s.same("images",
		s.texts(db, "SELECT `installPath` FROM `ImageBackupStorageRef` r JOIN `BackupStorage` b ON b.uuid = r.`backupStorageUuid` WHERE b.`type` = 'SimulatorBackupStorage'"),
		collect(w.Images, func(i *world.Image) (string, bool) { return world.ImagePath(i.Store, i.UUID), true }))
}

func (s *Server) concat(query, a, b string) string {
	if strings.HasPrefix(s.DB, "sqlite:") {
		return fmt.Sprintf(query, a+" || ' ' || "+b)
	}
	return fmt.Sprintf(query, "CONCAT("+a+", ' ', "+b+")")
}

func collect[T any](m map[string]T, show func(T) (string, bool)) []string {
	var list []string
	for _, v := range m {
		if text, ok := show(v); ok {
			list = append(list, text)
		}
	}
	return list
}

func (s *Server) same(what string, db, sim []string) {
	s.t.Helper()
	if alone, other := without(db, sim), without(sim, db); len(alone)+len(other) > 0 {
		s.t.Errorf("%s: the database alone has %v, the simulated world alone %v", what, alone, other)
	}
}

// without lists what is more often in a list than in another one.
func without(list, other []string) []string {
	other = slices.Clone(other)
	var alone []string
	for _, text := range list {
		if i := slices.Index(other, text); i >= 0 {
			other = slices.Delete(other, i, i+1)
		} else {
			alone = append(alone, text)
		}
	}
	return alone
}

// World reads the simulator's world; one that nothing was written to is empty.
func (s *Server) World() world.World {
	s.t.Helper()
	found, err := world.Find(s.Dir)
	if err != nil || len(found) > 1 {
		s.t.Fatalf("%d simulated worlds below %s: %v", len(found), s.Dir, err)
	}
	if len(found) == 0 {
		return world.World{}
	}
	w, err := world.Load(found[0])
	if err != nil {
		s.t.Fatal(err)
	}
	return w
}

// Faults replaces the simulator's fault rules; "" removes them.
func (s *Server) Faults(rules string) {
	s.t.Helper()
	if err := fault.Write(filepath.Join(s.Dir, "plugins", "simulator"), rules); err != nil {
		s.t.Fatal(err)
	}
}

// pluggedIn are the NICs that guests have, as guest with NIC.
func pluggedIn(w world.World) []string {
	var all []string
	for _, v := range w.VMs {
		for _, n := range v.NICs {
			if v.Active() {
				all = append(all, v.UUID+" "+n.UUID)
			}
		}
	}
	return all
}

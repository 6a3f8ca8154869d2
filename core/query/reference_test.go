package query_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/query"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
)

// graph is the reference: rows in memory, queried by following edges one row
// at a time. It shares nothing with the engine but the declarations.
type graph struct {
	reg  *resource.Registry
	rows map[string][]map[string]string // absent = NULL
	// caller is who asks; "" is the administrator.
	caller string
}

// sees tells whether the caller may read a row, as the declarations say.
func (g graph) sees(typ string, row map[string]string) bool {
	t, _ := g.reg.Get(typ)
	if g.caller == "" || t.Readable == resource.Global {
		return true
	}
	if t.OwnedBy != "" {
		e, _ := g.reg.Edge(t, t.OwnedBy)
		return slices.ContainsFunc(g.rows[e.To], func(of map[string]string) bool {
			return row[e.Column] == of[e.ToColumn] && g.sees(e.To, of)
		})
	}
	return row["accountUuid"] == g.caller || g.shared(row["uuid"]) || t.Follows != "" && g.shared(row[t.Follows])
}

func (g graph) shared(uuid string) bool {
	return uuid != "" && slices.ContainsFunc(g.rows["SharedResource"], func(s map[string]string) bool {
		return s["resourceUuid"] == uuid && (s["receiverAccountUuid"] == g.caller || s["toPublic"] == "true")
	})
}

// holds tells whether a condition on a path holds for a row.
func (g graph) holds(typ string, row map[string]string, path []string, op query.Op, value string) bool {
	t, _ := g.reg.Get(typ)
	if len(path) > 1 {
		return g.any(t, row, path, op, value)
	}
	if path[0] == "__systemTag__" {
		return g.tagged(row["uuid"], op, value)
	}
	v, present := row[path[0]]
	numeric := false
	if f, ok := t.Field(path[0]); ok {
		numeric = f.Kind == resource.Int
	}
	return compare(v, present, numeric, op, value)
}

// any follows the first step of a path to each target.
func (g graph) any(t *resource.Type, row map[string]string, path []string, op query.Op, value string) bool {
	if alias, ok := g.reg.Alias(t, path[0]); ok {
		path = append(strings.Split(alias, "."), path[1:]...)
	}
	e, ok := g.reg.Edge(t, path[0])
	if !ok {
		em, _ := t.Embed(path[0])
		e = resource.Edge{To: em.Type, Column: "uuid", ToColumn: em.Column}
	}
	for _, target := range g.rows[e.To] {
		key, ok := row[e.Column]
		if ok && target[e.ToColumn] == key && g.sees(e.To, target) && g.holds(e.To, target, path[1:], op, value) {
			return true
		}
	}
	return false
}

func (g graph) tagged(uuid string, op query.Op, value string) bool {
	positive, negative := op, false
	switch op {
	case query.Ne:
		positive, negative = query.Eq, true
	case query.NotIn:
		positive, negative = query.In, true
	case query.NotLike:
		positive, negative = query.Like, true
	case query.IsNull:
		positive, negative = query.NotNull, true
	}
	for _, tag := range g.rows["SystemTag"] {
		if tag["resourceUuid"] == uuid && g.sees("SystemTag", tag) && compare(tag["tag"], true, false, positive, value) {
			return !negative
		}
	}
	return negative
}

func compare(v string, present, numeric bool, op query.Op, value string) bool {
	switch op {
	case query.IsNull:
		return !present
	case query.NotNull:
		return present
	}
	if !present {
		return false
	}
	order := func(value string) int {
		if numeric {
			a, _ := strconv.Atoi(v)
			b, _ := strconv.Atoi(value)
			return a - b
		}
		return strings.Compare(letters(v), letters(value))
	}
	switch op {
	case query.Eq:
		return order(value) == 0
	case query.Ne:
		return order(value) != 0
	case query.Gt:
		return order(value) > 0
	case query.Ge:
		return order(value) >= 0
	case query.Lt:
		return order(value) < 0
	case query.Le:
		return order(value) <= 0
	case query.In, query.NotIn:
		return slices.ContainsFunc(strings.Split(value, ","), func(s string) bool { return order(s) == 0 }) == (op == query.In)
	}
	return like([]rune(letters(v)), []rune(letters(value))) == (op == query.Like)
}

// letters is a text without its case.
func letters(s string) string { return strings.ToLower(strings.ToUpper(s)) }

// like matches % and _ by trying everything.
func like(s, pattern []rune) bool {
	if len(pattern) == 0 {
		return len(s) == 0
	}
	switch pattern[0] {
	case '\\':
		return len(s) > 0 && len(pattern) > 1 && s[0] == pattern[1] && like(s[1:], pattern[2:])
	case '%':
		for i := 0; i <= len(s); i++ {
			if like(s[i:], pattern[1:]) {
				return true
			}
		}
		return false
	case '_':
		return len(s) > 0 && like(s[1:], pattern[1:])
	}
	return len(s) > 0 && s[0] == pattern[0] && like(s[1:], pattern[1:])
}

// TestAgainstReference compares the engine's answers to random queries on a
// random graph with those of the reference.
func TestAgainstReference(t *testing.T) {
	for name, dsn := range map[string]func() string{
		"sqlite":  func() string { return "sqlite:" + t.TempDir() + "/k.db" },
		"mariadb": func() string { return mariadb.Start(t) },
	} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(name, "/", seed), func(t *testing.T) {
				s := storetest.OpenDSN(t, dsn(), sample()...)
				compareWithReference(t, s, rand.New(rand.NewPCG(seed, 1)))
			})
		}
	}
}

func compareWithReference(t *testing.T, s *store.Store, r *rand.Rand) {
	g := randomGraph(t, s, r)
	e := query.New(s, s.Registry())
	paths := map[string][]string{
		"VmInstance": {"name", "state", "hostUuid", "cpuNum", "uuid", "__systemTag__", "host.name", "host.cluster.name", "host.cluster.zone.name", "vmNics.ip", "vmNics.l3Network.name",
			"vmNics.l3Network.zone.name", "vmNics.securityGroup.name", "vmNics.eip.guestIp", "vmNics.vmInstance.host.name", "allVolumes.name", "host.__systemTag__", "vmNics.deviceId"},
		"Zone": {"name", "uuid"},
		"Host": {"name", "clusterUuid", "cluster.zone.name", "cluster.host.name", "__systemTag__"},
		"Eip":  {"name", "vmNic.vmInstance.name", "vmNic.vmInstance.host.cluster.zone.name", "guestIp"},
	}
	ops := []query.Op{query.Ne, query.Ge, query.Le, query.NotIn, query.NotLike, query.Like, query.In, query.Eq, query.Gt, query.Lt, query.IsNull, query.NotNull}
	types := []string{"VmInstance", "VmInstance", "VmInstance", "Zone", "Host", "Eip"}
	answered := map[string]int{}
	for range 800 {
		g.caller = pick(r, accounts)
		typ := types[r.IntN(len(types))]
		var q query.Query
		for range 1 + r.IntN(3) {
			c := query.Condition{Name: pick(r, paths[typ]), Op: pick(r, ops)}
			c.Value = randomValue(r, c)
			q.Conditions = append(q.Conditions, c)
		}
		var want []string
		for _, row := range g.rows[typ] {
			if g.sees(typ, row) && !slices.ContainsFunc(q.Conditions, func(c query.Condition) bool {
				return !g.holds(typ, row, strings.Split(c.Name, "."), c.Op, c.Value)
			}) {
				want = append(want, row["uuid"])
			}
		}
		q.ReplyWithCount, q.Sort, q.Desc = true, pick(r, []string{"uuid", "name"}), r.IntN(2) == 0
		res, err := e.Run(ctx, typ, q, query.Scope{Admin: g.caller == "", AccountUUID: g.caller})
		if err != nil {
			t.Fatalf("%s %v: %v", typ, q.Conditions, err)
		}
		var got []string
		for _, raw := range res.Inventories {
			var row struct{ UUID string }
			if err := json.Unmarshal(raw, &row); err != nil {
				t.Fatal(err)
			}
			got = append(got, row.UUID)
		}
		byName := map[string]string{}
		for _, row := range g.rows[typ] {
			byName[row["uuid"]] = letters(row["name"])
		}
		slices.SortFunc(want, func(a, b string) int {
			order := strings.Compare(a, b)
			if q.Sort == "name" {
				order = cmp.Or(strings.Compare(byName[a], byName[b]), order)
			}
			if q.Desc {
				order = -order
			}
			return order
		})
		if !slices.Equal(got, want) || int(res.Total) != len(want) {
			t.Errorf("as %q: %s %v:\n got %v, total %d\nwant %v", g.caller, typ, q.Conditions, got, res.Total, want)
		}
		if len(want) > 0 && len(want) < len(g.rows[typ]) {
			answered[g.caller]++
		}
	}
	for _, a := range accounts {
		if answered[a] < 25 {
			t.Errorf("as %q: only %d queries told rows apart", a, answered[a])
		}
	}
}

// accounts are who asks: the administrator, and two who own and share.
var accounts = []string{"", "alice", "bob"}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// randomName has letters of several alphabets: with accents, with two small
// forms, of later versions of Unicode and beyond its first plane, without case,
// and what stands beside letters in ASCII.
func randomName(r *rand.Rand) string {
	return pick(r, []string{"a", "B", "ab", "Ba", "aab", "c", "á", "Áb", "Σ", "ς", "aσ", "Ж", "жa", "ß", "ẞ", "ა", "Ა", "Ꭰ", "ꭰ", "Ⱥ", "ⱥ", "𞤀", "𞤢", "😀", "😎", "k", "K", "a_b", "A-B", "名"})
}

func randomValue(r *rand.Rand, c query.Condition) string {
	if strings.HasSuffix(c.Name, "cpuNum") || strings.HasSuffix(c.Name, "deviceId") {
		return strconv.Itoa(r.IntN(4))
	}
	if strings.HasSuffix(strings.ToLower(c.Name), "uuid") {
		return fmt.Sprint(pick(r, []string{"VmInstance", "Host", "Cluster"}), r.IntN(6))
	}
	switch c.Op {
	case query.In, query.NotIn:
		return randomName(r) + "," + randomName(r)
	case query.Like, query.NotLike:
		return pick(r, []string{"a%", "%B", "_", "%a%", "", "%", "_b", "Á%", "á", "%Σ%", "Ⴀ%", "Ა%", "_σ", "𞤢%", "K%", "a\\_%", "ß", "𞤀"})
	}
	return randomName(r)
}

// randomGraph stores six to thirty rows of each type with random edges.
func randomGraph(t *testing.T, s *store.Store, r *rand.Rand) graph {
	g := graph{reg: s.Registry(), rows: map[string][]map[string]string{}}
	counts := map[string]int{"Zone": 3, "Cluster": 4, "Host": 6, "L3Network": 4, "VmInstance": 20, "VmNic": 30, "Volume": 10, "Eip": 8, "SecurityGroup": 3, "NicSecurityGroupRef": 15, "SystemTag": 20, "SharedResource": 12}
	target := map[string][]string{"zoneUuid": {"Zone"}, "clusterUuid": {"Cluster"}, "hostUuid": {"Host"}, "vmInstanceUuid": {"VmInstance"}, "l3NetworkUuid": {"L3Network"},
		"vmNicUuid": {"VmNic"}, "securityGroupUuid": {"SecurityGroup"}, "resourceUuid": {"VmInstance", "Host", "L3Network", "Eip"}}
	for typ, n := range counts {
		for i := range n {
			row := map[string]string{"uuid": fmt.Sprint(strings.ToLower(typ), i)}
			decl, _ := g.reg.Get(typ)
			if _, ok := decl.Field("name"); ok {
				row["name"] = randomName(r)
			}
			if decl.Owned {
				row["accountUuid"] = pick(r, accounts[1:])
			}
			if typ == "SharedResource" {
				row["receiverAccountUuid"], row["toPublic"] = pick(r, accounts[1:]), strconv.FormatBool(r.IntN(6) == 0)
			}
			for _, f := range decl.Fields {
				if to, ok := target[f.Name]; ok && r.IntN(4) > 0 {
					of := pick(r, to)
					row[f.Name] = fmt.Sprint(strings.ToLower(of), r.IntN(counts[of]))
				}
			}
			for _, name := range []string{"state", "ip", "guestIp", "tag"} {
				if f, ok := decl.Field(name); ok && (!f.Null || r.IntN(4) > 0) {
					row[name] = randomName(r)
				}
			}
			for _, name := range []string{"cpuNum", "deviceId"} {
				if _, ok := decl.Field(name); ok {
					row[name] = strconv.Itoa(r.IntN(4))
				}
			}
			line := typ
			for name, v := range row {
				line += " " + name + "=" + v
			}
			if err := load(s, line); err != nil {
				t.Fatal(err)
			}
			g.rows[typ] = append(g.rows[typ], row)
		}
	}
	return g
}

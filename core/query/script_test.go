package query_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/query"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
)

var ctx = context.Background()

func TestMain(m *testing.M) {
	time.Local = time.UTC // times in the scripts
	os.Exit(mariadb.Main(m))
}

// TestScripts runs testdata/*.txt on both databases. A script is lines of
//
//	load TYPE field=value ...         stores a row
//	query TYPE [as ACCOUNT] PARAMS    answers with uuids, or "total N"
//	json TYPE [as ACCOUNT] PARAMS     answers with JSON and schema
//	inventory TYPE UUID               answers as an action does
//
// and after each query "----", the answer, and an empty line. PARAMS are URL
// parameters joined by " & ". Values may be quoted.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run("sqlite/"+name, func(t *testing.T) { runScript(t, file, storetest.Open(t, sample()...)) })
		t.Run("mariadb/"+name, func(t *testing.T) { runScript(t, file, storetest.OpenDSN(t, mariadb.Start(t), sample()...)) })
	}
}

func runScript(t *testing.T, file string, s *store.Store) {
	if err := s.Registry().Check(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	e := query.New(s, s.Registry())
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		verb, rest, _ := strings.Cut(line, " ")
		if verb == "load" {
			if err := load(s, rest); err != nil {
				t.Fatalf("%s:%d: %v", file, n, err)
			}
			continue
		}
		got := answer(s, e, verb, rest)
		at := n
		if lines.Scan(); lines.Text() != "----" {
			t.Fatalf("%s:%d: no ---- behind the query", file, n)
		}
		var want []string
		for n++; lines.Scan(); {
			n++
			if lines.Text() == "" {
				break
			}
			want = append(want, lines.Text())
		}
		if w := strings.Join(want, "\n"); got != w {
			t.Errorf("%s:%d: %s\n got:\n%s\nwant:\n%s", file, at, line, got, w)
		}
	}
}

// words splits at blanks outside of double quotes.
func words(s string) (out []string) {
	quoted := false
	for _, w := range strings.FieldsFunc(s, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	}) {
		out = append(out, strings.ReplaceAll(w, `"`, ""))
	}
	return out
}

func load(s *store.Store, line string) error {
	w := words(line)
	typ, ok := s.Registry().Get(w[0])
	if !ok {
		return fmt.Errorf("no type %s", w[0])
	}
	row := map[string]any{}
	for _, pair := range w[1:] {
		name, text, _ := strings.Cut(pair, "=")
		f, ok := typ.Field(name)
		if !ok {
			return fmt.Errorf("%s has no field %s", w[0], name)
		}
		row[name] = valueOf(f, text)
	}
	if row["uuid"] == nil {
		row["uuid"] = resource.NewUUID()
	}
	return s.Update(ctx, func(tx *store.Tx) error { return store.InsertValues(ctx, tx, typ, row) })
}

func valueOf(f *resource.Field, text string) any {
	switch f.Kind {
	case resource.Int, resource.Long:
		n, _ := strconv.ParseInt(text, 10, 64)
		return n
	case resource.Bool:
		return text == "true"
	case resource.Double:
		n, _ := strconv.ParseFloat(text, 64)
		return n
	case resource.TimeKind:
		at, _ := time.ParseInLocation(time.DateTime, text, time.UTC)
		return at
	}
	return text
}

func answer(s *store.Store, e *query.Engine, verb, rest string) string {
	typ, params, _ := strings.Cut(rest, " ")
	if verb == "inventory" {
		all, err := e.Inventories(ctx, s, typ, strings.Split(params, ","))
		if err != nil {
			return "error: " + err.Error()
		}
		var texts []string
		for _, uuid := range strings.Split(params, ",") {
			if one, ok := all[uuid]; ok {
				texts = append(texts, rendered(one.Inventory, one.Schema))
			} else {
				texts = append(texts, "there is no "+uuid)
			}
		}
		return strings.Join(texts, "\n")
	}
	sc := query.Scope{Admin: true}
	if as, ok := strings.CutPrefix(params, "as "); ok {
		sc.Admin = false
		sc.AccountUUID, params, _ = strings.Cut(as, " ")
	}
	v := url.Values{}
	for _, p := range strings.Split(params, " & ") {
		if name, value, ok := strings.Cut(p, "="); ok {
			v.Add(name, value)
		}
	}
	q, err := query.Parse(v)
	if err != nil {
		return "error: " + err.Error()
	}
	res, err := e.Run(ctx, typ, q, sc)
	if err != nil {
		return "error: " + err.Error()
	}
	var out []string
	if res.HasTotal {
		out = append(out, fmt.Sprintf("total %d", res.Total))
	}
	for i, raw := range res.Inventories {
		if verb == "json" {
			out = append(out, rendered(raw, nil))
			continue
		}
		var row struct{ UUID string }
		if err := json.Unmarshal(raw, &row); err != nil {
			return fmt.Sprintf("inventory %d: %v: %s", i, err, raw)
		}
		out = append(out, row.UUID)
	}
	if verb == "json" {
		out = append(out, paths(res.Schema)...)
	} else if q.Sort == "" {
		slices.Sort(out[len(out)-len(res.Inventories):])
	}
	return strings.Join(out, "\n")
}

func rendered(raw json.RawMessage, schema map[string]string) string {
	var buf bytes.Buffer
	if err := json.Compact(&buf, raw); err != nil {
		return fmt.Sprintf("%v: %s", err, raw)
	}
	text := today.ReplaceAllString(buf.String(), `"now"`)
	return strings.Join(append([]string{text}, paths(schema)...), "\n")
}

// today matches the dates that the store sets; those of the scripts are older.
var today = regexp.MustCompile(`"[A-Z][a-z]{2} \d+, 20(2[6-9]|[3-9]\d) \d+:\d\d:\d\d [AP]M"`)

func paths(schema map[string]string) (out []string) {
	for path, class := range schema {
		out = append(out, path+" "+class)
	}
	slices.Sort(out)
	return out
}

// TestLongList: MariaDB and MySQL cut off what they gather in one value, unless
// they are told how long it may be.
func TestLongList(t *testing.T) {
	const n = 20000
	for name, dsn := range map[string]func(t *testing.T) string{
		"sqlite":  func(t *testing.T) string { return "sqlite:" + t.TempDir() + "/k.db" },
		"mariadb": func(t *testing.T) string { return mariadb.Start(t) },
	} {
		t.Run(name, func(t *testing.T) {
			s := storetest.OpenDSN(t, dsn(t), sample()...)
			if err := load(s, "L3Network uuid=l1 name=net"); err != nil {
				t.Fatal(err)
			}
			dns, _ := s.Registry().Get("L3NetworkDns")
			err := s.Update(ctx, func(tx *store.Tx) error {
				for i := range n {
					row := map[string]any{"uuid": resource.NewUUID(), "l3NetworkUuid": "l1", "dns": fmt.Sprintf("%0100d", i)}
					if err := store.InsertValues(ctx, tx, dns, row); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			all, err := query.New(s, s.Registry()).Inventories(ctx, s, "L3Network", []string{"l1"})
			if err != nil {
				t.Fatal(err)
			}
			raw := all["l1"].Inventory
			var got struct{ DNS []string }
			if err := json.Unmarshal(raw, &got); err != nil {
				t.Fatal(err)
			}
			slices.Sort(got.DNS)
			if len(got.DNS) != n || got.DNS[n-1] != fmt.Sprintf("%0100d", n-1) {
				t.Errorf("the list has %d values, want %d", len(got.DNS), n)
			}
		})
	}
}

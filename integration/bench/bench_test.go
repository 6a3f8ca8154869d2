package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/wire"
	"github.com/kumo-cloud/kumo/integration/wire/wiretest"
	"github.com/kumo-cloud/kumo/plugins/simulator/world"
)

// asServer makes the test binary a server for the bench; its value is the
// password that it accepts.
const asServer = "KUMO_TEST_BENCH_SERVER"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == bareServer {
		os.Exit(runBare(os.Args[2]))
	}
	if password := os.Getenv(asServer); password != "" {
		if err := fakeServer(os.Args[1:], password); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// fakeServer takes the arguments of `kumo serve` and speaks its wire.
func fakeServer(args []string, password string) error {
	flags := map[string]string{}
	for i := 1; i+1 < len(args); i += 2 {
		flags[args[i]] = args[i+1]
	}
	if args[0] != "serve" || !strings.HasPrefix(flags["--db"], "sqlite:") || flags["--plugins"] != "simulator" {
		return fmt.Errorf("unexpected arguments %q", args)
	}
	dir := filepath.Join(flags["--data-dir"], "plugins", "simulator")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	live, err := world.Open(dir, world.Limits{})
	if err != nil {
		return err
	}
	srv := &http.Server{Addr: flags["--listen"], Handler: &wiretest.Fake{Password: wire.HashPassword(password), Polls: 1}}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { _ = srv.Shutdown(context.Background()) }) // the process ends all the same
	if err := srv.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return live.Close()
}

func runBench(t *testing.T, password string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv(asServer, password)
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"-kumo", os.Args[0]}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

func TestWholeRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rows.json")
	code, out, errs := runBench(t, "password", "-vms", "1,200", "-clients", "8", "-hosts", "3", "-in-flight", "50",
		"-duration", "100ms", "-rows", "cold,create,get,list,memory,kill", "-json", file)
	if code != 0 {
		t.Fatalf("status %d\n%s\n%s", code, out, errs)
	}
	for _, want := range []string{"cold start, empty", "create 1 VMs (sqlite, 1 clients)", "create 200 VMs (sqlite, 8 clients)",
		"GET of a VM, 201 in the database", "list of a host's VMs", "resident memory, core, idle",
		"cold start, 201 VMs", "kill -9 to serving again, 50 creations", "kill -9 to nothing leaked"} {
		if !strings.Contains(out, "| "+want) {
			t.Errorf("no row %q in\n%s", want, out)
		}
	}
	var saved struct {
		Rows   []row
		Errors []string
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &saved); err != nil || len(saved.Rows) < 9 || len(saved.Errors) != 0 {
		t.Errorf("JSON: %v\n%s", err, text)
	}
	for _, r := range saved.Rows {
		if r.Value <= 0 {
			t.Errorf("row %q has the value %v", r.Name, r.Value)
		}
	}
}

func TestErrorsEndWithStatus1(t *testing.T) {
	code, _, errs := runBench(t, "another", "-rows", "create", "-hosts", "1")
	if code != 1 || !strings.Contains(errs, "ID.1000") {
		t.Errorf("a refused login: status %d, %s", code, errs)
	}
	code, _, errs = runBench(t, "", "-rows", "create", "-kumo", "/nonexistent/kumo")
	if code != 1 || !strings.Contains(errs, "/nonexistent/kumo") {
		t.Errorf("no server: status %d, %s", code, errs)
	}
	if code, _, _ = runBench(t, "", "-rows", "speed"); code != 2 {
		t.Errorf("a row that does not exist: status %d", code)
	}
	if code, _, _ = runBench(t, "", "-vms", "0"); code != 2 {
		t.Errorf("no VMs: status %d", code)
	}
}

func TestFailedCreationsAreCounted(t *testing.T) {
	f := &wiretest.Fake{Password: wire.HashPassword("password")}
	srv := httptest.NewServer(f)
	defer srv.Close()
	cloud := &wire.Cloud{Offering: "o", Image: "i", L3Network: "l"}
	l := load{addr: strings.TrimPrefix(srv.URL, "http://"), session: "none", clients: 4}
	o := l.createVMs(cloud, 0, 20)
	if o.Count != 20 || o.Errors != 20 || len(o.First) != maxErrors || !strings.Contains(o.First[0], "status 400") {
		t.Errorf("20 creations without a session: %+v", o)
	}
	r := &report{}
	r.load(row{Name: "x"}, o)
	if len(r.errors) != 1 || !strings.Contains(r.table(), "| x | 0/s |") || !strings.Contains(r.table(), "| 20 |") {
		t.Errorf("report: %v\n%s", r.errors, r.table())
	}
}

func TestVMBodyIsTheCallsJSON(t *testing.T) {
	cloud := &wire.Cloud{Offering: "o", Image: "i", L3Network: "l"}
	uuid := newUUID(rand.New(rand.NewPCG(1, 2)))
	if !regexp.MustCompile(`^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$`).Match(uuid) {
		t.Errorf("UUID %s", uuid)
	}
	var got map[string]map[string]any
	if err := json.Unmarshal(newVMBody(cloud).appendTo(nil, 7, uuid), &got); err != nil {
		t.Fatal(err)
	}
	p := got["params"]
	if p["name"] != "bench-7" || p["resourceUuid"] != string(uuid) || p["imageUuid"] != "i" || len(p) != len(cloud.VM(""))+1 {
		t.Errorf("body: %v", got)
	}
}

func TestConnReadsEveryKindOfAnswer(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/close":
			w.Header().Set("Connection", "close")
		case "/chunked":
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
		}
		_, _ = w.Write([]byte(r.URL.Path + r.Header.Get("Authorization") + long)) // the test sees what is missing
	}))
	defer srv.Close()
	c := newConn(strings.TrimPrefix(srv.URL, "http://"), "s")
	defer c.close()
	for _, path := range []string{"/a", "/chunked", "/close", "/b"} {
		status, body, err := c.get(path)
		if err != nil || status != 200 || string(body) != path+"OAuth s"+long {
			t.Errorf("GET %s: %d, %d bytes, %v", path, status, len(body), err)
		}
	}
	srv.CloseClientConnections()
	if _, _, err := c.get("/lost"); err == nil {
		t.Error("a lost connection was not told")
	}
	if _, _, err := c.get("/again"); err != nil {
		t.Errorf("after a lost connection: %v", err)
	}
}

func TestParseCall(t *testing.T) {
	x, err := parseCall("BenchmarkCall-2   	   50000	     25000 ns/op	        31.5 cpu-us/op\nPASS\n")
	if err != nil || x.Value != 31.5 || !*x.Met || !strings.Contains(x.Notes, "40000") {
		t.Errorf("row %+v, %v", x, err)
	}
	rows, err := parseNICs("BenchmarkNICs-2 20 100 ns/op 900.5 first-sync-ms 0.5 floor-ms/op 80 floor-sync-ms/op 20.5 less-ms/op 30.5 more-ms/op 700 sync-ms/op")
	if err != nil || len(rows) != 2 || rows[0].Value != 30.5 || !*rows[0].Met || rows[1].Value != 700 || !strings.Contains(rows[1].Notes, "900 ms") {
		t.Errorf("%v %v", rows, err)
	}
	if _, err := parseNICs("30.5 more-ms/op"); err == nil {
		t.Error("a benchmark without all metrics was taken")
	}
	if _, err := parseCall("PASS"); err == nil {
		t.Error("no benchmark was found and nobody was told")
	}
}

func TestMariaDBStartsAndEnds(t *testing.T) {
	dir := t.TempDir()
	db, err := openDatabase(t.Context(), "mysql", dir)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(db.dsn, "mysql://root@127.0.0.1:") {
		t.Errorf("DSN %s", db.dsn)
	}
	if err := db.stop(); err != nil {
		t.Error(err)
	}
	if _, err := openDatabase(t.Context(), "oracle", dir); err == nil {
		t.Error("a database that we do not know was opened")
	}
}

// BenchmarkGenerator tells what the load generator itself and a server that
// does nothing cost together.
func BenchmarkGenerator(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"inventories":[],"schema":{}}`)) // the client checks it
	}))
	defer srv.Close()
	l := load{addr: strings.TrimPrefix(srv.URL, "http://"), session: "s", clients: 100}
	for b.Loop() {
		o := l.read(time.Second, func(*rand.Rand) (string, string) { return "/x", "schema" })
		if o.Errors > 0 {
			b.Fatal(o.First)
		}
		b.ReportMetric(o.perSecond(), "GET/s")
	}
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// allRows are the groups of rows, in the order in which they are measured.
var allRows = []string{"cold", "create", "get", "list", "memory", "kill", "call", "nics"}

type config struct {
	kumo, pluginDir  string
	rows             []string
	db               string
	vms              []int
	clients          int
	hosts            int
	inFlight         int
	duration         time.Duration
	jsonOut, keepDir string
	callDir, nicsDir string
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == bareServer {
		os.Exit(runBare(os.Args[2]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with its surroundings given.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	r := &report{}
	if err = measure(ctx, c, r, stderr); err != nil {
		r.fail("%v", err)
	}
	fmt.Fprint(stdout, r.table())
	if c.jsonOut != "" {
		if err = r.writeJSON(c.jsonOut); err != nil {
			r.fail("%v", err)
		}
	}
	for _, e := range r.errors {
		fmt.Fprintln(stderr, "error:", e)
	}
	if len(r.errors) > 0 {
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (config, error) {
	c := config{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.kumo, "kumo", "bin/kumo", "server binary")
	f.StringVar(&c.pluginDir, "plugin-dir", "bin/plugins", "folder of the plugins")
	rows := f.String("rows", strings.Join(allRows, ","), "rows to measure")
	f.StringVar(&c.db, "db", "sqlite", "sqlite, or mysql for a MariaDB of the measurement's own")
	vms := f.String("vms", "1,10,100,1000,10000", "numbers of VMs to create, one after another")
	f.IntVar(&c.clients, "clients", 100, "clients at the same time")
	f.IntVar(&c.hosts, "hosts", 100, "simulated hosts")
	f.IntVar(&c.inFlight, "in-flight", 1000, "VM creations that run when the server is killed")
	f.DurationVar(&c.duration, "duration", 5*time.Second, "how long reads are measured")
	f.StringVar(&c.jsonOut, "json", "", "file for the rows as JSON")
	f.StringVar(&c.keepDir, "keep", "", "folder for data and log, which stays; without it they are removed")
	f.StringVar(&c.callDir, "call-package", "./pluginsdk", "package with BenchmarkCall")
	f.StringVar(&c.nicsDir, "nics-package", "./plugins/flat", "package with BenchmarkNICs, which needs root")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("what is %q?", f.Arg(0))
	}
	for _, row := range strings.Split(*rows, ",") {
		if !slices.Contains(allRows, row) {
			return c, fmt.Errorf("-rows: there is no row %q; there are %s", row, strings.Join(allRows, ", "))
		}
		c.rows = append(c.rows, row)
	}
	for _, text := range strings.Split(*vms, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return c, fmt.Errorf("-vms: %q is no number above 0", text)
		}
		c.vms = append(c.vms, n)
	}
	if c.clients < 1 || c.hosts < 1 || c.inFlight < 1 || c.duration <= 0 {
		return c, errors.New("-clients, -hosts, -in-flight and -duration must be above 0")
	}
	return c, nil
}

func (c config) wants(rows ...string) bool {
	return slices.ContainsFunc(rows, func(r string) bool { return slices.Contains(c.rows, r) })
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/integration/wire"
)

// bench is one run.
type bench struct {
	config
	*report
	progress io.Writer

	dir    string
	srv    *server
	client *wire.Client
	cloud  *wire.Cloud
	vmUUID []string // those that were created
	serial int      // VMs asked for, for their names
	idle   memory
	floor  float64 // answers a second of a bare server
}

// measure fills the report with all rows that were asked for.
func measure(ctx context.Context, c config, r *report, progress io.Writer) error {
	b := &bench{config: c, report: r, progress: progress}
	if c.wants("cold", "create", "get", "list", "memory", "kill") {
		if err := b.withServer(ctx); err != nil {
			return err
		}
	}
	if c.wants("call") {
		if err := b.call(ctx); err != nil {
			return err
		}
	}
	if c.wants("nics") {
		return b.nics(ctx)
	}
	return nil
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.progress, format+"\n", args...) }

func (b *bench) withServer(ctx context.Context) (err error) {
	if b.dir = b.keepDir; b.dir == "" {
		if b.dir, err = os.MkdirTemp("", "kumo-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	} else if err = os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	db, err := openDatabase(ctx, b.db, b.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.stop()) }()
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	plugins, err := filepath.Abs(b.pluginDir)
	if err != nil {
		return err
	}
	b.srv = &server{binary: b.kumo, addr: addr, logPath: filepath.Join(b.dir, "kumo.log"),
		args: serveArgs(b.dir, addr, plugins, db.dsn)}
	defer func() { err = errors.Join(err, b.srv.stop()) }()
	return b.steps(ctx)
}

func (b *bench) steps(ctx context.Context) error {
	cold, err := b.srv.start(ctx)
	if err != nil {
		return err
	}
	if b.wants("cold") {
		b.add(row{Name: "cold start, empty", Value: cold.Seconds(), Unit: " s", Goal: "< 1 s", Met: yes(cold < time.Second)})
	}
	if err = b.setUp(ctx); err != nil {
		return err
	}
	for _, step := range []struct {
		rows []string
		do   func(context.Context) error
	}{
		{[]string{"memory"}, func(context.Context) error { b.idle, err = b.srv.memory(); return err }},
		{[]string{"create", "get", "list", "memory", "cold"}, b.create},
		{[]string{"get"}, b.get},
		{[]string{"list"}, b.list},
		{[]string{"memory"}, b.memoryRows},
		{[]string{"cold"}, b.coldFull},
		{[]string{"kill"}, b.kill},
	} {
		if !b.wants(step.rows...) {
			continue
		}
		if err := step.do(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func (b *bench) login(ctx context.Context) error {
	b.client = wire.New("http://" + b.srv.addr)
	return b.client.Login(ctx, "admin", "password")
}

func (b *bench) setUp(ctx context.Context) error {
	if err := b.login(ctx); err != nil {
		return err
	}
	total := b.inFlight
	for _, n := range b.vms {
		total += n
	}
	b.say("setting up %d hosts", b.hosts)
	var err error
	b.cloud, err = wire.NewCloud(ctx, b.client, wire.Spec{Name: "bench", Hosts: b.hosts, Large: total > 60000})
	return err
}

func (b *bench) load(clients int) load {
	return load{addr: b.srv.addr, session: b.client.Session(), clients: clients}
}

// goals of a creation of 10,000 VMs.
var createGoals = map[string]struct {
	within time.Duration
	p99    time.Duration
	text   string
}{
	"sqlite": {5 * time.Second, time.Second, "10,000 in 5 s, p99 < 1 s, no error"},
	"mysql":  {15 * time.Second, 0, "10,000 in 15 s"},
}

func (b *bench) create(ctx context.Context) error {
	for _, n := range b.vms {
		clients := min(n, b.clients)
		b.say("creating %d VMs", n)
		before, err := b.srv.cpu()
		if err != nil {
			return err
		}
		o := b.load(clients).createVMs(b.cloud, b.serial, n)
		after, err := b.srv.cpu()
		if err != nil {
			return err
		}
		b.serial += n
		b.vmUUID = append(b.vmUUID, o.uuids...)
		x := row{Name: fmt.Sprintf("create %d VMs (%s, %d clients)", n, b.db, clients), Notes: fmt.Sprintf("in %s, %s of CPU a VM (server and plugin)", short(o.Took), short((after-before)/time.Duration(max(1, o.Count-o.Errors))))}
		if goal := createGoals[b.db]; n == 10000 {
			x.Goal = goal.text
			x.Met = yes(o.Errors == 0 && o.Took <= goal.within && (goal.p99 == 0 || o.P99 < goal.p99))
		}
		if b.wants("create") {
			b.report.load(x, o)
		} else if o.Errors > 0 {
			b.fail("%s: %s", x.Name, strings.Join(o.First, "\n  "))
		}
		if ctx.Err() != nil || o.Errors == o.Count {
			return ctx.Err()
		}
	}
	return nil
}

func (b *bench) get(ctx context.Context) error {
	if len(b.vmUUID) == 0 {
		return errors.New("get: no VM was created")
	}
	if err := b.measureFloor(ctx); err != nil {
		return err
	}
	b.say("reading VMs")
	o := b.load(b.clients).read(b.duration, func(r *rand.Rand) (string, string) {
		uuid := b.vmUUID[r.IntN(len(b.vmUUID))]
		return wire.Root + wire.VMs + "/" + uuid, uuid
	})
	x := row{Name: fmt.Sprintf("GET of a VM, %d in the database", len(b.vmUUID))}
	b.ofFloor(&x, o, 0.60)
	b.report.load(x, o)
	return nil
}

func (b *bench) list(ctx context.Context) error {
	if err := b.measureFloor(ctx); err != nil {
		return err
	}
	b.say("listing VMs")
	paths := make([]string, len(b.cloud.Hosts))
	for i, h := range b.cloud.Hosts {
		paths[i] = wire.VMQuery(h)
	}
	o := b.load(b.clients).read(b.duration, func(r *rand.Rand) (string, string) {
		return paths[r.IntN(len(paths))], `"inventories":[`
	})
	x := row{Name: fmt.Sprintf("list of a host's VMs (20), %d in the database", len(b.vmUUID))}
	b.ofFloor(&x, o, 0.40)
	b.report.load(x, o)
	return b.page()
}

// page reads 50 VMs and the number of all, as the console's list does.
func (b *bench) page() error {
	pages := max(1, len(b.vmUUID)/50)
	o := b.load(b.clients).read(b.duration, func(r *rand.Rand) (string, string) {
		return wire.Root + wire.VMs + "?sort=-createDate&limit=50&replyWithCount=true&start=" + strconv.Itoa(50*r.IntN(pages)), `"inventories":[`
	})
	b.report.load(row{Name: fmt.Sprintf("page of 50 VMs and their number, %d in the database", len(b.vmUUID)),
		Notes: fmt.Sprintf("%.2f of the floor", o.perSecond()/b.floor)}, o)
	return nil
}

func (b *bench) memoryRows(context.Context) error {
	loaded, err := b.srv.memory()
	if err != nil {
		return err
	}
	const mib = 1 << 20
	size := func(name string, bytes int64, goal int64) {
		x := row{Name: "resident memory, " + name, Value: float64(bytes) / mib, Unit: " MiB"}
		if goal > 0 {
			x.Goal, x.Met = fmt.Sprintf("< %d MiB", goal), yes(bytes < goal*mib)
		}
		b.add(x)
	}
	size("core, idle", b.idle.core, 80)
	for name, bytes := range b.idle.plugins {
		size("plugin "+name+", idle", bytes, 25)
	}
	size(fmt.Sprintf("core, after %d VMs", b.serial), loaded.core, 0)
	for name, bytes := range loaded.plugins {
		size(fmt.Sprintf("plugin %s, after %d VMs", name, b.serial), bytes, 0)
	}
	return nil
}

// coldFull starts the server again with all VMs in the database.
func (b *bench) coldFull(ctx context.Context) error {
	b.say("starting again")
	if err := b.srv.stop(); err != nil {
		return err
	}
	cold, err := b.srv.start(ctx)
	if err != nil {
		return err
	}
	b.add(row{Name: fmt.Sprintf("cold start, %d VMs in the database", len(b.vmUUID)), Value: cold.Seconds(), Unit: " s",
		Goal: "< 1 s at 100,000", Met: yes(cold < time.Second)})
	return b.login(ctx)
}

var (
	nsPerOp  = regexp.MustCompile(`([0-9.]+) ns/op`)
	cpuPerOp = regexp.MustCompile(`([0-9.]+) cpu-us/op`)
)

// call runs the SDK's benchmark of one plugin call.
func (b *bench) call(ctx context.Context) error {
	b.say("measuring plugin calls")
	out, err := goBench(ctx, "BenchmarkCall", b.duration.String(), b.callDir)
	if err != nil {
		return err
	}
	x, err := parseCall(out)
	if err != nil {
		return err
	}
	b.add(x)
	return nil
}

// goBench runs a benchmark of a package for a time, or so many times as "20x" says.
func goBench(ctx context.Context, name, much, pkg string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^"+name+"$", "-benchtime", much, pkg)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return string(out), nil
}

func parseCall(out string) (row, error) {
	ns, cpu := nsPerOp.FindStringSubmatch(out), cpuPerOp.FindStringSubmatch(out)
	if ns == nil || cpu == nil {
		return row{}, fmt.Errorf("no ns/op and cpu-us/op of BenchmarkCall in:\n%s", out)
	}
	us, err := strconv.ParseFloat(cpu[1], 64)
	if err != nil {
		return row{}, err
	}
	wall, err := strconv.ParseFloat(ns[1], 64)
	if err != nil {
		return row{}, err
	}
	return row{Name: "one plugin call, 128 in flight", Value: us, Unit: " us of CPU", Goal: "< 40 us of CPU", Met: yes(us < 40),
		Notes: fmt.Sprintf("%s calls/s", number(1e9/wall))}, nil
}

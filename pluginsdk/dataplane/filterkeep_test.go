package dataplane

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// nft runs the nft program as somebody else who changes the packet filter.
func nft(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "nft", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("nft %v: %v: %s", args, err, out)
	}
	return string(out)
}

// watcher is the nft program that tells what is changed.
type watcher struct {
	t    *testing.T
	said *bufio.Scanner
	n    int
}

func monitor(t *testing.T) *watcher {
	t.Helper()
	cmd := exec.Command("stdbuf", "-oL", "nft", "monitor")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
	})
	w := &watcher{t: t, said: bufio.NewScanner(out)}
	w.said.Buffer(nil, 1<<24)
	// It listens once it tells of a change.
	heard := make(chan bool)
	go func() { heard <- w.said.Scan() }()
	for i := 0; ; i++ {
		nft(t, "add", "table", "ip", fmt.Sprintf("hello%d", i))
		nft(t, "delete", "table", "ip", fmt.Sprintf("hello%d", i))
		select {
		case <-heard:
			w.until()
			return w
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// until makes a change of its own, and returns what was told before it.
func (w *watcher) until() string {
	w.t.Helper()
	w.n++
	name := fmt.Sprintf("end%d", w.n)
	nft(w.t, "add", "table", "ip", name)
	nft(w.t, "delete", "table", "ip", name)
	var told []string
	for w.said.Scan() {
		told = append(told, w.said.Text())
		if strings.HasPrefix(w.said.Text(), "delete table ip "+name) {
			w.said.Scan() // its generation
			begin := slices.IndexFunc(told, func(s string) bool { return strings.HasPrefix(s, "add table ip "+name) })
			return strings.Join(told[:begin], "\n")
		}
	}
	w.t.Fatalf("the monitor has ended: %v", w.said.Err())
	return ""
}

func counterOf(t *testing.T, e *filterEngine, id string) *hostv1.FilterCounter {
	t.Helper()
	all, err := e.FilterCounters("sg")
	must(t, err)
	for _, c := range all {
		if c.GetId() == id {
			return c
		}
	}
	return nil
}

// Counters count connections, and those of rules that stay go on when others change.
func TestFilterCounters(t *testing.T) {
	e := newFilterEngine(t, "br_f")
	purgeFilter(t, e)
	a, b := plug(t, "fa", "br_f", 1), plug(t, "fb", "br_f", 2)
	b.serve(80)
	e.apply(filterPort(b, "web"), group("web", ruleOf("80", "accept tcp 80", false), ruleOf("rest", "drop all", false)))
	a.reaches(b.v4, 80)
	a.reachesNot(b.v4, 81)
	c, rest := counterOf(t, e, "80"), counterOf(t, e, "rest")
	if c.GetPackets() != 1 || c.GetBytes() < 40 || rest.GetPackets() < 1 {
		t.Errorf("counted %v and %v", c, rest)
	}
	e.apply(group("web", ruleOf("new", "accept tcp 82", false), ruleOf("80", "accept tcp 80", false)))
	a.reaches(b.v4, 80)
	if c := counterOf(t, e, "80"); c.GetPackets() != 2 {
		t.Errorf("counted %v after a change of another rule", c)
	}
	if counterOf(t, e, "rest") != nil || counterOf(t, e, "new") == nil {
		t.Error("the counters are not those of the rules")
	}
	if all, err := e.FilterCounters("other"); err != nil || len(all) != 0 {
		t.Errorf("another's counters: %v, %v", all, err)
	}
}

// What is as it should be is not touched; what changes is changed alone.
func TestFilterChangesWhatIsDifferentOnly(t *testing.T) {
	e := newFilterEngine(t, "br_f")
	purgeFilter(t, e)
	var all []*hostv1.Fragment
	for i := range 20 {
		m := &machine{device: fmt.Sprintf("t%d", i), mac: fmt.Sprintf("52:54:00:00:01:%02x", i), v4: fmt.Sprintf("10.50.1.%d", i+1), v6: fmt.Sprintf("fd00::1:%x", i)}
		all = append(all, filterPort(m, "web"))
	}
	all = append(all, setOf("members", "10.50.1.1", "10.50.1.3", "10.60.0.0/16", "fd00::1", "0.0.0.0/8", "255.255.255.0/24"),
		group("web", ruleOf("a", "accept tcp 80-90,100,443-444 from @members", false),
			ruleOf("b", "accept udp 1-2 from 10.0.0.1,10.0.0.2,10.9.0.0/16,240.0.0.0-255.255.255.255", false),
			ruleOf("c", "drop icmp to fd00::1-fd00::9", true), ruleOf("d", "accept all", true)))
	sync := func() {
		t.Helper()
		synced, err := e.Sync(t.Context(), "sg", "", all, nil)
		if err != nil || len(synced.Failures) > 0 {
			t.Fatalf("%+v, %v", synced, err)
		}
	}
	w := monitor(t)
	sync()
	if said := w.until(); strings.Count(said, "new generation") != 1 {
		t.Errorf("one sync made not one transaction: %s", said)
	}
	sync()
	e.apply(all...)
	e.remove("none")
	if said := w.until(); strings.Contains(said, "kumo_filter") || strings.Contains(said, "generation") {
		t.Errorf("what is as it should be was changed: %s", said)
	}
	e.apply(setOf("members", "10.50.1.1", "10.50.1.2", "10.50.1.3", "10.60.0.0/16", "fd00::1", "0.0.0.0/8", "255.255.255.0/24"))
	if said := w.until(); strings.Count(said, "element") != 1 || strings.Count(said, "new generation") != 1 || !strings.Contains(said, "10.50.1.2") {
		t.Errorf("one member more is %s", said)
	}
	sync() // back
	w.until()
	m := &machine{device: "more", mac: "52:54:00:00:02:01", v4: "10.50.2.1", v6: "fd00::2:1"}
	e.apply(filterPort(m, "web"))
	if said := w.until(); strings.Contains(said, "rule ") || strings.Contains(said, "chain ") || strings.Count(said, "new generation") != 1 {
		t.Errorf("one port more is %s", said)
	}
	e.remove("port-more")
	if said := w.until(); strings.Contains(said, "rule ") || strings.Contains(said, "chain ") || strings.Count(said, "new generation") != 1 {
		t.Errorf("one port less is %s", said)
	}
}

// What others do to our tables is seen and undone.
func TestFilterIsMended(t *testing.T) {
	e := newFilterEngine(t, "br_f")
	purgeFilter(t, e)
	a, b := plug(t, "fa", "br_f", 1), plug(t, "fb", "br_f", 2)
	b.serve(80)
	e.apply(filterPort(a), filterPort(b, "web"), group("web", ruleOf("80", "accept tcp 80 from @set", false)), setOf("set", a.v4))
	handles := regexp.MustCompile(`# handle \d+`)
	// Tables, chains and elements have no order that means anything.
	plain := func() string {
		lines := strings.Split(counts.ReplaceAllString(handles.ReplaceAllString(ruleset(t), ""), ""), "\n")
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	want := plain()
	for name, harm := range map[string][]string{
		"a table":         {"delete", "table", "inet", "kumo_filter"},
		"the other":       {"delete", "table", "bridge", "kumo_filter"},
		"all":             {"flush", "ruleset"},
		"rules":           {"flush", "chain", "inet", "kumo_filter", "to-ports"},
		"a rule more":     {"insert", "rule", "inet", "kumo_filter", "to-ports", "accept"},
		"a device":        {"delete", "element", "bridge", "kumo_filter", "in-ports", "{", "fb", "}"},
		"another's chain": {"add", "chain", "inet", "kumo_filter", "mine"},
		"an address":      {"add", "element", "bridge", "kumo_filter", "port-addr4", "{", "fb", ".", "10.50.0.99", "}"},
		"another verdict": {"add", "set", "inet", "kumo_filter", "theirs", "{ type ipv4_addr; }"},
	} {
		nft(t, harm...)
		within(t, name+" is as it should be", func() bool { return plain() == want && len(e.Failures()) == 0 })
	}
	a.reaches(b.v4, 80)
	a.reachesNot(b.v4, 81)
}

var counts = regexp.MustCompile(`packets \d+ bytes \d+`)

// An agent that was killed finds its tables, and mends what is different; numbers and
// counters stay.
func TestFilterIsTakenOver(t *testing.T) {
	folder := stateFolder(t)
	e := openFilterEngine(t, folder, "br_f")
	a, b := plug(t, "fa", "br_f", 1), plug(t, "fb", "br_f", 2)
	b.serve(80)
	e.apply(filterPort(a, "web", "more"), filterPort(b, "web"), group("more"), group("web", ruleOf("80", "accept tcp 80", false)))
	a.reaches(b.v4, 80)
	must(t, e.Close())
	before := ruleset(t)
	w := monitor(t)
	e = openFilterEngine(t, folder)
	if said := w.until(); strings.Contains(said, "generation") {
		t.Errorf("taking over changed %s", said)
	}
	if after := ruleset(t); after != before {
		t.Error("what was there is not there any more")
	}
	must(t, e.Close())
	nft(t, "delete", "element", "bridge", "kumo_filter", "out-ports", "{", "fb", "}")
	nft(t, "add", "chain", "inet", "kumo_filter", "mine")
	e = openFilterEngine(t, folder)
	purgeFilter(t, e)
	a.reaches(b.v4, 80)
	a.reachesNot(b.v4, 81)
	if c := counterOf(t, e, "80"); c.GetPackets() != 2 {
		t.Errorf("the counter has %v", c)
	}
	if strings.Contains(ruleset(t), "mine") {
		t.Error("what is not ours is still in our table")
	}
}

// The settings of the machine are ours while there are ports, and what they were
// after; a machine that loses them lets nothing pass until they are back.
func TestFilterSettings(t *testing.T) {
	const setting = "/proc/sys/net/bridge/bridge-nf-call-iptables"
	read := func() string {
		b, err := os.ReadFile(setting)
		must(t, err)
		return strings.TrimSpace(string(b))
	}
	must(t, os.WriteFile(setting, []byte("0"), 0o644))
	folder := stateFolder(t)
	e := openFilterEngine(t, folder, "br_f")
	a, b := plug(t, "fa", "br_f", 1), plug(t, "fb", "br_f", 2)
	b.serve(80)
	e.apply(filterPort(b, "web"), group("web", ruleOf("80", "accept tcp 80", false)))
	if read() != "1" {
		t.Error("the setting is off")
	}
	a.reaches(b.v4, 80)
	must(t, os.WriteFile(setting, []byte("0"), 0o644))
	a.reachesNot(b.v4, 80)
	must(t, e.Close())
	e = openFilterEngine(t, folder)
	purgeFilter(t, e)
	a.reaches(b.v4, 80)
	e.remove("port-fb")
	if read() != "0" {
		t.Error("the setting is not what it was")
	}
	if strings.Contains(ruleset(t), "kumo") {
		t.Error("tables are left without ports")
	}
}

// A guest that comes, or comes again, is filtered from its first packet.
func TestFilterDeviceThatComesLater(t *testing.T) {
	e := newFilterEngine(t, "br_f")
	purgeFilter(t, e)
	a := plug(t, "fa", "br_f", 1)
	b := &machine{device: "fb", mac: "52:54:00:00:00:02", v4: "10.50.0.2", v6: "fd00::2"}
	e.apply(filterPort(b, "web"), group("web", ruleOf("80", "accept tcp 80", false)))
	w := monitor(t)
	b = plug(t, "fb", "br_f", 2)
	b.serve(80)
	b.serve(81)
	a.reaches(b.v4, 80)
	a.reachesNot(b.v4, 81)
	if said := w.until(); strings.Contains(said, "kumo_filter") {
		t.Errorf("plugging in changed %s", said)
	}
}

// A kernel that does not hand packets of bridges to its packet filter is told, and a
// filter that cannot be mended is a failure until it can be.
func TestFilterWithoutTheKernelsHelp(t *testing.T) {
	const settings = "/proc/sys/net/bridge"
	hide := func() { must(t, unix.Mount("none", settings, "tmpfs", 0, "")) }
	show := func() { must(t, unix.Unmount(settings, 0)) }
	e := newFilterEngine(t, "br_f")
	purgeFilter(t, e)
	b := &machine{device: "fb", mac: "52:54:00:00:00:02", v4: "10.50.0.2", v6: "fd00::2"}
	hide()
	err := e.Apply(t.Context(), "sg", Revisions{}, []*hostv1.Fragment{filterPort(b)}, nil)
	show()
	if !errors.Is(err, errs.Refused) || !strings.Contains(err.Error(), "modprobe br_netfilter") {
		t.Errorf("got %v", err)
	}
	if strings.Contains(ruleset(t), "kumo_filter") || len(e.store.sets["sg"]) != 0 {
		t.Error("something was made")
	}
	e.apply(filterPort(b))
	want := ruleset(t)
	hide()
	nft(t, "delete", "table", "inet", "kumo_filter")
	within(t, "the failure is told", func() bool {
		l := e.Failures()
		return len(l) == 1 && l[0].Key == "filter" && errors.Is(l[0].Err, errs.Refused)
	})
	show()
	within(t, "it is mended", func() bool { return len(e.Failures()) == 0 })
	if got := ruleset(t); strings.Count(got, "\n") != strings.Count(want, "\n") {
		t.Errorf("mended is %s", got)
	}
}

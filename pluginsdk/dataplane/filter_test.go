package dataplane

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// Members reach each other, outsiders do not, of both families; two that are not
// filtered are left alone.
func TestFilterMembersAndOutsiders(t *testing.T) {
	e := newFilterEngine(t, "br_f")
	purgeFilter(t, e)
	a, b, c := plug(t, "fa", "br_f", 1), plug(t, "fb", "br_f", 2), plug(t, "fc", "br_f", 3)
	free, other := plug(t, "fd", "br_f", 4), plug(t, "fe", "br_f", 5)
	for _, m := range []*machine{a, b, c, free, other} {
		m.serve(80)
	}
	e.apply(filterPort(a, "web"), filterPort(b, "web"), filterPort(c),
		group("web", ruleOf("4", "accept all from @web-members", false), ruleOf("6", "accept all from @web-members", true)),
		setOf("web-members", a.v4, a.v6, b.v4, b.v6))
	for _, v6 := range []bool{false, true} {
		a.reaches(b.addr(v6), 80)
		b.reaches(a.addr(v6), 80)
		a.reaches(free.addr(v6), 80) // replies to its own connections pass
		free.reachesNot(a.addr(v6), 80)
		c.reachesNot(a.addr(v6), 80)
		a.reachesNot(c.addr(v6), 80)
		free.reaches(other.addr(v6), 80)
		if !a.pings(b.addr(v6)) {
			t.Errorf("no ping to %s", b.addr(v6))
		}
	}
}

// A rule lets in who is on no filtered port, such as a machine beyond an uplink.
func TestFilterFromElsewhere(t *testing.T) {
	e := newFilterEngine(t, "br_f")
	purgeFilter(t, e)
	a, free := plug(t, "fa", "br_f", 1), plug(t, "fd", "br_f", 4)
	a.serve(80)
	e.apply(filterPort(a, "web"), group("web", ruleOf("4", "accept tcp 80 from 10.50.0.4", false)))
	free.reaches(a.v4, 80)
	e.apply(group("web", ruleOf("4", "accept tcp 80 from 10.50.0.5", false)))
	free.reachesNot(a.v4, 80)
}

// One who joins a set is let in by one element more, and out by one less; both ports
// on a host are asked.
func TestFilterSetsAndBothSides(t *testing.T) {
	e := newFilterEngine(t, "br_f")
	purgeFilter(t, e)
	a, b := plug(t, "fa", "br_f", 1), plug(t, "fb", "br_f", 2)
	b.serve(80)
	web := group("web", ruleOf("4", "accept tcp 80 from @members", false))
	e.apply(filterPort(a), filterPort(b, "web"), web, setOf("members", "10.60.0.0/24"))
	a.reachesNot(b.v4, 80)
	e.apply(setOf("members", "10.60.0.0/24", a.v4))
	a.reaches(b.v4, 80)
	closed := filterPort(a)
	closed.GetFilterPort().AcceptEgress = false
	e.apply(closed)
	a.reachesNot(b.v4, 80)
	out := filterPort(a, "out")
	out.GetFilterPort().AcceptEgress = false
	e.apply(out, group("out", ruleOf("o", "accept tcp 80 to 10.50.0.0-10.50.0.9", false)))
	a.reaches(b.v4, 80)
	e.apply(setOf("members"))
	a.reachesNot(b.v4, 80)
}

// A connection that is open is cut when its rule goes, from both sides, and goes on
// when another rule goes, or comes.
func TestFilterOpenConnections(t *testing.T) {
	e := newFilterEngine(t, "br_f")
	purgeFilter(t, e)
	a, b, free := plug(t, "fa", "br_f", 1), plug(t, "fb", "br_f", 2), plug(t, "fc", "br_f", 3)
	b.serve(80)
	b.serve(81)
	free.serve(80)
	e.apply(filterPort(a), filterPort(b, "web"), group("web", ruleOf("80", "accept tcp 80 from 10.50.0.1", false), ruleOf("81", "accept tcp 81", false)))
	first, second, own := a.dial(b.v4, 80, answers), a.dial(b.v4, 81, answers), b.dial(free.v4, 80, answers)
	for _, c := range []interface{ Close() error }{first, second, own} {
		if c == nil {
			t.Fatal("no connection")
		}
	}
	if !echo(first, answers) || !echo(second, answers) || !echo(own, answers) {
		t.Fatal("the connections do not work")
	}
	e.apply(group("web", ruleOf("81", "accept tcp 81", false)))
	if echo(first, silence) {
		t.Error("a connection goes on without its rule")
	}
	a.reachesNot(b.v4, 80)
	if !echo(second, answers) || !echo(own, answers) {
		t.Error("a connection whose rule stays was cut")
	}
	e.apply(group("web", ruleOf("80", "accept tcp 80 from 10.50.0.1", false), ruleOf("81", "accept tcp 81", false)))
	a.reaches(b.v4, 80)
	if !echo(first, answers) {
		t.Error("a connection does not go on with its rule back")
	}
	// The caller's rules count as well.
	shut := filterPort(a)
	shut.GetFilterPort().AcceptEgress = false
	e.apply(shut)
	if echo(first, silence) || echo(second, silence) {
		t.Error("a connection goes on that its caller may not make")
	}
}

// What was called sends the next packet after the cut: it must not pass for a
// connection of its own.
func TestFilterCutIsNotUndoneByTheServer(t *testing.T) {
	e := newFilterEngine(t, "br_f")
	purgeFilter(t, e)
	b, free := plug(t, "fb", "br_f", 2), plug(t, "fc", "br_f", 3)
	for _, v6 := range []bool{false, true} {
		e.apply(filterPort(b, "web"), group("web", ruleOf("80", "accept tcp 80", v6)))
		server, client := pair(t, free, b, v6)
		e.apply(group("web"))
		if _, err := server.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if hears(client, silence) {
			t.Error("the client hears the server after the cut")
		}
		if _, err := client.Write([]byte("y")); err != nil {
			t.Fatal(err)
		}
		if hears(server, silence) {
			t.Error("the server hears the client after the cut")
		}
	}
}

// Two bridges with the same addresses do not share connections.
func TestFilterTwoBridgesWithTheSameAddresses(t *testing.T) {
	e := newFilterEngine(t, "br_f", "br_g")
	purgeFilter(t, e)
	a, b := plug(t, "fa", "br_f", 1), plug(t, "fb", "br_f", 2)
	a2, b2 := plug(t, "ga", "br_g", 1), plug(t, "gb", "br_g", 2)
	b.serve(80)
	b2.serve(80)
	e.apply(filterPort(a), filterPort(a2), filterPort(b, "web"), filterPort(b2), group("web", ruleOf("80", "accept tcp 80", false)))
	a.reaches(b.v4, 80)
	a2.reachesNot(b2.v4, 80)
	one, two := a.dialFrom(40000, b.v4, 80, answers), a2.dialFrom(40000, b2.v4, 80, silence)
	if one == nil || two != nil {
		t.Error("the connection of one bridge is the other's")
	}
	e.apply(filterPort(b2, "web"))
	a2.reaches(b2.v4, 80)
	if one == nil || !echo(one, answers) {
		t.Error("a change of one bridge's port ends the other's connection")
	}
	zones := map[uint16]bool{}
	flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, netlink.FAMILY_V4)
	must(t, err)
	for _, f := range flows {
		zones[f.Zone] = true
	}
	if !zones[uint16(link(t, "br_f").Attrs().Index)] || !zones[uint16(link(t, "br_g").Attrs().Index)] {
		t.Errorf("connections are in the zones %v", zones)
	}
}

// The order of groups, and of rules in them, decides.
func TestFilterOrder(t *testing.T) {
	e := newFilterEngine(t, "br_f")
	purgeFilter(t, e)
	a, b := plug(t, "fa", "br_f", 1), plug(t, "fb", "br_f", 2)
	for _, port := range []int{80, 81, 90} {
		b.serve(port)
	}
	yes, no := ruleOf("yes", "accept tcp 80-89 from 10.50.0.0/28", false), ruleOf("no", "drop tcp 80,90 from 10.50.0.1-10.50.0.3", false)
	all := group("all", ruleOf("all", "accept tcp", false))
	for _, c := range []struct {
		groups        []string
		first, second *hostv1.FilterRule
		open          []int
	}{
		{[]string{"one", "two", "all"}, yes, no, []int{80, 81}},
		{[]string{"two", "one", "all"}, yes, no, []int{81}},
		{[]string{"all", "two", "one"}, yes, no, []int{80, 81, 90}},
		{[]string{"two"}, yes, no, nil},
		{[]string{"one"}, yes, no, []int{80, 81}},
	} {
		e.apply(filterPort(b, c.groups...), group("one", c.first), group("two", c.second), all)
		for _, port := range []int{80, 81, 90} {
			if slices.Contains(c.open, port) {
				a.reaches(b.v4, port)
			} else {
				a.reachesNot(b.v4, port)
			}
		}
	}
	e.apply(filterPort(b, "one"), group("one", no, ruleOf("yes", "accept tcp 80-89", false)), group("two"))
	a.reachesNot(b.v4, 80)
	a.reaches(b.v4, 81)
}

// What does not fit together is refused, and changes nothing.
func TestFilterWrongReferences(t *testing.T) {
	e := newFilterEngine(t, "br_f")
	purgeFilter(t, e)
	a := &machine{device: "fa", mac: "52:54:00:00:00:01", v4: "10.50.0.1", v6: "fd00::1"}
	e.apply(filterPort(a, "web"), group("web", ruleOf("4", "accept all from @set", false)), setOf("set"))
	twice := filterPort(a)
	twice.Key = "again"
	for name, c := range map[string]struct {
		upsert []*hostv1.Fragment
		remove []string
		class  errs.Class
		owner  string
	}{
		"a group that is used":   {nil, []string{"web"}, errs.NotFound, "sg"},
		"a set that is used":     {nil, []string{"set"}, errs.NotFound, "sg"},
		"no group":               {[]*hostv1.Fragment{filterPort(a, "none")}, nil, errs.NotFound, "sg"},
		"a set for a group":      {[]*hostv1.Fragment{filterPort(a, "set")}, nil, errs.NotFound, "sg"},
		"a group for a set":      {[]*hostv1.Fragment{group("web", ruleOf("4", "accept all from @web", false))}, nil, errs.NotFound, "sg"},
		"a device twice":         {[]*hostv1.Fragment{twice}, nil, errs.Exists, "sg"},
		"a device of another":    {[]*hostv1.Fragment{twice}, nil, errs.Exists, "other"},
		"a rule's ID twice":      {[]*hostv1.Fragment{group("more", ruleOf("4", "accept all", false))}, nil, errs.Exists, "sg"},
		"another's group":        {[]*hostv1.Fragment{filterPort(a, "web")}, nil, errs.NotFound, "other"},
		"of the wrong version":   {[]*hostv1.Fragment{group("web", ruleOf("4", "accept all from fd00::1", false))}, nil, errs.Invalid, "sg"},
		"ports of no protocol":   {[]*hostv1.Fragment{group("web", ruleOf("4", "accept icmp 80", false))}, nil, errs.Invalid, "sg"},
		"no address":             {[]*hostv1.Fragment{setOf("set", "x; flush ruleset")}, nil, errs.Invalid, "sg"},
		"a range that goes down": {[]*hostv1.Fragment{group("web", ruleOf("4", "accept all from 10.0.0.9-10.0.0.1", false))}, nil, errs.Invalid, "sg"},
	} {
		before := ruleset(t)
		if err := e.Apply(t.Context(), c.owner, Revisions{}, c.upsert, c.remove); !errors.Is(err, c.class) {
			t.Errorf("%s: got %v", name, err)
		}
		if ruleset(t) != before {
			t.Errorf("%s: something was changed", name)
		}
	}
	// All at once is right, in whatever order.
	must(t, e.Apply(t.Context(), "sg", Revisions{}, []*hostv1.Fragment{filterPort(a, "new"), group("new", ruleOf("4", "accept all", false))}, []string{"set", "web"}))
	must(t, e.Apply(t.Context(), "sg", Revisions{}, nil, []string{"new", "port-fa"}))
	if r := ruleset(t); strings.Contains(r, "kumo_filter") {
		t.Errorf("left without ports: %s", r)
	}
}

// A port whose group is wrong is shut, not open.
func TestFilterSyncShutsWhatIsWrong(t *testing.T) {
	e := newFilterEngine(t, "br_f")
	purgeFilter(t, e)
	a, b := plug(t, "fa", "br_f", 1), plug(t, "fb", "br_f", 2)
	b.serve(80)
	a.reaches(b.v4, 80)
	synced, err := e.Sync(t.Context(), "sg", "", []*hostv1.Fragment{filterPort(b, "web"), group("web", ruleOf("4", "accept icmp 80", false))}, nil)
	if err != nil || failedKeys(t, synced) != "web port-fb" {
		t.Fatalf("%+v, %v", synced, err)
	}
	a.reachesNot(b.v4, 80)
	right := []*hostv1.Fragment{filterPort(b, "web"), group("web", ruleOf("4", "accept tcp 80 from @set", false)), setOf("set", a.v4)}
	synced, err = e.Sync(t.Context(), "sg", "", right, nil)
	if err != nil || len(synced.Failures) != 0 {
		t.Fatalf("%+v, %v", synced, err)
	}
	a.reaches(b.v4, 80)
	// What is kept is kept with what it names.
	synced, err = e.Sync(t.Context(), "sg", "", nil, []string{"port-fb"})
	if err != nil || len(synced.Failures) != 0 || synced.Removed != 0 {
		t.Fatalf("%+v, %v", synced, err)
	}
	a.reaches(b.v4, 80)
}

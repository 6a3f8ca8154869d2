package dataplane

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// manyPorts are ports of a host: each has five groups of twenty rules, of a pool of
// fifty groups, and the rules a set of a thousand addresses.
func manyPorts(n int) (all []*hostv1.Fragment) {
	var members []string
	for i := range 1000 {
		members = append(members, fmt.Sprintf("10.7.%d.%d", i/200, i%200+1))
	}
	all = append(all, setOf("members", members...))
	for g := range 50 {
		var rules []*hostv1.FilterRule
		for r := range 20 {
			text := fmt.Sprintf("accept tcp %d from 10.%d.0.0/16", 1000+r, g)
			if r == 0 {
				text = "accept all from @members"
			}
			rules = append(rules, ruleOf(fmt.Sprintf("%d-%d", g, r), text, false))
		}
		all = append(all, group(fmt.Sprintf("g%d", g), rules...))
	}
	for i := range n {
		all = append(all, manyPort(i))
	}
	return all
}

// ownGroups are the ports, of which 500 have a list of groups that no other port has.
func ownGroups(all []*hostv1.Fragment) (out []*hostv1.Fragment) {
	for i, f := range all {
		if f.GetFilterPort() != nil && i%10 == 0 {
			f = proto.Clone(f).(*hostv1.Fragment)
			f.GetFilterPort().Groups = []string{"g49", fmt.Sprintf("g%d", 10+i/10%10), fmt.Sprintf("g%d", 20+i/100%10), fmt.Sprintf("g%d", 30+i/1000%10), "g40"}
		}
		out = append(out, f)
	}
	return out
}

func manyPort(i int) *hostv1.Fragment {
	m := &machine{device: fmt.Sprintf("s%d", i), mac: fmt.Sprintf("52:54:00:01:%02x:%02x", i>>8, i&255),
		v4: fmt.Sprintf("10.8.%d.%d", i/250, i%250+1), v6: fmt.Sprintf("fd00:8::%x", i+1)}
	var groups []string
	for g := range 5 {
		groups = append(groups, fmt.Sprintf("g%d", (i%200+g*(1+i%7))%50))
	}
	return filterPort(m, groups...)
}

// The figures of a host with 5,000 ports are logged, not judged: machines differ.
func TestFilterScale(t *testing.T) {
	const ports = 5000
	folder := stateFolder(t)
	e := openFilterEngine(t, folder)
	all := manyPorts(ports)
	timed := func(what string, do func() error) {
		t.Helper()
		begin := time.Now()
		must(t, do())
		t.Logf("%s: %s", what, time.Since(begin).Round(time.Millisecond/10))
	}
	sync := func() error {
		synced, err := e.Sync(t.Context(), "sg", "", all, nil)
		if len(synced.Failures) > 0 {
			t.Fatalf("%v", synced.Failures[0])
		}
		return err
	}
	timed("first sync of 5,000 ports", sync)
	timed("sync without a change", sync)
	timed("one port more", func() error { return e.Apply(t.Context(), "sg", Revisions{}, []*hostv1.Fragment{manyPort(ports)}, nil) })
	timed("one member more", func() error {
		set := all[0]
		return e.Apply(t.Context(), "sg", Revisions{}, []*hostv1.Fragment{setOf("members", append(set.GetFilterSet().GetAddresses(), "10.99.0.1")...)}, nil)
	})
	timed("one port less", func() error { return e.Apply(t.Context(), "sg", Revisions{}, nil, []string{"port-s5000"}) })
	timed("counters", func() error {
		c, err := e.FilterCounters("sg")
		if len(c) != 1000 {
			t.Errorf("%d counters", len(c))
		}
		return err
	})
	shared := all
	all = ownGroups(all)
	timed("sync of 500 lists of groups that no two ports share", sync)
	timed("one port more", func() error { return e.Apply(t.Context(), "sg", Revisions{}, []*hostv1.Fragment{manyPort(ports)}, nil) })
	all = shared
	timed("sync back", sync)
	must(t, e.Close())
	timed("taking over", func() error {
		e = openFilterEngine(t, folder)
		return nil
	})
	timed("removal of all", func() error { return e.Purge(t.Context()) })
	must(t, e.Close())
}

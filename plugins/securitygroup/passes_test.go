package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func keys(a *agent) string { return strings.Join(a.keys(), " ") }

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// Hosts get what their guests need, once; a change is told where it matters, and
// nothing else.
func TestHostsAreToldWhatChanges(t *testing.T) {
	w := newWorld()
	h1, h2, h3 := w.host("h1"), w.host("h2"), w.host("h3")
	w.group("g", "g")
	w.group("f", "g") // it names g
	w.guest(1, "h1", "g")
	w.guest(2, "h2", "f")
	s := w.passes()
	run(t, s)
	want(t, "the first host", keys(h1), "group-g nic-n1 set-g")
	want(t, "the second host", keys(h2), "group-f nic-n2 set-g")
	want(t, "the third host, which had something of an earlier process", keys(h3), "")
	for _, h := range []*agent{h1, h2, h3} {
		want(t, "calls of a host", len(h.told()), 1)
	}
	run(t, s)
	w.guest(3, "h1", "g")
	run(t, s)
	want(t, "the first host", keys(h1), "group-g nic-n1 nic-n3 set-g")
	one := h2.told()
	want(t, "calls of the second host", len(one), 1)
	apply := one[0].(*hostv1.ApplyRequest)
	want(t, "what changes there", len(apply.Upsert)+len(apply.Remove), 1)
	want(t, "the members' addresses", strings.Join(apply.Upsert[0].GetFilterSet().GetAddresses(), " "), "10.0.0.1 10.0.0.3 10.255.255.254")
	want(t, "calls of the third host", len(h3.told()), 0)

	w.drop(typeMember, "n1g")
	run(t, s)
	want(t, "the first host", keys(h1), "group-g nic-n3 set-g")
	w.drop(typeGroup, "g")
	w.add(typeGroup, map[string]any{"uuid": "g", "state": disabled})
	run(t, s)
	want(t, "the first host, of a disabled group", keys(h1), "")
	want(t, "the second host, whose rule names it", keys(h2), "group-f nic-n2")
	h1.told()
	run(t, s, "h1")
	if calls := h1.told(); len(calls) != 1 || calls[0].(*hostv1.SyncRequest).Owner != owner {
		t.Errorf("a host that has connected was told %v", calls)
	}
}

// A host whose answer is lost is told everything; one that cannot be reached holds
// nobody up; what fails otherwise is told to who waits.
func TestHostsThatFail(t *testing.T) {
	w := newWorld()
	h := w.host("h1")
	w.host("h2")
	w.group("g", "")
	w.guest(1, "h1", "g")
	s := w.passes()
	run(t, s)
	h.told()
	fails := onFire()
	h.fail = func() error { return fails }
	w.guest(2, "h1", "g")
	p, err := s.run(t.Context())
	if err == nil {
		err = s.wait(t.Context(), p, "")
	}
	if errs.ClassOf(err) != errs.Internal || !strings.Contains(err.Error(), "h1") {
		t.Errorf("error %v", err)
	}
	fails = errs.New(errs.Unavailable, "host", "away")
	run(t, s)
	p, err = s.run(t.Context())
	if err == nil {
		err = s.wait(t.Context(), p, "h1")
	}
	if errs.ClassOf(err) != errs.Unavailable {
		t.Errorf("who needs the host gets %v", err)
	}
	h.fail = nil
	h.told()
	run(t, s)
	if calls := h.told(); len(calls) != 1 || len(calls[0].(*hostv1.SyncRequest).Fragments) != 3 {
		t.Errorf("after failures it was told %v", calls)
	}
}

// Before a guest starts its host has the rules, though no row says that it runs there;
// when the start fails, or the guest has stopped, it has them no more.
func TestPointsOfGuests(t *testing.T) {
	w := newWorld()
	h := w.host("h1")
	w.group("g", "")
	nic := w.guest(1, "", "g")
	w.rows["VmInstance"][0]["state"] = "Starting"
	s := w.passes()
	o := &observer{s}
	about := &pluginv1.PointSubject{Type: "VmInstance", Uuid: "vm1", HostUuid: "h1", Nics: []*pluginv1.PointNIC{{Uuid: nic}}}
	do := func(point string) {
		t.Helper()
		if _, err := o.DoPoint(t.Context(), &pluginv1.DoPointRequest{Point: point, Subject: about}); err != nil {
			t.Fatal(err)
		}
	}
	do("vm.start.nics-ready")
	want(t, "the host before the start", keys(h), "group-g nic-n1")
	run(t, s)
	want(t, "the host after another pass", keys(h), "group-g nic-n1")
	if _, err := o.UndoPoint(t.Context(), &pluginv1.UndoPointRequest{Point: "vm.start.nics-ready", Subject: about}); err != nil {
		t.Fatal(err)
	}
	want(t, "the host after the undo", keys(h), "")
	do("vm.start.nics-ready")
	w.rows["VmInstance"][0]["state"], w.rows["VmInstance"][0]["hostUuid"] = "Running", "h1"
	run(t, s)
	want(t, "what is remembered of guests that run", len(s.moving), 0)
	do("vm.stop.done")
	want(t, "the host after the stop, before the row says so", keys(h), "")
	w.rows["VmInstance"][0]["state"], w.rows["VmInstance"][0]["hostUuid"] = "Stopped", ""
	run(t, s)
	want(t, "what is remembered of guests that do not run", len(s.moving), 0)
	h.fail = onFire
	if _, err := o.DoPoint(t.Context(), &pluginv1.DoPointRequest{Point: "vm.start.nics-ready", Subject: about}); err == nil {
		t.Error("a guest may start though its host does not filter")
	}
}

// Before a guest that runs can use a new NIC its host has the rules, for the groups that
// its tags name; when that fails, or the NIC has gone, it has them no more, though the
// guest runs on.
func TestPointsOfNICs(t *testing.T) {
	w := newWorld()
	h := w.host("h1")
	w.group("g", "")
	w.guest(1, "h1", "g")
	w.rows["VmInstance"][0]["lastHostUuid"] = "h1"
	w.add("VmNic", map[string]any{"uuid": "n2", "vmInstanceUuid": "vm1", "l3NetworkUuid": "l3", "ip": "10.0.0.2", "mac": "fa:16:3e:00:00:02", "internalName": "tap2"})
	w.add("SystemTag", map[string]any{"tag": "l3::l3::SecurityGroupUuids::g"})
	s := w.passes()
	made := func(_ context.Context, c *pluginv1.RowChanges) error {
		for _, p := range c.GetPuts() {
			w.add(p.GetType(), map[string]any{"uuid": p.GetUuid(), "vmNicUuid": "n2", "securityGroupUuid": "g", "priority": 1})
		}
		return nil
	}
	core := w.core()
	core.OnPut, core.OnGet = made, func(context.Context, string, string) (*pluginv1.Resource, error) { return &pluginv1.Resource{}, nil }
	s.graph = graph{core}
	o := &observer{s}
	about := &pluginv1.PointSubject{Type: "VmInstance", Uuid: "vm1", HostUuid: "h1", Nics: []*pluginv1.PointNIC{{Uuid: "n2", L3NetworkUuid: "l3"}}}
	do := func(point string) {
		t.Helper()
		if _, err := o.DoPoint(t.Context(), &pluginv1.DoPointRequest{Point: point, Subject: about}); err != nil {
			t.Fatal(err)
		}
	}
	undo := func(point string) {
		t.Helper()
		if _, err := o.UndoPoint(t.Context(), &pluginv1.UndoPointRequest{Point: point, Subject: about}); err != nil {
			t.Fatal(err)
		}
	}
	do("nic.attach.begin")
	want(t, "the host before the NIC is there", keys(h), "group-g nic-n1 nic-n2")
	undo("nic.attach.begin")
	want(t, "the host after the undo", keys(h), "group-g nic-n1")
	do("nic.attach.begin")
	do("nic.detach.done")
	want(t, "the host after the NIC, before its row is gone", keys(h), "group-g nic-n1")
	undo("nic.detach.done")
	want(t, "the host when the NIC stays", keys(h), "group-g nic-n1 nic-n2")
	h.fail = onFire
	w.guest(3, "h1", "g")
	if _, err := o.DoPoint(t.Context(), &pluginv1.DoPointRequest{Point: "nic.attach.begin", Subject: about}); err == nil {
		t.Error("a guest gets a NIC though its host does not filter")
	}
}

// While a guest moves, both hosts have the rules; then only the one where its row says it
// is, whether it has moved or not.
func TestPointsOfGuestsThatMove(t *testing.T) {
	w := newWorld()
	h1, h2 := w.host("h1"), w.host("h2")
	w.group("g", "")
	nic := w.guest(1, "h1", "g")
	s := w.passes()
	o := &observer{s}
	about := &pluginv1.PointSubject{Type: "VmInstance", Uuid: "vm1", HostUuid: "h2", SourceHostUuid: "h1", Nics: []*pluginv1.PointNIC{{Uuid: nic}}}
	ready := &pluginv1.DoPointRequest{Point: "vm.migrate.nics-ready", Subject: about}
	do := func(req *pluginv1.DoPointRequest) {
		t.Helper()
		if _, err := o.DoPoint(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	row := w.rows["VmInstance"][0]
	row["state"] = "Migrating"
	do(ready)
	run(t, s)
	want(t, "the host that it comes from, before", keys(h1), "group-g nic-n1")
	want(t, "the host that it moves to, before", keys(h2), "group-g nic-n1")
	if _, err := o.UndoPoint(t.Context(), &pluginv1.UndoPointRequest{Point: ready.Point, Subject: about}); err != nil {
		t.Fatal(err)
	}
	want(t, "the host that it stays on", keys(h1), "group-g nic-n1")
	want(t, "the host that it did not move to", keys(h2), "")
	do(ready)
	row["state"], row["hostUuid"] = "Running", "h2"
	do(&pluginv1.DoPointRequest{Point: "vm.migrate.done", Subject: about})
	want(t, "the host that it has left", keys(h1), "")
	want(t, "the host that it is on", keys(h2), "group-g nic-n1")
	want(t, "what is remembered", len(s.arriving)+len(s.moving), 0)
	h2.fail = onFire
	run(t, s)
	h1.fail = onFire
	about.HostUuid, about.SourceHostUuid = "h1", "h2"
	if _, err := o.DoPoint(t.Context(), ready); err == nil {
		t.Error("a guest may move though its new host does not filter")
	}
}

// Many who ask at once share passes, and each sees what was there when it asked.
func TestPassesAreShared(t *testing.T) {
	w := newWorld()
	h := w.host("h1")
	w.group("g", "")
	s := w.passes()
	run(t, s)
	const many = 200
	var wait sync.WaitGroup
	failed := make(chan error, many)
	for n := range many {
		wait.Go(func() {
			nic := w.guest(n+1, "h1", "g")
			p, err := s.run(t.Context())
			if err == nil {
				err = s.wait(t.Context(), p, "")
			}
			if err == nil && !slices.Contains(h.keys(), nicKey(nic)) {
				err = fmt.Errorf("%s is not on its host", nic)
			}
			failed <- err
		})
	}
	wait.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			t.Error(err)
		}
	}
	if s.number > many/2 {
		t.Errorf("%d asked, and there were %d passes", many, s.number)
	}
}

// How long it takes to tell ten hosts of one member more of a thousand, and one host of
// 5,000 NICs, without the hosts' part.
func TestScale(t *testing.T) {
	w := newWorld()
	for n := range 10 {
		w.host(fmt.Sprintf("h%d", n))
	}
	w.group("g", "g")
	for n := range 1000 {
		w.guest(n, fmt.Sprintf("h%d", n%10), "g")
	}
	s := w.passes()
	run(t, s)
	begin := time.Now()
	w.guest(1000, "h0", "g")
	run(t, s)
	t.Logf("one member more of 1,000 on 10 hosts: %s", time.Since(begin))
	for uuid, h := range w.hosts {
		if n := len(h.has["set-g"].GetFilterSet().GetAddresses()); n != 1002 { // with the gateway
			t.Errorf("host %s has %d addresses", uuid, n)
		}
	}
	for n := range 4000 {
		w.guest(2000+n, "h1", "g")
	}
	begin = time.Now()
	run(t, s)
	t.Logf("4,000 NICs more on one host: %s", time.Since(begin))
}

func TestWaitEndsWithItsContext(t *testing.T) {
	w := newWorld()
	h := w.host("h1")
	w.group("g", "")
	w.guest(1, "h1", "g")
	hold := make(chan struct{})
	h.fail = func() error { <-hold; return nil }
	s := w.passes()
	p, err := s.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := contextOf(t)
	cancel()
	if err := s.wait(ctx, p, ""); errs.ClassOf(err) != errs.Timeout {
		t.Errorf("error %v", err)
	}
	close(hold)
	if err := errors.Join(s.wait(t.Context(), p, "")); err != nil {
		t.Error(err)
	}
}

// A purge tells each host that it has nothing, those too of which this process knows
// nothing.
func TestPurge(t *testing.T) {
	w := newWorld()
	h1, h2 := w.host("h1"), w.host("h2")
	w.group("g", "")
	w.guest(1, "h1", "g")
	s := w.passes()
	run(t, s)
	h2.told()
	_, err := h2.Sync(t.Context(), &hostv1.SyncRequest{Owner: owner, Fragments: []*hostv1.Fragment{{Key: "nic-old"}}})
	w.drop(typeGroup, "g")
	w.drop(typeMember, "n1g")
	if err == nil {
		err = s.sweep(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	want(t, "the first host", keys(h1), "")
	want(t, "the second host", keys(h2), "")
	h1.fail = onFire
	if err := s.sweep(t.Context()); errs.ClassOf(err) != errs.Internal || !strings.Contains(err.Error(), "h1") {
		t.Errorf("a host that fails: %v", err)
	}
}

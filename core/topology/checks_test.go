package topology_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/event"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/topology"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

const connection = "connection"

// checks are those of the site's host, by name, without those of other services.
func (c *cloud) checks() map[string]*topology.HostCheck {
	c.t.Helper()
	rows, err := store.Find(c.Context(), c.Store, topology.HostCheckType, "`hostUuid` = ? AND `name` NOT IN (?)", c.s.Host,
		[]string{"networks", "network services", "primary storage", "guests"})
	if err != nil {
		c.t.Fatal(err)
	}
	by := map[string]*topology.HostCheck{}
	for _, row := range rows {
		if by[row.Name] != nil {
			c.t.Errorf("%s is there twice", row.Name)
		}
		by[row.Name] = row
	}
	return by
}

// check wants a check to be in a state, with some words in its reason.
func (c *cloud) check(name, state string, words ...string) *topology.HostCheck {
	c.t.Helper()
	row := c.checks()[name]
	if row == nil || row.State != state || (row.Reason == "") != (len(words) == 0) {
		c.t.Fatalf("%s is %+v, want it %s", name, row, state)
	}
	for _, w := range words {
		if !strings.Contains(row.Reason, w) {
			c.t.Errorf("%s has the reason %q, without %q", name, row.Reason, w)
		}
	}
	return row
}

// A host is Connected while what is required holds; what is not is only shown. Both
// are shown with the first look that finds them.
func TestConnectedIsTheSumOfChecks(t *testing.T) {
	c := newCloud(t)
	ping := c.Topology.Ping()
	for _, name := range []string{connection, kerneltest.FakeRequired} {
		c.want(name+" is required", c.check(name, "Ok").Required, true)
	}
	c.want("paint is required", c.check(kerneltest.FakeOptional, "Ok").Required, false)

	c.World.Check(c.s.Host, kerneltest.FakeOptional, "it is scratched")
	for range 4 {
		ping(t.Context())
	}
	c.check(kerneltest.FakeOptional, "Failed", "it is scratched")
	c.check(connection, "Ok")
	c.want("status", c.host().Text("status"), "Connected")

	c.World.Check(c.s.Host, kerneltest.FakeRequired, "it does not run")
	c.Calls.Fail("ConnectHost", errs.New(errs.Unavailable, "the host", "no spark").OfCheck(kerneltest.FakeRequired))
	ping(t.Context())
	c.check(kerneltest.FakeRequired, "Failed", "it does not run")
	c.check(connection, "Failed", "it does not run")
	ping(t.Context())
	c.want("status", c.host().Text("status"), "Connected")
	ping(t.Context())
	c.becomes("Disconnected")
	c.Until("the try to connect is told", func() bool { return strings.Contains(c.checks()[connection].Reason, "no spark") })
	c.check(kerneltest.FakeRequired, "Failed", "no spark")
	c.check(kerneltest.FakeOptional, "Unknown", "Disconnected")

	c.Calls.Fail("ConnectHost", nil)
	c.Refused(errs.Unavailable, "APIReconnectHostMsg", P{"uuid": c.s.Host}, "it does not run") // as it says itself when it is connected
	c.check(kerneltest.FakeRequired, "Failed", "it does not run")
	c.World.Check(c.s.Host, kerneltest.FakeRequired, "")
	c.becomes("Connected")
	c.Until("all is well", func() bool { return c.checks()[connection].State == "Ok" })
	c.check(kerneltest.FakeRequired, "Ok")
	c.check(kerneltest.FakeOptional, "Failed", "it is scratched")
}

// An error that names no check is one of the connection.
func TestSilentHostTellsItsReason(t *testing.T) {
	c := newCloud(t)
	c.Calls.Fail("CheckHost", silent())
	c.Topology.Ping()(t.Context())
	c.check(connection, "Failed", "does not answer")
	c.check(kerneltest.FakeRequired, "Ok")
	c.Calls.Fail("CheckHost", nil)
	c.Topology.Ping()(t.Context())
	c.check(connection, "Ok")
}

// A look that finds what is known writes nothing; its time is written later, for
// all at once, and is no event.
func TestAgesOfChecks(t *testing.T) {
	c := newCloud(t)
	old := time.Now().Add(-time.Hour).UnixMilli()
	c.set("UPDATE `HostCheck` SET `lastOpDate` = ?, `sinceDate` = ?", old, old)
	events, _ := c.Events.Read("")
	defer events.Close()
	c.Topology.Ping()(t.Context())
	c.want("last look before it is saved", c.check(connection, "Ok").LastOpDate, resource.UnixMilli(old))
	if err := c.Topology.SaveAges(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, row := range c.checks() {
		if age := time.Since(row.LastOpDate.Time); age > time.Minute || age < 0 {
			t.Errorf("%s was seen %s ago", name, age)
		}
		c.want("since", row.SinceDate, resource.UnixMilli(old))
	}
	c.Topology.Checked(t.Context(), c.s.Host, contract.HostCheck{Name: "moon", ResourceUUID: c.s.Zone, Reason: "it is away"})
	told := 0
	list, _ := events.Next(t.Context(), make([]event.Event, 64), time.Minute)
	for _, e := range list {
		if e.Type == "HostCheck" {
			told++
			c.want("event", e.Verb, store.Created)
		}
	}
	c.want("events of checks", told, 1)
}

// What other services found is beside it, stays while the host answers, and goes
// with the host; of a host that is gone nothing is kept.
func TestChecksOfServices(t *testing.T) {
	c := newCloud(t)
	tell := func(reason string) {
		c.Topology.Checked(t.Context(), c.s.Host, contract.HostCheck{Name: "moon", ResourceUUID: c.s.Zone, Reason: reason})
	}
	tell("it is away")
	c.Topology.Ping()(t.Context())
	since := c.check("moon", "Failed", "it is away").SinceDate
	tell("it is still away")
	c.want("since", c.check("moon", "Failed", "it is still away").SinceDate, since)
	tell(strings.Repeat("ü", 3000))
	c.check("moon", "Failed", "ü …")
	tell("")
	c.check("moon", "Ok")
	row := c.List("HostCheck", "hostUuid="+c.s.Host, "name=moon")[0]
	c.want("what it is about", row.Text("resourceUuid"), c.s.Zone)
	err := c.Store.Update(t.Context(), func(tx *store.Tx) error { return c.Topology.Unchecked(t.Context(), tx, c.s.Host, "moon", c.s.Zone) })
	if err != nil || c.checks()["moon"] != nil {
		t.Errorf("it is still there: %v", err)
	}
	tell("it is back")
	c.Do("APIDeleteHostMsg", P{"uuid": c.s.Host})
	tell("it is late")
	c.want("checks of a host that is gone", len(c.checks()), 0)
}

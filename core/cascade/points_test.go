package cascade_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/assembly/cloudtest"
	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

type P = cloudtest.P

// told returns the subjects of calls, sorted.
func told(c *cloudtest.Cloud, method string) string {
	var list []string
	for _, m := range c.Calls.Of(method) {
		r := m.(interface{ GetSubject() *pluginv1.PointSubject })
		list = append(list, r.GetSubject().GetType()+" "+r.GetSubject().GetUuid())
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// Plugins are told of what a delete takes with it, before anything is deleted, and
// of rows without a world as well.
func TestPointsOfADelete(t *testing.T) {
	c := cloudtest.NewObserved(t, kerneltest.AtPoints("Cluster.delete.begin", "Host.delete.begin")...)
	s := c.Site()
	lone := c.Cluster(s.Zone)
	c.Do("APIDeleteClusterMsg", P{"uuid": lone})
	c.Want("told of rows", told(c, "DoPoint"), "Cluster "+lone)
	c.Calls.Forget()
	c.Do("APIDeleteZoneMsg", P{"uuid": s.Zone})
	c.Want("told with their zone", told(c, "DoPoint"), "Cluster "+s.Cluster+", Host "+s.Host)
	c.Want("undone", told(c, "UndoPoint"), "")
}

// A plugin that refuses keeps everything, and what was done is undone; with
// Enforcing it is passed over.
func TestPointRefusesADelete(t *testing.T) {
	c := cloudtest.NewObserved(t, kerneltest.AtPoints("Cluster.delete.begin", "Host.delete.begin")...)
	s := c.Site()
	c.Calls.Fail("DoPoint", errs.New(errs.Refused, "plugin", "not today"))
	c.Refused(errs.Refused, "APIDeleteZoneMsg", P{"uuid": s.Zone}, "not today")
	c.Want("hosts", len(c.List("Host")), 1)
	c.Want("undone", told(c, "UndoPoint"), "Cluster "+s.Cluster+", Host "+s.Host)
	c.Do("APIDeleteZoneMsg", P{"uuid": s.Zone, "deleteMode": "Enforcing"})
	c.Want("hosts", len(c.List("Host")), 0)
}

// When a delete fails half-way, plugins undo their steps for what is still there.
func TestPointsOfWhatStays(t *testing.T) {
	c := cloudtest.NewObserved(t, kerneltest.AtPoints("Cluster.delete.begin", "Host.delete.begin")...)
	s := c.Site()
	c.Calls.Fail("DisconnectHost", errs.New(errs.Unavailable, "host", "on fire"))
	c.Refused(errs.Unavailable, "APIDeleteZoneMsg", P{"uuid": s.Zone}, "on fire")
	c.Want("undone", told(c, "UndoPoint"), "Cluster "+s.Cluster+", Host "+s.Host)
}

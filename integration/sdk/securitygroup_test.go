package sdk

import (
	"net/http"
	"strings"
	"testing"

	"github.com/terraform-zstack-modules/zstack-sdk-go/pkg/client"
	"github.com/terraform-zstack-modules/zstack-sdk-go/pkg/param"
	"github.com/terraform-zstack-modules/zstack-sdk-go/pkg/view"

	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// The SDK's calls for security groups, of which the core knows nothing. The guest is
// stopped: what filters do is another test's.
func TestSecurityGroups(t *testing.T) {
	for name, db := range map[string]func(t *testing.T) string{
		"SQLite":  func(*testing.T) string { return "" },
		"MariaDB": func(t *testing.T) string { return mariadb.Start(t) },
	} {
		t.Run(name, func(t *testing.T) { securityGroups(t, db(t)) })
	}
}

func securityGroups(t *testing.T, db string) {
	s := server.Start(t, server.Options{Plugins: []string{"simulator", "securitygroup"}, DB: db})
	cloud, err := wire.NewCloud(t.Context(), s.Client, wire.Spec{Hosts: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Client.AttachServices(t.Context(), cloud.L3Network, "SecurityGroup", "SecurityGroup"); err != nil {
		t.Fatal(err)
	}
	vm := cloud.VM("web")
	vm["strategy"] = "CreateStopped"
	uuid, err := s.Client.Create(t.Context(), wire.VMs, vm)
	if err != nil {
		t.Fatal(err)
	}
	othersGroup(t, s, cloud)
	c := (&Backend{Server: s}).login(t)
	g := group(t, c)
	other := need(c.CreateSecurityGroup(param.CreateSecurityGroupParam{Params: param.CreateSecurityGroupDetailParam{Name: "other"}}))(t)
	rules(t, c, g.UUID, other.UUID)
	members(t, c, g.UUID, uuid)

	check(t, "groups named web", len(need(c.QuerySecurityGroup(q("name=web")))(t)), 1)
	if err := c.DeleteSecurityGroup(other.UUID, param.DeleteModePermissive); err != nil {
		t.Fatal(err)
	}
	left := need(c.QuerySecurityGroupRule(q("securityGroupUuid="+g.UUID, "remoteSecurityGroupUuid="+other.UUID)))(t)
	check(t, "rules that name the group that is gone", len(left), 0)
	if err := c.DeleteSecurityGroup(g.UUID, param.DeleteModePermissive); err != nil {
		t.Fatal(err)
	}
	check(t, "rules that are left", len(need(c.QuerySecurityGroupRule(q()))(t)), 0)
}

// othersGroup: a tag makes nobody a member of another account's group.
func othersGroup(t *testing.T, s *server.Server, cloud *wire.Cloud) {
	t.Helper()
	ctx := t.Context()
	post := func(c *wire.Client, path string, p wire.Params, tags ...string) error {
		_, err := c.Call(ctx, http.MethodPost, path, map[string]any{"params": p, "systemTags": tags})
		return err
	}
	const password = "0123456789abcdef"
	if err := post(s.Client, "/accounts", wire.Params{"name": "guest", "password": wire.HashPassword(password)}); err != nil {
		t.Fatal(err)
	}
	share := wire.Params{"resourceUuids": []string{cloud.Image, cloud.L3Network}, "toPublic": true}
	if _, err := s.Client.Act(ctx, "/accounts/resources", "shareResource", share); err != nil {
		t.Fatal(err)
	}
	other := wire.New(s.URL)
	if err := other.Login(ctx, "guest", password); err != nil {
		t.Fatal(err)
	}
	theirs, err := s.Client.Create(ctx, "/security-groups", wire.Params{"name": "admin's"})
	if err != nil {
		t.Fatal(err)
	}
	own, err := other.Create(ctx, "/security-groups", wire.Params{"name": "own"})
	if err != nil {
		t.Fatal(err)
	}
	// The simulated host filters nothing: with a group of its own the guest gets as far.
	for group, want := range map[string]string{theirs: "another account", own: "host-gateway"} {
		err := post(other, wire.VMs, cloud.VM("intruder"), "l3::"+cloud.L3Network+"::SecurityGroupUuids::"+group)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a guest in group %s: %v, not %s", group, err, want)
		}
		if n, err := s.Client.Count(ctx, "/security-groups/vm-instances/nics"); err != nil || n > 0 {
			t.Errorf("%d members are left, %v", n, err)
		}
	}
	for _, uuid := range []string{theirs, own} {
		if err := s.Client.Delete(ctx, "/security-groups/"+uuid); err != nil {
			t.Fatal(err)
		}
	}
}

// need is must for the results of a call.
func need[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T { t.Helper(); return must(t, value, err) }
}

func group(t *testing.T, c *client.ZSClient) *view.SecurityGroupInventoryView {
	t.Helper()
	g, err := c.CreateSecurityGroup(param.CreateSecurityGroupParam{Params: param.CreateSecurityGroupDetailParam{Name: "web", Description: "d", IpVersion: 4}})
	if err != nil {
		t.Fatal(err)
	}
	check(t, "state", g.State, "Enabled")
	check(t, "rules of a new group", len(g.Rules), 4)
	for _, r := range g.Rules {
		check(t, "what a default rule is", r.Protocol+r.Action+r.RemoteSecurityGroupUuid, "ALLACCEPT"+g.UUID)
	}
	for _, event := range []param.StateEvent{"disable", "enable"} {
		changed, err := c.ChangeSecurityGroupState(param.ChangeSecurityGroupStateParam{SecurityGroupUuid: g.UUID,
			ChangeImageState: param.ChangeSecurityGroupStateDetailParam{StateEvent: event}})
		if err != nil {
			t.Fatal(err)
		}
		check(t, "state", strings.ToLower(changed.State), string(event)+"d")
	}
	got, err := c.GetSecurityGroup(g.UUID)
	return must(t, got, err)
}

func rules(t *testing.T, c *client.ZSClient, group, other string) {
	t.Helper()
	add := func(priority int, rules ...param.AddSecurityGroupRule) (*view.SecurityGroupInventoryView, error) {
		return c.AddSecurityGroupRule(group, param.AddSecurityGroupRuleParam{Params: param.AddSecurityGroupRuleDetailParam{Rules: rules, Priority: priority}})
	}
	web := param.AddSecurityGroupRule{RuleType: "Ingress", State: "Enabled", IpVersion: 4, Protocol: "TCP", SrcIpRange: "10.0.0.0/8,192.0.2.1-192.0.2.9", Action: "ACCEPT",
		DstPortRange: "80,8000-8100"}
	remote := param.AddSecurityGroupRule{RuleType: "Ingress", Protocol: "ICMP", RemoteSecurityGroupUuid: other}
	g, err := add(0, web, remote)
	check(t, "rules", len(must(t, g, err).Rules), 6)
	for what, bad := range map[string]param.AddSecurityGroupRule{
		"twice":     web,
		"no port":   {RuleType: "Ingress", Protocol: "TCP"},
		"ports":     {RuleType: "Ingress", Protocol: "ICMP", DstPortRange: "80"},
		"direction": {RuleType: "Egress", Protocol: "ALL", SrcIpRange: "10.0.0.1"},
		"both":      {RuleType: "Ingress", Protocol: "ALL", SrcIpRange: "10.0.0.1", RemoteSecurityGroupUuid: other},
		"family":    {RuleType: "Ingress", Protocol: "ALL", IpVersion: 6, SrcIpRange: "10.0.0.1"},
		"no group":  {RuleType: "Ingress", Protocol: "ALL", RemoteSecurityGroupUuid: strings.Repeat("a", 12) + "4aaa8" + strings.Repeat("a", 15)},
		"word":      {RuleType: "Sideways", Protocol: "ALL"},
	} {
		if _, err := add(0, bad); err == nil {
			t.Errorf("a rule was accepted: %s", what)
		}
	}
	g, err = add(1, param.AddSecurityGroupRule{RuleType: "Ingress", Protocol: "UDP", DstPortRange: "53", Action: "DROP"})
	must(t, g, err)
	in := need(c.QuerySecurityGroupRule(q("securityGroupUuid="+group, "type=Ingress", "priority>0")))(t)
	check(t, "ingress rules", len(in), 3)
	at := map[int]view.SecurityGroupRuleInventoryView{}
	for _, r := range in {
		at[int(r.Priority)] = r
	}
	check(t, "the first", at[1].Protocol+at[1].Action, "UDPDROP")
	check(t, "the second's addresses", at[2].SrcIpRange+" "+at[2].DstPortRange, "10.0.0.0/8,192.0.2.1-192.0.2.9 80,8000-8100")
	changed, err := c.UpdateSecurityGroupRule(at[2].UUID, param.UpdateSecurityGroupRuleParam{ChangeSecurityGroupRule: param.UpdateSecurityGroupRuleDetailParam{
		Priority: 1, State: "Disabled", SrcIpRange: "10.1.0.0/16"}})
	check(t, "the new range", must(t, changed, err).SrcIpRange+changed.State, "10.1.0.0/16Disabled")
	first, err := c.GetSecurityGroupRule(at[1].UUID)
	check(t, "the place of the one that was first", int(must(t, first, err).Priority), 2)
	if err := c.DeleteSecurityGroupRule(at[2].UUID); err != nil {
		t.Fatal(err)
	}
	first, err = c.GetSecurityGroupRule(at[1].UUID)
	check(t, "its place again", int(must(t, first, err).Priority), 1)
	for _, r := range need(c.QuerySecurityGroupRule(q("securityGroupUuid="+group, "priority=0")))(t) {
		if err := c.DeleteSecurityGroupRule(r.UUID); err == nil {
			t.Error("a default rule was deleted")
		}
	}
}

func members(t *testing.T, c *client.ZSClient, group, vm string) {
	t.Helper()
	candidates := func() int { return len(need(c.GetCandidateVmNicForSecurityGroup(group))(t)) }
	check(t, "candidates", candidates(), 1)
	got, err := c.GetVmInstance(vm)
	nics := []string{must(t, got, err).VMNics[0].UUID}
	join := param.AddVmNicToSecurityGroupParam{Params: param.AddVmNicToSecurityGroupDetailParam{VmNicUuids: nics}}
	for range 2 { // a repeat changes nothing
		if err := c.AddVmNicToSecurityGroup(group, join); err != nil {
			t.Fatal(err)
		}
	}
	check(t, "candidates that are left", candidates(), 0)
	check(t, "groups by their member", len(need(c.QuerySecurityGroup(q("vmNic.vmInstanceUuid="+vm)))(t)), 1)
	for range 2 {
		if err := c.DeleteVmNicFromSecurityGroup(group, nics); err != nil {
			t.Fatal(err)
		}
	}
	check(t, "candidates again", candidates(), 1)
	if err := c.AddVmNicToSecurityGroup(group, join); err != nil {
		t.Fatal(err)
	}
}

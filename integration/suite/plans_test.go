package suite

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// branch is a resource of a plan.
type branch struct {
	Type, Name, Action string
	UUID               string
	Children           []branch
}

// String writes a tree with what it does: "Zone keep (Cluster delete)".
func (b branch) String() string {
	text := b.Type + " " + b.Action
	if len(b.Children) > 0 {
		var parts []string
		for _, c := range b.Children {
			parts = append(parts, c.String())
		}
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	return text
}

// plan asks for the plan of a delete. The objections are one a line.
func (l *lab) plan(path string) (tree branch, objections string) {
	l.Helper()
	query := "?"
	if strings.Contains(path, "?") {
		query = "&"
	}
	status, body := l.raw(http.MethodDelete, path+query+"plan=true", nil, nil)
	var answer struct {
		Plan struct {
			branch
			Objections []struct{ Reason string }
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil || status != http.StatusOK {
		l.Errorf("plan of %s: %d %s %v", path, status, body, err)
	}
	for _, o := range answer.Plan.Objections {
		objections += o.Reason + "\n"
	}
	return answer.Plan.branch, objections
}

// Whatever a message takes away, its plan says just that, and changes nothing.
func TestPlans(t *testing.T) {
	each(t, false, func(l *lab) {
		vm, other := l.vm("running", nil), l.vm("other", nil)
		net := wire.L3Networks + "/" + l.cloud.L3Network
		l.create(net+"/dns", wire.Params{"dns": "9.9.9.9"})
		l.create(net+"/dns", wire.Params{"dns": "8.8.4.4"})
		l.create(net+"/hostroute", wire.Params{"prefix": "10.9.0.0/16", "nexthop": "10.0.0.7"})
		tag := l.create("/user-tags", wire.Params{"resourceType": "ZoneVO", "resourceUuid": l.cloud.Zone, "tag": "t"})
		l.act("/resource-configurations/vm/deletionPolicy/"+vm.text("uuid"), "updateResourceConfig", wire.Params{"value": "Direct"})
		poor := l.create("/accounts", wire.Params{"name": "poor", "password": wire.HashPassword("poor")})
		session := l.login("poor", "poor").Session()
		before := l.s.Counts(l.db)
		for path, want := range map[string]string{
			net + "/dns/9.9.9.9":                                                                "L3Network keep (L3NetworkDns delete)",
			net + "/dns/1.1.1.1":                                                                "L3Network keep",
			net + "/hostroute?prefix=10.9.0.0/16":                                               "L3Network keep (L3NetworkHostRoute delete)",
			net + "/network-services/DHCP":                                                      "L3Network keep (NetworkServiceL3NetworkRef delete)",
			net + "/network-services?service=DHCP":                                              "L3Network keep (NetworkServiceL3NetworkRef delete)",
			net + "/network-services/HostRoute":                                                 "L3Network keep",
			"/tags/" + tag.text("uuid"):                                                         "UserTag delete",
			"/accounts/sessions/" + session:                                                     "Session delete",
			"/accounts" + "/" + poor.text("uuid"):                                               "Account delete (Session delete)",
			"/resource-configurations/vm/deletionPolicy/" + vm.text("uuid"):                     "VmInstance keep (ResourceConfig delete)",
			"/resource-configurations/vm/deletionPolicy/" + other.text("uuid"):                  "VmInstance keep",
			wire.Zones + "/" + l.cloud.Zone + wire.BackupStorages + "/" + l.cloud.BackupStorage: "BackupStorage keep (BackupStorageZoneRef delete)",
			wire.Images + "/" + l.cloud.Image + "?backupStorageUuids=" + l.cloud.BackupStorage:  "Image delete (ImageBackupStorageRef delete)",
		} {
			tree, against := l.plan(path)
			if tree.String() != want || against != "" {
				l.Errorf("plan of %s:\n%s %s\nwant %s", path, tree, against, want)
			}
			if text := fmt.Sprint(tree.Children); strings.Contains(text, session) {
				l.Errorf("the plan of %s shows a session: %s", path, text)
			}
		}
		for path, x := range map[string][2]string{
			wire.L2Networks + "/" + l.cloud.L2Network + wire.Clusters + "/" + l.cloud.Cluster:           {"L2Network keep (L2NetworkClusterRef delete)", " of the cluster is plugged in"},
			wire.Clusters + "/" + l.cloud.Cluster + wire.PrimaryStorages + "/" + l.cloud.PrimaryStorage: {"PrimaryStorage keep (PrimaryStorageClusterRef delete)", " of the cluster runs on it"},
			"/accounts" + "/" + adminUUID: {"Account delete", "the admin account cannot be deleted"},
			net:                           {"L3Network delete", "has a NIC in it"},
			wire.L3Networks + "/ip-ranges/" + l.cloud.IPRange: {"IpRange delete", "is in use by NIC"},
		} {
			tree, against := l.plan(path)
			if !strings.HasPrefix(tree.String(), x[0]) || !strings.Contains(against, x[1]) {
				l.Errorf("plan of %s:\n%s\n%s\nwant %s\n%s", path, tree, against, x[0], x[1])
			}
		}
		for _, d := range server.Differences(before, l.s.Counts(l.db)) {
			l.Errorf("a plan changed something: %s", d)
		}
	})
}

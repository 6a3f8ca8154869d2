package compute_test

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/kernel/kerneltest"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// What the system tags of a guest say reaches those who do it, when it is made
// and whenever it is started.
func TestTagsReachTheHost(t *testing.T) {
	c := newCloud(t)
	c.services()
	key := c.Create("APICreateSshKeyPairMsg", P{"name": "key", "publicKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGnnEdiCwzVGSsyTJQmvnBDlyD1Qu6n+SgZqVhdaiHCH me"})
	data := base64.StdEncoding.EncodeToString([]byte("#cloud-config"))
	uuid := c.run(P{"systemTags": []string{"userdata::" + data, "hostname::web", "consolePassword::secret", "bootOrder::Network,HardDisk",
		"bootMode::UEFI", "staticIp::" + c.s.L3 + "::10.0.0.77", "customMac::" + c.s.L3 + "::fa:00:00:00:00:77"}, "sshKeyPairUuids": []string{key}})
	check := func(when string) {
		t.Helper()
		vm := c.started()
		c.Want("boot order "+when, fmt.Sprint(vm.GetBootOrder()), "[network hd]")
		c.Want("password "+when, vm.GetConsolePassword(), "secret")
		c.Want("firmware "+when, vm.GetFirmware(), "uefi")
		c.Want("MAC "+when, vm.GetNics()[0].GetMac(), "fa:00:00:00:00:77")
		r := kerneltest.LastTold(c.Calls, kerneltest.Applies)
		nic := r.NICs[0]
		c.Want("address "+when, nic.GetIp(), "10.0.0.77")
		c.Want("host name "+when, nic.GetHostname(), "web")
		c.Want("user data "+when, string(nic.GetUserData()), "#cloud-config")
		c.Want("keys "+when, len(nic.GetSshKeys()), 1)
	}
	check("at first")
	c.do("Stop", uuid)
	c.do("Start", uuid)
	check("later")
}

// Images that bring no drivers get devices that every system knows, unless the
// guest says otherwise.
func TestDevices(t *testing.T) {
	c := newCloud(t)
	other := c.Create("APIAddImageMsg", P{"name": "old", "url": "http://127.0.0.1/old", "format": "raw", "platform": "Windows", "virtio": false,
		"backupStorageUuids": []string{c.s.Backup}})
	for _, x := range []struct {
		why       string
		more      P
		bus, card string
	}{
		{"image with drivers", nil, "", "virtio"},
		{"image without drivers", P{"imageUuid": other}, "sata", "e1000"},
		{"image without drivers, guest with them", P{"imageUuid": other, "virtio": true}, "", "virtio"},
		{"image without drivers, tag that says so", P{"imageUuid": other, "systemTags": []string{"driver::virtio"}}, "", "virtio"},
		{"Linux without drivers", P{"virtio": false}, "", "virtio"},
		{"platform without drivers", P{"virtio": false, "platform": "Other"}, "sata", "e1000"},
		{"tag", P{"systemTags": []string{"driver::emulated"}}, "sata", "e1000"},
	} {
		c.run(x.more)
		c.Want("bus: "+x.why, c.started().GetDisks()[0].GetBus(), x.bus)
		c.Want("card: "+x.why, c.started().GetNics()[0].GetDriver(), x.card)
	}
}

// A guest is made, and later started, where the hypervisor has what its tags ask
// for; where none has, it is refused and nothing is taken. A guest whose system
// only brings no drivers runs there nevertheless, with the usual devices.
func TestTagsFindTheirHypervisor(t *testing.T) {
	c := newCloud(t)
	plain := c.Create("APICreateClusterMsg", P{"name": "plain", "zoneUuid": c.s.Zone, "hypervisorType": kerneltest.FakePlainType})
	c.Do("APIAttachL2NetworkToClusterMsg", P{"l2NetworkUuid": c.s.L2, "clusterUuid": plain})
	c.Do("APIAttachPrimaryStorageToClusterMsg", P{"clusterUuid": plain, "primaryStorageUuid": c.s.Primary})
	host := c.Create("APIAddFakePlainHostMsg", P{"name": "plain", "clusterUuid": plain, "managementIp": "10.255.1.1"})
	c.run(nil) // so that the other host is the emptier one
	for _, tag := range []string{"driver::virtio", "bootMode::UEFI"} {
		tags := P{"systemTags": []string{tag}}
		c.Want("host for "+tag, c.VM(c.s, tags).Text("hostUuid"), c.s.Host)
		before := c.Dump(taken...)
		c.Refused(errs.Refused, create, c.s.Guest(P{"systemTags": []string{tag}, "hostUuid": host}), "hypervisor FakePlain")
		c.Want("rows after "+tag, c.Dump(taken...), before)
	}
	other := c.VM(c.s, P{"platform": "Other", "virtio": false})
	c.Want("host of a system without drivers", other.Text("hostUuid"), host)
	c.Want("card of a system without drivers", c.started().GetNics()[0].GetDriver(), "")
	uuid := other.Text("uuid")
	c.do("Stop", uuid)
	c.Create("APICreateSystemTagMsg", P{"resourceType": "VmInstanceVO", "resourceUuid": uuid, "tag": "bootMode::UEFI"})
	c.Refused(errs.Refused, "APIStartVmInstanceMsg", P{"uuid": uuid}, `no boot mode "UEFI"`)
	c.Want("state", c.state(uuid), "Stopped")
}

// A second tag of a kind of which a guest has one is refused, with the message that
// makes the guest, before anything is made, and later; of two that an older version
// has left the newer counts.
func TestSecondTags(t *testing.T) {
	c := newCloud(t)
	for pattern, two := range map[string][]string{
		"userdata::{userdata}":                  {"userdata::YQ==", "userdata::Yg=="},
		"hostname::{hostname}":                  {"hostname::one", "hostname::two"},
		"consolePassword::{consolePassword}":    {"consolePassword::secret1", "consolePassword::secret2"},
		"bootOrder::{bootOrder}":                {"bootOrder::HardDisk", "bootOrder::CdRom"},
		"driver::{driver}":                      {"driver::virtio", "driver::emulated"},
		"bootMode::{bootMode}":                  {"bootMode::Legacy", "bootMode::UEFI"},
		"staticIp::{l3NetworkUuid}::{staticIp}": {"staticIp::" + c.s.L3 + "::10.0.0.77", "staticIp::" + c.s.L3 + "::10.0.0.78"},
		"customMac::{l3NetworkUuid}::{mac}":     {"customMac::" + c.s.L3 + "::fa:00:00:00:00:77", "customMac::" + c.s.L3 + "::fa:00:00:00:00:78"},
	} {
		before := c.Dump(taken...)
		_, err := c.Call(create, c.s.Guest(P{"systemTags": two}))
		if told := fmt.Sprint(err); errs.ClassOf(err) != errs.Invalid || !strings.Contains(told, "system tag "+pattern+" of VmInstance: two are given") || strings.Contains(told, "secret1") {
			t.Errorf("two of %s: %v", pattern, err)
		}
		c.Want("rows after two of "+pattern, c.Dump(taken...), before)
		uuid := c.run(P{"systemTags": []string{two[0], two[0]}}) // the same one again is no second
		c.Refused(errs.Invalid, "APICreateSystemTagMsg", P{"resourceType": "VmInstanceVO", "resourceUuid": uuid, "tag": two[1]}, "has one already")
		c.do("Destroy", uuid)
		c.do("Expunge", uuid)
	}
	settings := []string{"resourceConfig::vm::deletionPolicy::Delay", "resourceConfig::vm::deletionPolicy::Never"}
	c.Refused(errs.Invalid, create, c.s.Guest(P{"systemTags": settings}), "two are given")
	c.run(P{"systemTags": []string{settings[0], "sshkey::" + keyA, "sshkey::" + keyB}})

	uuid := c.run(P{"systemTags": []string{"bootMode::UEFI", "driver::virtio"}})
	c.do("Stop", uuid)
	c.Ok(c.Store.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE `SystemTag` SET `createDate` = 1 WHERE `resourceUuid` = ?", uuid)
		for i, text := range []string{"bootMode::Legacy", "driver::emulated"} { // an older version has accepted them
			row := &tag.SystemTag{ResourceUUID: uuid, ResourceType: "VmInstanceVO", Type: "System", Tag: text}
			row.UUID, row.AccountUUID = fmt.Sprintf("%032d", i), kerneltest.Admin
			err = cmp.Or(err, store.Insert(t.Context(), tx, tag.SystemTagType, row))
		}
		return err
	}))
	c.do("Start", uuid)
	c.Want("firmware", c.started().GetFirmware(), "bios")
	c.Want("bus", c.started().GetDisks()[0].GetBus(), "sata")
}

// A guest has the tags of its image that it is not given itself; the newest of
// one kind counts, and two that contradict are refused.
func TestTagsOfTheImage(t *testing.T) {
	c := newCloud(t)
	c.Create("APICreateSystemTagMsg", P{"resourceType": "ImageVO", "resourceUuid": c.s.Image, "tag": "bootMode::UEFI"})
	c.run(nil)
	c.Want("firmware of the image", c.started().GetFirmware(), "uefi")
	c.run(P{"systemTags": []string{"bootMode::Legacy"}})
	c.Want("firmware of its own", c.started().GetFirmware(), "bios")
	c.Refused(errs.Invalid, create, c.s.Guest(P{"systemTags": []string{"bootMode::Legacy", "bootMode::UEFI"}}), "two are given, bootMode::Legacy and another one: bootMode::UEFI")
}

// Volumes get the tags of their kind and their index.
func TestTagsOfVolumes(t *testing.T) {
	c := newCloud(t)
	const scsi = "capability::virtio-scsi"
	bus := func(more P) string {
		c.run(more)
		text := ""
		for _, d := range c.started().GetDisks() {
			text += "[" + d.GetBus() + "]"
		}
		return text
	}
	two := []int64{giB, giB}
	c.Want("root", bus(P{"dataDiskSizes": two, "rootVolumeSystemTags": []string{scsi}}), "[scsi][][]")
	c.Want("data", bus(P{"dataDiskSizes": two, "dataVolumeSystemTags": []string{scsi}}), "[][scsi][scsi]")
	c.Want("by index", bus(P{"dataDiskSizes": two, "dataVolumeSystemTagsOnIndex": map[string][]string{"1": {scsi}}}), "[][][scsi]")
	c.Refused(errs.Invalid, create, c.s.Guest(P{"dataDiskSizes": two, "dataVolumeSystemTagsOnIndex": map[string][]string{"2": {scsi}}}),
		`there is no data volume "2"`)
	c.Refused(errs.Invalid, create, c.s.Guest(P{"rootVolumeSystemTags": []string{"nonsense::1"}}), "nonsense")
}

// Tags that say nothing that can be done are refused, and so is a guest that
// would have them.
func TestTagsAreChecked(t *testing.T) {
	c := newCloud(t)
	uuid := c.run(nil)
	before := c.Dump(taken...)
	for tag, why := range map[string]string{
		"userdata::not base64!":                        "is not base64",
		"hostname::-a":                                 "is not a host name, alone or with its domain",
		"hostname::a.b":                                "has no DNS domain",
		"hostname::10.0.0.5":                           "an address, or looks like one",
		"staticIp::" + c.s.L3 + "::10.0":               "is not the IPv4 address of a machine in a network",
		"staticIp::" + c.s.L3 + "::169.254.1.1":        "a link-local address",
		"customMac::" + c.s.L3 + "::01:00:5e:00:00:01": "a multicast address",
		"customMac::" + c.s.L3 + "::00:00:00:00:00:00": "all zero",
		"sshkey::ssh-ed25519 AAAA":                     "key 1 is none",
		"sshkey::" + keyA + "\n" + "ssh-rsa AAAA":      "key 2 is none",
		"consolePassword::":                            "",
		"consolePassword::too-long-by-1":               "1 to 8 characters",
		"consolePassword::password":                    "1 to 8 characters",
		"bootOrder::HardDisk,Floppy":                   "is not one of HardDisk, CdRom, Network",
		"driver::magic":                                "is not virtio or emulated",
		"bootMode::UEFI_WITH_CSM":                      "compatibility support module",
		"bootMode::Magic":                              "is not Legacy or UEFI",
		"ha::Sometimes":                                "is not offered",
		"maxInstancePerHost::0":                        "is not a number of at least 1",
	} {
		c.Refused(errs.Invalid, create, c.s.Guest(P{"systemTags": []string{tag}}), why)
		c.Refused(errs.Invalid, "APICreateSystemTagMsg", P{"resourceType": "VmInstanceVO", "resourceUuid": uuid, "tag": tag}, why)
	}
	other := c.Create("APICreateL3NetworkMsg", P{"name": "other", "l2NetworkUuid": c.s.L2})
	for _, tag := range []string{"staticIp::" + other + "::10.0.0.20", "customMac::" + other + "::fa:00:00:00:00:01"} {
		c.Refused(errs.Invalid, create, c.s.Guest(P{"systemTags": []string{tag}}), "is not among l3NetworkUuids")
	}
	c.Want("what is there", c.Dump(taken...), before)
}

const (
	keyA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGnnEdiCwzVGSsyTJQmvnBDlyD1Qu6n+SgZqVhdaiHCH"
	keyB = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGnnEdiCwzVGSsyTJQmvnBDlyD1Qu6n+SgZqVhdaiHCI"
)

// A tag may have a file of keys, with what such files have beside keys.
func TestKeysOfAFile(t *testing.T) {
	c := newCloud(t)
	c.services()
	uuid := c.run(P{"systemTags": []string{"sshkey::# mine\r\n" + keyA + " me\r\n\r\n  # hers\r\n" + keyB + "\r\n" + keyA + " me\r\n"}})
	keys := func() string {
		r := kerneltest.LastTold(c.Calls, kerneltest.Applies)
		return strings.Join(r.NICs[0].GetSshKeys(), "|")
	}
	c.Want("the keys", keys(), keyA+" me|"+keyB)
	c.Want("the tag", c.List("SystemTag", "resourceUuid="+uuid)[0].Text("tag"), "sshkey::"+keyA+" me\n"+keyB)
	c.Create("APICreateSystemTagMsg", P{"resourceType": "VmInstanceVO", "resourceUuid": uuid, "tag": "sshkey::" + keyB + " again"})
	c.do("Stop", uuid)
	c.do("Start", uuid)
	c.Want("the keys later", keys(), keyA+" me|"+keyB+"|"+keyB+" again")
	c.Refused(errs.Invalid, create, c.s.Guest(P{"systemTags": []string{"sshkey::" + keyA + strings.Repeat("\n"+keyA, 1000)}}), "65536 characters")
}

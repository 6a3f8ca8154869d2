package compute

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/plugin"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Tag patterns of guests (spec: compute and storage, section 2.4).
const (
	tagUserData    = "userdata::{userdata}"
	tagSSHKey      = "sshkey::{sshkey}"
	tagHostname    = "hostname::{hostname}"
	tagStaticIP    = "staticIp::{l3NetworkUuid}::{staticIp}"
	tagCustomMAC   = "customMac::{l3NetworkUuid}::{mac}"
	tagConsolePass = "consolePassword::{consolePassword}"
	tagBootOrder   = "bootOrder::{bootOrder}"
	// tagDriver says which set of devices a guest sees; its hypervisor's usual one
	// without it.
	tagDriver = "driver::{driver}"
	// tagMarketplace marks a guest that came from a marketplace of images; it is
	// there to be queried and changes nothing.
	tagMarketplace = "marketplace::true"
)

// severalTags are the patterns of which a guest may have several tags: any number, or
// one for each value of a token. Of all others it has one.
var severalTags = map[string][]string{
	tagSSHKey:    nil,
	tagStaticIP:  {"l3NetworkUuid"},
	tagCustomMAC: {"l3NetworkUuid"},
}

// tagKinds are the kinds of what tokens hold.
var tagKinds = map[string]map[string]string{
	tagSSHKey:    {"sshkey": "keys"},
	tagHostname:  {"hostname": "hostname"},
	tagStaticIP:  {"staticIp": "addr4"},
	tagCustomMAC: {"mac": "mac"},
}

func (s *Service) registerTags() error {
	offers := plugin.Offers(s.generic.Declared())
	var failed error
	def := func(pattern string, validate func(tokens map[string]string) error) {
		each, several := severalTags[pattern]
		p := tag.Pattern{Resource: "VmInstance", Pattern: pattern, Validate: validate, Holds: tagKinds[pattern], Single: !several || each != nil, Each: each}
		if pattern == tagConsolePass {
			p.Secret = "consolePassword"
		}
		if pattern == tagHostname {
			p.Given = s.hostnameGiven
		}
		failed = errors.Join(failed, s.Tags.Define(p))
	}
	bad := func(field, format string, args ...any) error {
		return errs.New(errs.Invalid, "system tag "+field, format, args...)
	}
	def(tagUserData, func(t map[string]string) error {
		if _, err := base64.StdEncoding.DecodeString(t["userdata"]); err != nil {
			return bad("userdata", "its value is not base64")
		}
		return nil
	})
	def(tagSSHKey, nil)
	def(tagHostname, func(t map[string]string) error {
		if name := labelOf(t["hostname"]); ofAddress(name) {
			return bad("hostname", "names such as %s are those of guests without one, made of their addresses", name)
		}
		return nil
	})
	def(tagStaticIP, nil)
	def(tagCustomMAC, nil)
	def(tagConsolePass, func(t map[string]string) error {
		if p := t["consolePassword"]; strings.HasPrefix(p, "password") || p == "" || len(p) > offers.ConsolePassword {
			return bad("consolePassword", "has 1 to %d characters and does not start with \"password\"", offers.ConsolePassword)
		}
		return nil
	})
	def(tagBootOrder, func(t map[string]string) error {
		for _, d := range strings.Split(t["bootOrder"], ",") {
			if bootDevices[d] == "" {
				return bad("bootOrder", "%q is not one of HardDisk, CdRom, Network", d)
			}
		}
		return nil
	})
	def(tagDriver, func(t map[string]string) error {
		if !slices.Contains(offers.Devices, t["driver"]) {
			return bad("driver", "%q is not %s", t["driver"], strings.Join(offers.Devices, " or "))
		}
		return nil
	})
	def(tagMarketplace, nil)
	for _, t := range contract.ImageTags(offers.BootModes, offers.RefusedBootModes) {
		def(t.Pattern, t.Check)
	}
	return failed
}

var bootDevices = map[string]string{"HardDisk": "hd", "CdRom": "cdrom", "Network": "network"}

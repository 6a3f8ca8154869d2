package compute

import (
	"encoding/base64"
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/contract"
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

// label is one label of a DNS name (RFC 1123, section 2.1).
var label = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

func (s *Service) registerTags() error {
	offers := s.Plugins.GuestOffers()
	var failed error
	def := func(pattern string, validate func(tokens map[string]string) error) {
		p := tag.Pattern{Resource: "VmInstance", Pattern: pattern, Validate: validate}
		if pattern == tagConsolePass {
			p.Secret = "consolePassword"
		}
		p.Single = pattern == tagHostname
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
	def(tagSSHKey, func(t map[string]string) error {
		if strings.ContainsAny(t["sshkey"], "\r\n\x00") || len(t["sshkey"]) > 16384 {
			return bad("sshkey", "a key is one line of at most 16384 bytes")
		}
		return nil
	})
	def(tagHostname, func(t map[string]string) error {
		if !label.MatchString(t["hostname"]) {
			return bad("hostname", "%q is not a host name (RFC 1123)", t["hostname"])
		}
		return nil
	})
	def(tagStaticIP, func(t map[string]string) error {
		if _, err := netip.ParseAddr(t["staticIp"]); err != nil {
			return bad("staticIp", "%q is not an IP address", t["staticIp"])
		}
		return nil
	})
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

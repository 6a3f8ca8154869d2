package domain

import (
	"testing"

	"libvirt.org/go/libvirtxml"

	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// TestReportedGuests tries what people reported of guests that did not come up, or
// whose time was wrong: every new guest has what today's systems wait for.
func TestReportedGuests(t *testing.T) {
	kvm := options()
	kvm.KVM = true
	for _, arch := range []string{archX86, archARM} {
		for _, platform := range []string{"Linux", "Windows", "Other", "Paravirtualization"} {
			for _, o := range []Options{options(), kvm} {
				vm := &pluginv1.VM{Uuid: uuid, CpuNum: 1, MemoryBytes: 1 << 30, Architecture: arch, Platform: platform}
				text, err := Build(vm, o)
				if err != nil {
					t.Fatal(err)
				}
				var d libvirtxml.Domain
				if err := d.Unmarshal(text); err != nil {
					t.Fatal(err)
				}
				bad := func(report string) {
					t.Helper()
					t.Errorf("%s: %s %s, KVM %t:\n%s", report, arch, platform, o.KVM, text)
				}
				// A boot waits for random numbers, which a guest has from its host, and
				// which must not run out there:
				// https://github.com/kubevirt/kubevirt/issues/1847
				// https://github.com/gsauthof/dracut-sshd/issues/12
				// https://github.com/boot2docker/boot2docker/issues/1392
				if n := d.Devices.RNGs; len(n) != 1 || n[0].Model != "virtio" || n[0].Rate != nil || n[0].Backend.Random == nil || n[0].Backend.Random.Device != "/dev/urandom" {
					bad("https://github.com/kubevirt/kubevirt/issues/1847")
				}
				// Windows takes the clock for the local time, all others for UTC:
				// https://github.com/QubesOS/qubes-issues/issues/6280
				offset := map[bool]string{true: "localtime", false: "utc"}[platform == "Windows"]
				if d.Clock == nil || d.Clock.Offset != offset {
					bad("https://github.com/zstackio/zstack/issues/247")
				}
				// QEMU's own processor lacks what EL9 and others are built for, and "host"
				// needs KVM: https://github.com/balena-io/autohat/pull/448
				switch {
				case d.CPU == nil || d.CPU.Mode == "" || d.CPU.Model != nil && d.CPU.Model.Value == "qemu64":
					bad("https://github.com/coreos/coreos-assembler/pull/3070")
				case !o.KVM && (d.CPU.Mode == "host-model" || d.CPU.Mode == "host-passthrough"):
					bad("https://github.com/coreos/coreos-assembler/pull/3070")
				}
			}
		}
	}
}

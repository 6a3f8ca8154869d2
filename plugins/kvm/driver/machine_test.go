package driver

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/plugins/kvm/domain"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// hardware tells on the console what the guest has, and then its kernel panics.
// The console shows this text too, before it runs.
const hardware = `#!/bin/sh
grep -m1 ^flags /proc/cpuinfo
echo "clocksource: $(cat /sys/devices/system/clocksource/clocksource0/available_clocksource)"
echo "entropy: $(cat /sys/class/misc/hw_random/rng_current)"
echo "bridge: $(cat /sys/bus/pci/devices/0000:00:00.0/device)"
echo "seconds: $(date +%s)"
echo "hardware is told $((1 + 1))"
sync
echo c >/proc/sysrq-trigger
`

// v2 is what x86-64-v2 asks for beyond the first amd64, by the names of Linux.
var v2 = []string{"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}

// lineOf is what a guest told after a word.
func lineOf(t *testing.T, console, word string) []string {
	t.Helper()
	for line := range strings.Lines(console) {
		if rest, ok := strings.CutPrefix(line, word); ok {
			return strings.Fields(strings.TrimLeft(rest, "\t :"))
		}
	}
	t.Fatalf("no line %q on the console:\n%s", word, console)
	return nil
}

// A guest has what today's distributions are built for, whichever machine it has,
// and the end of its kernel is told where the machine has a device for it.
func TestGuestsHaveTodaysHardware(t *testing.T) {
	d, host := testDriver(t)
	_, err := d.ConnectHost(t.Context(), &pluginv1.ConnectHostRequest{Host: host})
	must(t, err)
	vm := withUserData(t, agentOf(t, d, host), hardware)
	t.Cleanup(func() {
		_, err := d.DisconnectHost(context.Background(), &pluginv1.DisconnectHostRequest{Host: host})
		must(t, err)
	})
	for _, c := range []struct {
		name    string
		options map[string]string
		bridge  string // PCI number of its host bridge
		model   bool   // a named processor, which has no more than its name says
	}{
		{"old", nil, "0x1237", false},
		{"new", map[string]string{domain.OptionMachine: "q35", domain.OptionProcessor: "none"}, "0x29c0", false},
		{"chosen", map[string]string{domain.OptionMachine: "q35", domain.OptionProcessor: "Nehalem"}, "0x29c0", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			states := make(chan *pluginv1.VMStatus, 100)
			watching, stop := context.WithCancel(t.Context())
			watched := make(chan error, 1)
			go func() {
				watched <- d.WatchHost(watching, &pluginv1.WatchHostRequest{Host: host}, func(s *pluginv1.VMStatus) error { states <- s; return nil })
			}()
			vm.Options = c.options
			_, err := d.StartVM(t.Context(), &pluginv1.StartVMRequest{Host: host, Vm: vm})
			must(t, err)
			defer func() {
				_, err := d.DestroyVM(context.Background(), &pluginv1.DestroyVMRequest{Host: host, VmUuid: vmUUID})
				must(t, err)
				stop()
				<-watched
			}()
			console := waitConsole(t, vmUUID, "hardware is told 2")
			flags := lineOf(t, console, "flags")
			for _, want := range v2 {
				if !slices.Contains(flags, want) {
					t.Errorf("its processor has no %s but %v", want, flags)
				}
			}
			if avx2 := slices.Contains(flags, "avx2"); avx2 && c.model {
				t.Errorf("a Nehalem has %v", flags)
			}
			if got := lineOf(t, console, "clocksource"); slices.Contains(got, "hpet") {
				t.Errorf("its clocks are %v", got)
			}
			if got := lineOf(t, console, "entropy"); !slices.Equal(got, []string{"virtio_rng.0"}) {
				t.Errorf("its entropy is from %v", got)
			}
			if got := lineOf(t, console, "bridge"); !slices.Equal(got, []string{c.bridge}) {
				t.Errorf("its machine has host bridge %v, not %s", got, c.bridge)
			}
			if c.options == nil {
				return // nothing tells of its panic
			}
			expectState(t, states, pluginv1.VMState_VM_STATE_CRASHED)
		})
	}
}

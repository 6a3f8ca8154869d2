package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/rig"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func command(b *testing.B, args ...string) string {
	b.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		b.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// BenchmarkStartVsVirsh compares the call that starts a guest, through the
// plugin's process, with "virsh define" and "virsh start" of the same definition,
// in turn. Its row is the ratio of the medians.
func BenchmarkStartVsVirsh(b *testing.B) {
	rig.Libvirtd(b)
	bin := b.TempDir()
	rig.Build(b, "./plugins/kvm", filepath.Join(bin, "kumo-plugin-kvm"))
	rig.Build(b, "./plugins/kvm/cmd/kumo-hostd", filepath.Join(bin, "kumo-hostd"))
	state, err := os.MkdirTemp("/run", "k")
	if err != nil {
		b.Fatal(err)
	}
	hv := plugintest.Process(b, filepath.Join(bin, "kumo-plugin-kvm"), plugintest.WithSettings(map[string]string{"stateFolder": state})).Hypervisor()
	host := &pluginv1.Host{Uuid: plugintest.NewUUID(), ManagementIp: "127.0.0.1", HypervisorType: "KVM",
		Fields: map[string]string{"username": "root", "password": "x", "sshPort": "22"}}
	if _, err := hv.ConnectHost(b.Context(), &pluginv1.ConnectHostRequest{Host: host}); err != nil {
		b.Fatal(err)
	}
	disk := filepath.Join(b.TempDir(), "disk.qcow2")
	command(b, "qemu-img", "create", "-q", "-f", "qcow2", disk, "64M")
	vm := &pluginv1.VM{Uuid: plugintest.NewUUID(), Name: "bench", CpuNum: 1, MemoryBytes: 64 << 20,
		Disks: []*pluginv1.Disk{{Uuid: plugintest.NewUUID(), Source: disk, Format: "qcow2"}}}
	definition := filepath.Join(b.TempDir(), "domain.xml")
	var ours, theirs []time.Duration
	for b.Loop() {
		begin := time.Now()
		if _, err := hv.StartVM(b.Context(), &pluginv1.StartVMRequest{Host: host, Vm: vm}); err != nil {
			b.Fatal(err)
		}
		ours = append(ours, time.Since(begin))
		text := command(b, "virsh", "-q", "-c", "qemu:///system", "dumpxml", "--security-info", vm.Uuid)
		if _, err := hv.DestroyVM(b.Context(), &pluginv1.DestroyVMRequest{Host: host, VmUuid: vm.Uuid}); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(definition, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		begin = time.Now()
		command(b, "virsh", "-q", "-c", "qemu:///system", "define", definition)
		command(b, "virsh", "-q", "-c", "qemu:///system", "start", vm.Uuid)
		theirs = append(theirs, time.Since(begin))
		command(b, "virsh", "-q", "-c", "qemu:///system", "destroy", vm.Uuid)
		command(b, "virsh", "-q", "-c", "qemu:///system", "undefine", vm.Uuid)
	}
	if _, err := hv.DisconnectHost(b.Context(), &pluginv1.DisconnectHostRequest{Host: host}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(0, "ns/op") // both and the cleaning: it says nothing
	b.ReportMetric(median(ours).Seconds()*1000, "kumo-ms")
	b.ReportMetric(median(theirs).Seconds()*1000, "virsh-ms")
	b.ReportMetric(median(ours).Seconds()/median(theirs).Seconds(), "ratio")
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

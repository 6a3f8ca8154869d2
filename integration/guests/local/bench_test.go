package local

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/guests"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// BenchmarkCreateVsVirsh compares the whole of APICreateVmInstanceMsg with
// "qemu-img create", "virsh define" and "virsh start" of the same disk and
// definition. What Kumo does more is the REST call and its job, the database,
// and the network services.
func BenchmarkCreateVsVirsh(b *testing.B) {
	c := guests.Here(b)
	// The first guest fills the image cache and starts the network.
	c.Create(nil, c.Spec("first"))
	defer func() { c.Remove(wire.Zones + "/" + c.Zone) }()
	definition := filepath.Join(b.TempDir(), "domain.xml")
	virsh := func(args ...string) string {
		b.Helper()
		out, err := exec.Command("virsh", append([]string{"-q", "-c", "qemu:///system"}, args...)...).CombinedOutput()
		if err != nil {
			b.Fatalf("virsh %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	var ours, theirs []time.Duration
	for n := 0; b.Loop(); n++ {
		begin := time.Now()
		g := c.Create(nil, c.Spec("bench-"+strconv.Itoa(n)))
		ours = append(ours, time.Since(begin))
		text := virsh("dumpxml", "--security-info", g.UUID)
		c.Remove(g.Path())
		c.Do(g.Path(), "expungeVmInstance", nil)
		if err := os.WriteFile(definition, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		begin = time.Now()
		if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b",
			filepath.Join(guests.PrimaryFolder, "imagecache", c.Image+".qcow2"), g.Disk()).CombinedOutput(); err != nil {
			b.Fatalf("qemu-img: %v: %s", err, out)
		}
		virsh("define", definition)
		virsh("start", g.UUID)
		theirs = append(theirs, time.Since(begin))
		virsh("destroy", g.UUID)
		virsh("undefine", g.UUID)
		if err := os.Remove(g.Disk()); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	kumo, other := ours[len(ours)/2].Seconds(), theirs[len(theirs)/2].Seconds()
	b.ReportMetric(0, "ns/op") // both and the cleaning: it says nothing
	b.ReportMetric(kumo*1000, "kumo-ms")
	b.ReportMetric(other*1000, "virsh-ms")
	b.ReportMetric(kumo/other, "ratio")
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// crowd is how many guests' NICs are on the host.
const crowd = 5000

// BenchmarkNICs measures, with a real agent that has 5,000 NICs, what one NIC more,
// one less, and a sync that changes nothing take. floor-ms/op is what a bare loop takes
// to write the files of one NIC, floor-sync-ms/op to look for those of all.
func BenchmarkNICs(b *testing.B) {
	uplink(b, "up0")
	s := newBench(b, realAgent(b))
	ctx := b.Context()
	if _, err := s.l2.Realize(ctx, &pluginv1.RealizeRequest{Host: host, Network: testL2()}); err != nil {
		b.Fatal(err)
	}
	all := &rows{Host: host, Networks: []*pluginv1.L3Network{wideL3()}}
	for n := range crowd {
		all.Nics = append(all.Nics, crowdNIC(n))
	}
	timed := func(what func() error) float64 {
		began := time.Now()
		if err := what(); err != nil {
			b.Fatal(err)
		}
		return float64(time.Since(began).Microseconds()) / 1000
	}
	sync := func() error {
		r, err := s.sync(ctx, all)
		if err == nil && len(r.Problems) > 0 {
			err = fmt.Errorf("problems: %v", r.Problems)
		}
		return err
	}
	first := timed(sync)
	var more, less, same, floor, floorSync float64
	folder := b.TempDir()
	for n := range b.N {
		nic := crowdNIC(crowd + n%1000)
		more += timed(func() error {
			_, err := s.apply(ctx, &rows{Host: host, Networks: all.Networks, Nics: []*pluginv1.GuestNIC{nic}})
			return err
		})
		less += timed(func() error { _, err := s.remove(ctx, pluginsdk.NetworkKeys{NICs: []string{nic.NicUuid}}); return err })
		same += timed(sync)
		floor += timed(func() error { return writeNIC(folder, n) })
		floorSync += timed(func() error { return lookFor(folder, n) })
	}
	for unit, sum := range map[string]float64{"more-ms/op": more, "less-ms/op": less, "sync-ms/op": same, "floor-ms/op": floor, "floor-sync-ms/op": floorSync} {
		b.ReportMetric(sum/float64(b.N), unit)
	}
	b.ReportMetric(first, "first-sync-ms")
}

// filesOfNIC are two fragments, a lease and a name.
const filesOfNIC = 4

func writeNIC(folder string, n int) error {
	for i := range filesOfNIC {
		file := filepath.Join(folder, fmt.Sprint(n%1000, "-", i))
		if err := os.WriteFile(file+".new", bytes.Repeat([]byte("x"), 200), 0o600); err != nil {
			return err
		}
		if err := os.Rename(file+".new", file); err != nil {
			return err
		}
	}
	return nil
}

func lookFor(folder string, n int) error {
	for range crowd {
		for i := range filesOfNIC {
			if _, err := os.Lstat(filepath.Join(folder, fmt.Sprint(n%1000, "-", i))); err != nil {
				return err
			}
		}
	}
	return nil
}

func wideL3() *pluginv1.L3Network {
	l3 := testL3()
	l3.Ranges = []*pluginv1.IPRange{{NetworkCidr: "10.40.0.0/16", Gateway: "10.40.0.1", Netmask: "255.255.0.0"}}
	return l3
}

func crowdNIC(n int) *pluginv1.GuestNIC {
	nic := testNIC(1)
	nic.NicUuid, nic.VmUuid = uuid(0x100000+n), uuid(0x200000+n)
	nic.Mac, nic.Ip = fmt.Sprintf("fa:16:3e:00:%02x:%02x", n/256, n%256), fmt.Sprintf("10.40.%d.%d", 1+n/250, 1+n%250)
	nic.Hostname = fmt.Sprintf("web-%d", n)
	return nic
}

package pluginsdk_test

import (
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// BenchmarkCall makes small calls through a real plugin process, TLS and Unix
// socket included, 128 at a time. cpu-us/op counts both processes.
func BenchmarkCall(b *testing.B) {
	const inFlight = 128
	conn := plugintest.Process(b, os.Args[0])
	hv := conn.Hypervisor()
	req := host("")
	req.Host = &pluginv1.Host{Uuid: "0123456789abcdef0123456789abcdef", ManagementIp: "192.0.2.1"}
	for range 1000 {
		if _, err := hv.CheckHost(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
	before := cpuTime(b)
	b.ResetTimer()
	var workers sync.WaitGroup
	next := make(chan struct{}, inFlight)
	for range inFlight {
		workers.Go(func() {
			for range next {
				if _, err := hv.CheckHost(b.Context(), req); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	for range b.N {
		next <- struct{}{}
	}
	close(next)
	workers.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-us/op")
}

// cpuTime is the time that this process and its living plugin have used.
func cpuTime(b *testing.B) time.Duration {
	total := time.Duration(0)
	for _, pid := range append(plugintest.Children(b), os.Getpid()) {
		// CLOCK_PROCESS_CPUTIME of another process: see clock_getcpuclockid(3).
		var ts unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|2), &ts); err != nil {
			b.Fatalf("cpu time of process %d: %v", pid, err)
		}
		total += time.Duration(ts.Nano())
	}
	return total
}

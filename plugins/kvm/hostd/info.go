package hostd

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// probeKVM is asked once: hardware does not change under a running agent, and
// an operator who loads a module restarts the agent by reconnecting the host.
var probeKVM = sync.OnceValue(kvmUsable)

// Info tells what the host is.
func (s *Server) Info(context.Context, *hostv1.InfoRequest) (*hostv1.InfoResponse, error) {
	out := &hostv1.InfoResponse{Version: s.version, Architecture: architecture(runtime.GOARCH)}
	name, err := os.Hostname()
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "host", err, "its name cannot be read")
	}
	out.Hostname = name
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, errs.Wrap(errs.Internal, "host", err, "its kernel cannot be asked")
	}
	out.Kernel = unix.ByteSliceToString(u.Release[:])
	if release, err := os.ReadFile("/etc/os-release"); err == nil {
		out.OsDistribution, out.OsRelease, out.OsVersion = osRelease(release)
	} else {
		s.log.Warn("the distribution is not known", "error", err)
	}
	cpus, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "host", err, "its processors cannot be read")
	}
	out.CpuNum, out.CpuSockets, out.CpuMhz = processors(cpus)
	memory, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "host", err, "its memory cannot be read")
	}
	out.MemoryBytes = totalMemory(memory)
	reason := probeKVM()
	out.Kvm, out.KvmReason = reason == "", reason
	if s.engine == nil {
		return out, nil
	}
	for _, f := range s.engine.Failures() {
		out.NetworkFailures = append(out.NetworkFailures, &hostv1.SyncFailure{Key: f.Key, Class: string(errs.ClassOf(f.Err)), Text: f.Err.Error()})
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(s.engine.Folder(), &disk); err == nil {
		s.media.add(s.engine.Folder())
		out.Folder, out.FolderFreeBytes = s.engine.Folder(), int64(disk.Bavail)*disk.Frsize
	} else {
		s.log.Warn("the free space of the agent's folder is not known", "error", err)
	}
	return out, nil
}

// architecture gives Go's name the name that libvirt and images use.
func architecture(goarch string) string {
	switch goarch {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	}
	return goarch
}

// osRelease reads os-release(5): the distribution's ID, its code name and its
// version.
func osRelease(text []byte) (distribution, release, version string) {
	values := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), "="); ok {
			values[name] = strings.Trim(value, `"'`)
		}
	}
	release = values["VERSION_CODENAME"]
	if release == "" {
		release = values["VERSION"]
	}
	return values["ID"], release, values["VERSION_ID"]
}

// processors counts what /proc/cpuinfo lists. Sockets are the different
// physical IDs, at least one; the speed is 0 where the kernel does not tell.
func processors(text []byte) (num, sockets, mhz int64) {
	physical := map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(name) {
		case "processor":
			num++
		case "physical id":
			physical[value] = true
		case "cpu MHz":
			if f, err := strconv.ParseFloat(value, 64); err == nil {
				mhz = max(mhz, int64(f))
			}
		}
	}
	return num, int64(max(len(physical), 1)), mhz
}

func totalMemory(text []byte) int64 {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 2 && fields[0] == "MemTotal:" {
			if kib, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				return kib << 10
			}
		}
	}
	return 0
}

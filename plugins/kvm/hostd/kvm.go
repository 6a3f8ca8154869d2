package hostd

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Requests of Documentation/virt/kvm/api.rst in the kernel's source.
const (
	kvmGetAPIVersion  = 0xAE00
	kvmCreateVM       = 0xAE01
	kvmGetVCPUMapSize = 0xAE04
	kvmCreateVCPU     = 0xAE41
	kvmRun            = 0xAE80

	kvmAPIVersion = 12
)

// kvmUsable returns "" when guests can run under KVM, else the reason. That
// /dev/kvm opens and gives a VM is not enough: some machines have a KVM that
// runs only kernels made for it, and emulates all others instruction by
// instruction. So a small guest is run, and must be fast.
func kvmUsable() string {
	dev, err := unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Sprintf("/dev/kvm cannot be opened: %v", err)
	}
	defer closeFD(dev)
	version, err := unix.IoctlRetInt(dev, kvmGetAPIVersion)
	if err != nil || version != kvmAPIVersion {
		return fmt.Sprintf("/dev/kvm has API version %d, not %d (%v)", version, kvmAPIVersion, err)
	}
	vm, err := unix.IoctlRetInt(dev, kvmCreateVM)
	if err != nil {
		return fmt.Sprintf("KVM cannot make a virtual machine: %v", err)
	}
	defer closeFD(vm)
	if err := runTrial(dev, vm); err != nil {
		reason := fmt.Sprintf("KVM cannot run an ordinary guest: %v", err)
		if flags, err := os.ReadFile("/proc/cpuinfo"); err == nil && !hasHardware(string(flags)) {
			reason += "; the processor shows neither vmx nor svm"
		}
		return reason
	}
	return ""
}

// hasHardware looks for the flags of Intel's and AMD's virtualisation.
func hasHardware(cpuinfo string) bool {
	for line := range strings.Lines(cpuinfo) {
		if !strings.HasPrefix(line, "flags") {
			continue
		}
		for _, flag := range strings.Fields(line) {
			if flag == "vmx" || flag == "svm" {
				return true
			}
		}
	}
	return false
}

func closeFD(fd int) {
	// Nothing was written through it.
	_ = unix.Close(fd)
}

var errTrialTimeout = errors.New("a trial guest did not end within 2 s, so its instructions are emulated")

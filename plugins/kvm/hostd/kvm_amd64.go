package hostd

import (
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	kvmSetUserMemoryRegion = 0x4020AE46
	kvmGetSregs            = 0x8138AE83
	kvmSetSregs            = 0x4138AE84
	kvmSetRegs             = 0x4090AE82

	kvmExitHlt = 5
	// Places in struct kvm_run.
	runImmediateExit = 1
	runExitReason    = 8

	trialTimeout = 2 * time.Second
	pageSize     = 4096
)

// trialProgram counts 20 million down and halts: a few hundredths of a second
// of a processor that runs guests itself, and far more than trialTimeout where
// KVM emulates each instruction.
var trialProgram = []byte{
	0x66, 0xb9, 0x00, 0x2d, 0x31, 0x01, // mov ecx, 20000000
	0x66, 0x49, // dec ecx
	0x75, 0xfc, // jnz back to dec
	0xf4, // hlt
}

type kvmMemoryRegion struct {
	slot, flags             uint32
	guest, size, hostMemory uint64
}

type kvmSegment struct {
	base                           uint64
	limit                          uint32
	selector                       uint16
	kind                           uint8
	present, dpl, db, s, l, g, avl uint8
	unusable, padding              uint8
}

type kvmTable struct {
	base    uint64
	limit   uint16
	padding [3]uint16
}

type kvmSregs struct {
	cs, ds, es, fs, gs, ss, tr, ldt kvmSegment
	gdt, idt                        kvmTable
	cr0, cr2, cr3, cr4, cr8         uint64
	efer, apicBase                  uint64
	interrupts                      [4]uint64
}

type kvmRegs struct {
	rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp uint64
	r8, r9, r10, r11, r12, r13, r14, r15   uint64
	rip, rflags                            uint64
}

// runTrial runs trialProgram in real mode, where every PC's firmware starts.
func runTrial(dev, vm int) error {
	memory, err := unix.Mmap(-1, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANONYMOUS|unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map memory: %w", err)
	}
	defer unmap(memory)
	copy(memory, trialProgram)
	region := kvmMemoryRegion{guest: pageSize, size: pageSize, hostMemory: uint64(uintptr(unsafe.Pointer(&memory[0])))}
	if err := kvmIoctl(vm, kvmSetUserMemoryRegion, unsafe.Pointer(&region)); err != nil {
		return fmt.Errorf("give it memory: %w", err)
	}
	cpu, err := unix.IoctlRetInt(vm, kvmCreateVCPU)
	if err != nil {
		return fmt.Errorf("make a processor: %w", err)
	}
	defer closeFD(cpu)
	size, err := unix.IoctlRetInt(dev, kvmGetVCPUMapSize)
	if err != nil {
		return fmt.Errorf("ask the size of a processor's state: %w", err)
	}
	run, err := unix.Mmap(cpu, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map a processor's state: %w", err)
	}
	defer unmap(run)
	if err := enterRealMode(cpu); err != nil {
		return err
	}
	return runOnce(cpu, run)
}

func enterRealMode(cpu int) error {
	var s kvmSregs
	if err := kvmIoctl(cpu, kvmGetSregs, unsafe.Pointer(&s)); err != nil {
		return fmt.Errorf("read registers: %w", err)
	}
	s.cs.base, s.cs.selector = 0, 0
	if err := kvmIoctl(cpu, kvmSetSregs, unsafe.Pointer(&s)); err != nil {
		return fmt.Errorf("set segment registers: %w", err)
	}
	r := kvmRegs{rip: pageSize, rflags: 2} // bit 1 is always set
	if err := kvmIoctl(cpu, kvmSetRegs, unsafe.Pointer(&r)); err != nil {
		return fmt.Errorf("set registers: %w", err)
	}
	return nil
}

// runOnce runs the processor, and calls it back by a signal when it does not
// come back by itself.
func runOnce(cpu int, run []byte) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread := unix.Gettid()
	late := make(chan struct{})
	timer := time.AfterFunc(trialTimeout, func() {
		close(late)
		run[runImmediateExit] = 1
		// SIGURG is what Go's runtime itself interrupts threads with.
		_ = unix.Tgkill(unix.Getpid(), thread, unix.SIGURG)
	})
	defer timer.Stop()
	for {
		_, err := unix.IoctlRetInt(cpu, kvmRun)
		select {
		case <-late:
			return errTrialTimeout
		default:
		}
		if err == unix.EINTR {
			continue // a signal of Go's runtime
		}
		if err != nil {
			return fmt.Errorf("run: %w", err)
		}
		reason := *(*uint32)(unsafe.Pointer(&run[runExitReason]))
		if reason != kvmExitHlt {
			return fmt.Errorf("the trial guest ended with exit reason %d", reason)
		}
		return nil
	}
}

func kvmIoctl(fd int, request uintptr, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	if errno != 0 {
		return errno
	}
	return nil
}

func unmap(b []byte) {
	// The process keeps a page more; nothing else can come of it.
	_ = unix.Munmap(b)
}

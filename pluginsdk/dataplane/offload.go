package dataplane

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mergesFrames reports whether a device has generic receive offload: the kernel puts
// frames of one connection together.
func mergesFrames(device string) (bool, error) {
	on, err := offload(device, unix.ETHTOOL_GGRO, 0)
	return on == 1, err
}

// mergeFrames turns a device's generic receive offload on or off.
func mergeFrames(device string, on bool) error {
	value := uint32(0)
	if on {
		value = 1
	}
	_, err := offload(device, unix.ETHTOOL_SGRO, value)
	return err
}

// offload makes an ethtool request with one number, and returns the one that comes back.
func offload(device string, command, value uint32) (_ uint32, err error) {
	request := struct{ command, value uint32 }{command, value}
	var ifreq struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [24 - unsafe.Sizeof(uintptr(0))]byte // the kernel copies a whole ifreq
	}
	copy(ifreq.name[:unix.IFNAMSIZ-1], device)
	ifreq.data = unsafe.Pointer(&request)
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open a socket: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(socket)) }()
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifreq)))
	runtime.KeepAlive(&request)
	if errno != 0 {
		return 0, fmt.Errorf("ask for the offload of %s: %w", device, errno)
	}
	return request.value, nil
}

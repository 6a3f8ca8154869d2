package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// inNamespace runs f on a thread that is in the namespace. A thread that cannot
// go back is given up: it stays locked, and Go ends it with its goroutine.
func inNamespace(ns netns.NsHandle, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			done <- fmt.Errorf("find the thread's namespace: %w", err)
			return
		}
		defer func() {
			// Only reads were made through it, so a failing close loses nothing.
			_ = home.Close()
		}()
		if err := netns.Set(ns); err != nil {
			done <- fmt.Errorf("enter the namespace: %w", err)
			return
		}
		err = f()
		if back := netns.Set(home); back == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// openNamespace opens a named namespace. A name without a namespace behind it
// (left by a reboot or a crash) counts as missing: fs.ErrNotExist.
func openNamespace(name string) (netns.NsHandle, error) {
	ns, err := netns.GetFromName(name)
	if err != nil {
		return netns.None(), err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(ns), &st); err != nil {
		return netns.None(), errors.Join(err, ns.Close())
	}
	if st.Type != unix.NSFS_MAGIC {
		return netns.None(), errors.Join(fs.ErrNotExist, ns.Close())
	}
	return ns, nil
}

// ensureNamespace opens the named namespace and makes it when it is missing.
func ensureNamespace(name string) (netns.NsHandle, error) {
	ns, err := openNamespace(name)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return ns, err
	}
	if err := os.Remove(namespacePath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return netns.None(), fmt.Errorf("remove the remains of namespace %s: %w", name, err)
	}
	made := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		// Never unlocked: the thread is in the new namespace and ends here.
		ns, err = netns.NewNamed(name)
		made <- err
	}()
	if err := <-made; err != nil {
		return netns.None(), fmt.Errorf("make namespace %s: %w", name, err)
	}
	return ns, nil
}

func removeNamespace(name string) error {
	err := netns.DeleteNamed(name)
	if errors.Is(err, unix.EINVAL) { // a file without a namespace mounted on it
		err = os.Remove(namespacePath(name))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove namespace %s: %w", name, err)
	}
	return nil
}

func namespacePath(name string) string { return filepath.Join("/run/netns", name) }

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
)

// sourceForbidden are the folders of the specification's black list
// (global setting image/download.localPath.blacklist) and others that hold
// secrets of the machine or of Kumo. The operator cannot list one of them, nor
// a folder that holds one.
var sourceForbidden = []string{
	"/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/usr/local/zstack",
	"/var/lib/kumo", "/var/lib/mysql", "/var/log", "/var/spool",
}

// keptDisk matches the files in which Kumo's stores keep images and volumes:
// they belong to accounts, and a path must not give one account another's disk.
var keptDisk = regexp.MustCompile(`/[0-9a-f]{32}(/image)?\.[a-z0-9]+$`)

// fileFolders are those from which file:// images may be added. The core lets
// administrators alone name a file; this bounds what an administrator of the
// cloud, who need not be the machine's, can read of the machine.
type fileFolders struct {
	// listed are clean absolute paths; none allows no file at all.
	listed []string
	// forbidden are sourceForbidden and the plugin's own folder.
	forbidden []string
}

// parseFileFolders reads the setting. Errors: Invalid, so that a list that
// opens more than its author can want is found at the start.
func parseFileFolders(text, dataDir string) (fileFolders, error) {
	f := fileFolders{forbidden: sourceForbidden}
	if dataDir != "" {
		f.forbidden = append([]string{filepath.Clean(dataDir)}, f.forbidden...)
	}
	for _, dir := range strings.Split(text, ",") {
		if dir = strings.TrimSpace(dir); dir == "" {
			continue
		}
		dir, err := kinds.Parse("path", dir)
		if err != nil {
			return f, errs.Wrap(errs.Invalid, "setting "+settingFileFolders, err, "")
		}
		if bad := f.touches(dir); bad != "" {
			return f, errs.New(errs.Invalid, "setting "+settingFileFolders, "%s is in, or holds, %s", dir, bad).
				WithAdvice("list a folder that has nothing but images")
		}
		f.listed = append(f.listed, dir)
	}
	return f, nil
}

// touches returns the forbidden folder that dir lies in or holds, or "".
func (f fileFolders) touches(dir string) string {
	if bad := within(dir, f.forbidden); bad != "" {
		return bad
	}
	for _, bad := range f.forbidden {
		if within(bad, []string{dir}) != "" {
			return bad
		}
	}
	return ""
}

// checkName refuses a path that is not clean, or that lies in no listed folder
// by its text. It touches no file, so that nobody learns what there is elsewhere.
func (f fileFolders) checkName(object, path string) error {
	if err := checkCleanPath(object, path); err != nil {
		return err
	}
	switch {
	case len(f.listed) == 0:
		return forbiddenPath(object, path, "the setting "+settingFileFolders+" of the image store lists no folder")
	case within(path, f.listed) == "":
		return forbiddenPath(object, path, "the setting "+settingFileFolders+" of the image store lists only "+strings.Join(f.listed, ", "))
	}
	return nil
}

// checkReal decides on a path without symbolic links.
func (f fileFolders) checkReal(object, path string) error {
	for _, dir := range f.listed {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil || f.touches(real) != "" { // made a link since it was listed
			continue
		}
		below, ok := strings.CutPrefix(path, strings.TrimRight(real, "/")+"/")
		if !ok {
			continue
		}
		for _, element := range strings.Split(below, "/") {
			if strings.HasPrefix(element, ".") || strings.HasPrefix(element, "~") {
				return forbiddenPath(object, path, "it is hidden")
			}
		}
		if keptDisk.MatchString(path) {
			return forbiddenPath(object, path, "it is named like a disk of Kumo's")
		}
		return nil
	}
	return forbiddenPath(object, path, "it is outside of the folders that the setting "+settingFileFolders+" lists")
}

func checkCleanPath(object, path string) error {
	if kinds.Exact("path", path) != nil || path == "/" {
		return errs.New(errs.Invalid, object, "%q is not the clean absolute path of a file", path)
	}
	return nil
}

func forbiddenPath(object, path, why string) error {
	return errs.New(errs.Invalid, object, "file %s cannot be added: %s", path, why).
		WithAdvice("copy the image to a folder of the management node that %s lists, or use http or upload", settingFileFolders)
}

// openFile opens a regular file in a listed folder. The path that is checked is
// that of the very file which is read: it is opened once without effect
// (O_PATH), looked at, and only then opened for reading, so that neither a
// symbolic link nor one that is changed in the meantime leads elsewhere, and no
// device notices.
func (s *store) openFile(object, path string) (*source, error) {
	if err := s.files.checkName(object, path); err != nil {
		return nil, err
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, object, err, "open file %s of the management node", path)
	}
	handle := os.NewFile(uintptr(fd), path)
	defer handle.Close() // it has no bytes to lose
	self := fmt.Sprintf("/proc/self/fd/%d", fd)
	if err := s.checkOpened(object, handle, self); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(self, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, object, unwrapPath(err), "open file %s of the management node", path)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errs.Wrap(errs.Internal, object, errors.Join(unwrapPath(err), f.Close()), "look at file %s", path)
	}
	return &source{
		Reader: f, size: info.Size(), name: "file " + path,
		done: func(error) {
			if err := f.Close(); err != nil {
				s.log.Warn("image source not closed", "file", path, "error", err)
			}
		},
	}, nil
}

func (s *store) checkOpened(object string, f *os.File, self string) error {
	path, err := os.Readlink(self)
	if err != nil {
		return errs.Wrap(errs.Internal, object, err, "learn where file %s is", f.Name())
	}
	if err := s.files.checkReal(object, path); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errs.Wrap(errs.Internal, object, unwrapPath(err), "look at file %s", path)
	}
	if !info.Mode().IsRegular() {
		return errs.New(errs.Invalid, object, "%s is not a regular file", path)
	}
	return nil
}

func unwrapPath(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

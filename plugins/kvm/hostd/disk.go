package hostd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// qemuImgTimeout is for headers only: no operation here copies data.
const qemuImgTimeout = 2 * time.Minute

// maxDisk is above any real disk and below what overflows in QEMU.
const maxDisk = int64(1) << 56

var diskFormats = []string{"qcow2", "raw"}

// imageInfo is the part of "qemu-img info --output=json" that we use.
type imageInfo struct {
	VirtualSize         int64  `json:"virtual-size"`
	ActualSize          int64  `json:"actual-size"`
	Format              string `json:"format"`
	BackingFilename     string `json:"backing-filename"`
	FullBackingFilename string `json:"full-backing-filename"`
}

func (i imageInfo) message() *hostv1.DiskInfo {
	backing := i.FullBackingFilename
	if backing == "" {
		backing = i.BackingFilename
	}
	return &hostv1.DiskInfo{VirtualBytes: i.VirtualSize, ActualBytes: i.ActualSize, Format: i.Format, BackingPath: backing}
}

// qemuImg runs qemu-img. Its paths are absolute, so they cannot be taken for
// options or protocols.
func qemuImg(ctx context.Context, object string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, qemuImgTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-img", args...)
	var out, text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &text
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch message := strings.TrimSpace(text.String()); {
	case err == nil:
		return out.Bytes(), nil
	case ctx.Err() != nil:
		return nil, errs.Wrap(errs.ClassOf(ctx.Err()), object, ctx.Err(), "qemu-img %s did not end", args[0])
	case errors.Is(err, exec.ErrNotFound):
		return nil, errs.Wrap(errs.Refused, object, err, "qemu-img cannot start").WithAdvice("install the package qemu-utils on the host")
	case strings.Contains(message, "No space left on device"):
		return nil, errs.New(errs.Exhausted, object, "qemu-img %s: %s", args[0], message)
	default:
		return nil, errs.Wrap(errs.Internal, object, err, "qemu-img %s: %s", args[0], message)
	}
}

// statDisk reads the header of a disk. -U because a running guest has it open.
func statDisk(ctx context.Context, path string) (imageInfo, error) {
	object := "disk " + path
	if _, err := os.Stat(path); err != nil {
		return imageInfo{}, pathError(path, err, "cannot be read")
	}
	out, err := qemuImg(ctx, object, "info", "-U", "--output=json", path)
	if err != nil {
		return imageInfo{}, err
	}
	var info imageInfo
	if err := json.Unmarshal(out, &info); err != nil {
		return imageInfo{}, errs.Wrap(errs.Internal, object, err, "qemu-img info answered something else")
	}
	return info, nil
}

// checkCreate refuses wrong parameters and returns the size of the new disk's
// content, which an overlay may take from its backing file.
func checkCreate(ctx context.Context, r *hostv1.CreateDiskRequest) (int64, error) {
	object := "disk " + r.GetPath()
	if err := checkBelow(r.GetPath(), r.GetRoot()); err != nil {
		return 0, err
	}
	if !slices.Contains(diskFormats, r.GetFormat()) {
		return 0, errs.New(errs.Invalid, object, "format %q is not one of %s", r.GetFormat(), strings.Join(diskFormats, ", "))
	}
	if r.GetSizeBytes() < 0 || r.GetSizeBytes() > maxDisk {
		return 0, errs.New(errs.Invalid, object, "a size of %d bytes is not possible", r.GetSizeBytes())
	}
	if r.GetBackingPath() == "" {
		if r.GetSizeBytes() == 0 {
			return 0, errs.New(errs.Invalid, object, "a blank disk needs a size")
		}
		return r.GetSizeBytes(), nil
	}
	if r.GetFormat() != "qcow2" {
		return 0, errs.New(errs.Invalid, object, "a disk with a backing file must be qcow2")
	}
	if !slices.Contains(diskFormats, r.GetBackingFormat()) {
		return 0, errs.New(errs.Invalid, object, "backing format %q is not one of %s", r.GetBackingFormat(), strings.Join(diskFormats, ", "))
	}
	if err := checkBelow(r.GetBackingPath(), r.GetRoot()); err != nil {
		return 0, err
	}
	backing, err := statDisk(ctx, r.GetBackingPath())
	if err != nil {
		return 0, err
	}
	if r.GetSizeBytes() != 0 && r.GetSizeBytes() < backing.VirtualSize {
		return 0, errs.New(errs.Invalid, object, "%d bytes are less than its backing file's %d", r.GetSizeBytes(), backing.VirtualSize)
	}
	return max(r.GetSizeBytes(), backing.VirtualSize), nil
}

// createDisk makes the disk under a temporary name and renames it, so that a
// disk with the final name is always whole.
func createDisk(ctx context.Context, r *hostv1.CreateDiskRequest) (*hostv1.DiskInfo, error) {
	object := "disk " + r.GetPath()
	size, err := checkCreate(ctx, r)
	if err != nil {
		return nil, err
	}
	if info, err := statDisk(ctx, r.GetPath()); err == nil {
		if info.Format != r.GetFormat() || info.VirtualSize != roundUp(size) || info.message().GetBackingPath() != r.GetBackingPath() {
			return nil, errs.New(errs.Exists, object, "a disk of another kind (%s, %d bytes, backing file %q) has this name",
				info.Format, info.VirtualSize, info.message().GetBackingPath())
		}
		return info.message(), nil
	} else if !errors.Is(err, errs.NotFound) {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(r.GetPath()), 0o755); err != nil {
		return nil, pathError(r.GetPath(), err, "its folder cannot be made")
	}
	temporary := temporaryName(r.GetPath())
	args := []string{"create", "-q", "-f", r.GetFormat()}
	if r.GetBackingPath() != "" {
		args = append(args, "-b", r.GetBackingPath(), "-F", r.GetBackingFormat())
	}
	if _, err := qemuImg(ctx, object, append(args, temporary, strconv.FormatInt(size, 10))...); err != nil {
		return nil, errors.Join(err, ignoreMissing(os.Remove(temporary)))
	}
	if err := os.Rename(temporary, r.GetPath()); err != nil {
		return nil, errors.Join(pathError(r.GetPath(), err, "cannot take its name"), os.Remove(temporary))
	}
	info, err := statDisk(ctx, r.GetPath())
	if err != nil {
		return nil, err
	}
	return info.message(), nil
}

// roundUp is what qemu-img does: sizes are whole sectors.
func roundUp(size int64) int64 { return (size + 511) / 512 * 512 }

// resizeDisk grows a disk that no guest has open; a smaller size is refused
// (errs.Invalid), the same size is a success.
func resizeDisk(ctx context.Context, path string, size int64) (*hostv1.DiskInfo, error) {
	object := "disk " + path
	info, err := statDisk(ctx, path)
	if err != nil {
		return nil, err
	}
	if size < info.VirtualSize || size > maxDisk {
		return nil, errs.New(errs.Invalid, object, "%d bytes are not more than its %d", size, info.VirtualSize)
	}
	if roundUp(size) != info.VirtualSize {
		if _, err := qemuImg(ctx, object, "resize", "-q", "-f", info.Format, path, strconv.FormatInt(size, 10)); err != nil {
			return nil, err
		}
		if info, err = statDisk(ctx, path); err != nil {
			return nil, err
		}
	}
	return info.message(), nil
}

// temporaryName is beside path, hidden, and the same for each attempt: what a
// crash left is overwritten by the next.
func temporaryName(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".kumo-part")
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/kinds"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

var uuidForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// storeForbidden are folders in which a store must not be: those that the
// specification names, and others that belong to the machine.
var storeForbidden = []string{
	"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr",
}

// sweepAge keeps the sweep away from a folder that another process, while it
// is being replaced by this one, has made but not locked yet.
const sweepAge = time.Minute

// record is what image.json holds.
type record struct {
	UUID         string `json:"uuid"`
	Format       string `json:"format"`
	File         string `json:"file"`
	FileBytes    int64  `json:"fileBytes"`
	VirtualBytes int64  `json:"virtualBytes"`
	sums
	Added time.Time `json:"added"`
	// Came is what came when the image was unpacked or converted; else it is as it
	// came.
	Came *came `json:"came,omitempty"`
}

// came are the format and the checksums of the bytes that a source gave.
type came struct {
	Format string `json:"format"`
	sums
}

func (r record) came() came {
	if r.Came != nil {
		return *r.Came
	}
	return came{r.Format, r.sums}
}

// folder is one store's place on this machine.
type folder struct{ root, object string }

// folderOf checks the store's url. Errors: Invalid naming the store.
func folderOf(st *pluginv1.Storage) (folder, error) {
	object := "image store " + st.GetUuid()
	root, err := kinds.Parse("plainpath", st.GetUrl())
	if err != nil {
		return folder{}, errs.New(errs.Invalid, object, "url %q is not an absolute path of letters, digits and . _ - + @", kinds.Shown(st.GetUrl())).
			WithAdvice("give a folder of the management node, such as /var/lib/kumo/images")
	}
	if under := within(root, storeForbidden); under != "" {
		return folder{}, errs.New(errs.Invalid, object, "url %q lies in the system folder %s", st.GetUrl(), under).
			WithAdvice("give a folder of the management node, such as /var/lib/kumo/images")
	}
	return folder{root, object}, nil
}

// within returns the folder of the list that path lies in, or "".
func within(path string, folders []string) string {
	for _, f := range folders {
		if path == f || strings.HasPrefix(path, strings.TrimRight(f, "/")+"/") {
			return f
		}
	}
	return ""
}

func (f folder) images() string           { return filepath.Join(f.root, "images") }
func (f folder) incoming() string         { return filepath.Join(f.root, "incoming") }
func (f folder) image(uuid string) string { return filepath.Join(f.images(), uuid) }

// marker is a file in each store's folder. No folder with other things in it is
// taken for a store, and an empty one not for a store that has images: its disk
// may not be mounted.
const marker = ".kumo-image-store"

// prepare makes the folders; they are closed to other users of the machine,
// because images belong to accounts. A store that is known must be there.
// Errors: Invalid for a folder of other things, Unavailable for a known one that
// is not there.
func (f folder) prepare(known bool) error {
	names, err := f.names()
	if err != nil {
		return err
	}
	ours := slices.Contains(names, marker) ||
		slices.Contains(names, "images") && slices.Contains(names, "incoming") // made before there was a marker
	if !ours && known {
		return f.missing()
	}
	if !ours && len(names) > 0 {
		return errs.New(errs.Invalid, f.object, "folder %s has other things in it, such as %s", f.root, names[0]).
			WithAdvice("give an empty folder, or one that does not exist yet")
	}
	for _, dir := range []string{f.images(), f.incoming()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return f.failed(err, "make folder "+dir)
		}
	}
	mark, err := os.OpenFile(filepath.Join(f.root, marker), os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = mark.Close()
	}
	if err != nil {
		return f.failed(err, "mark folder "+f.root)
	}
	return nil
}

// names lists what is in the store's folder, but what file systems put there.
func (f folder) names() ([]string, error) {
	entries, err := os.ReadDir(f.root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, f.failed(err, "look into "+f.root)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != "lost+found" {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// check finds out whether the store is there. Errors: Unavailable.
func (f folder) check() error {
	if _, err := os.Lstat(filepath.Join(f.root, marker)); errors.Is(err, fs.ErrNotExist) {
		return f.missing()
	} else if err != nil {
		return f.failed(err, "look into "+f.root)
	}
	return nil
}

func (f folder) missing() error {
	return errs.New(errs.Unavailable, f.object, "its images are not in %s", f.root).
		WithAdvice("mount its disk; a store whose images are lost can be deleted and added again")
}

// failed gives an error of the file system its class; others have theirs.
func (f folder) failed(err error, doing string) error {
	var known *errs.Error
	class := errs.Internal
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return errs.Wrap(errs.Exhausted, f.object, err, "%s", doing).WithAdvice("free or add disk space at %s", f.root)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EROFS):
		class = errs.Invalid
	}
	return errs.Wrap(class, f.object, err, "%s", doing)
}

// capacity tells the size of the file system that holds the folder.
func (f folder) capacity() (*pluginv1.Capacity, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(f.root, &st); err != nil {
		return nil, f.failed(err, "read the capacity of "+f.root)
	}
	return &pluginv1.Capacity{
		TotalBytes:     int64(st.Blocks) * st.Bsize,
		AvailableBytes: int64(st.Bavail) * st.Bsize,
	}, nil
}

// read returns what is known of an image. Errors: NotFound.
func (f folder) read(uuid string) (record, error) {
	var rec record
	data, err := os.ReadFile(filepath.Join(f.image(uuid), "image.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return rec, errs.New(errs.NotFound, "image "+uuid, "it is not in image store folder %s", f.root)
	}
	if err != nil {
		return rec, f.failed(err, "read image "+uuid)
	}
	if err := json.Unmarshal(data, &rec); err != nil || rec.UUID != uuid || rec.File != imageFile(rec.Format) {
		return rec, errs.Wrap(errs.Internal, "image "+uuid, err, "its record in %s is damaged", f.image(uuid)).
			WithAdvice("delete the image and add it again")
	}
	return rec, nil
}

func imageFile(format string) string { return "image." + format }

// remove takes an image out in one step and then deletes its bytes.
func (f folder) remove(uuid string) error {
	if _, err := os.Lstat(f.image(uuid)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	trash, err := os.MkdirTemp(f.incoming(), uuid+"-")
	if err != nil {
		return f.failed(err, "delete image "+uuid)
	}
	if err := os.Rename(f.image(uuid), filepath.Join(trash, "deleted")); err != nil {
		return f.failed(errors.Join(err, os.Remove(trash)), "delete image "+uuid)
	}
	if err := os.RemoveAll(trash); err != nil {
		return f.failed(err, "delete image "+uuid)
	}
	return nil
}

// sweep deletes what no process works on any more, and tells how much it was.
func (f folder) sweep() (int, error) {
	entries, err := os.ReadDir(f.incoming())
	if err != nil {
		return 0, f.failed(err, "list unfinished images")
	}
	swept := 0
	for _, e := range entries {
		dir := filepath.Join(f.incoming(), e.Name())
		if info, err := e.Info(); err != nil || time.Since(info.ModTime()) < sweepAge {
			continue
		}
		lock, err := lockFolder(dir)
		if err != nil {
			continue // another process works in it
		}
		err = os.RemoveAll(dir)
		if err = errors.Join(err, lock.Close()); err != nil {
			return swept, f.failed(err, "sweep "+dir)
		}
		swept++
	}
	return swept, nil
}

// lockFolder takes the folder for this process until the file is closed.
func lockFolder(dir string) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// draft is an image on its way into the store: a locked folder in incoming
// with the file that is being written.
type draft struct {
	folder
	dir  string
	lock *os.File
	file *os.File
}

// newDraft begins an image and sets size bytes of disk aside for it (when the
// size is known, and the file system can), so that a disk which is too small,
// or which several downloads share, shows at once. Errors: Exhausted.
func (f folder) newDraft(uuid, format string, size int64) (*draft, error) {
	dir, err := os.MkdirTemp(f.incoming(), uuid+"-")
	if err != nil {
		return nil, f.failed(err, "begin image "+uuid)
	}
	d := &draft{folder: f, dir: dir}
	if d.lock, err = lockFolder(dir); err == nil {
		d.file, err = os.OpenFile(filepath.Join(dir, imageFile(format)), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	}
	if err == nil && size > 0 {
		err = d.reserve(size)
	}
	if err != nil {
		return nil, errors.Join(f.failed(err, "begin image "+uuid), d.discard())
	}
	return d, nil
}

func (d *draft) reserve(size int64) error {
	c, err := d.capacity()
	if err != nil {
		return err
	}
	if size > c.AvailableBytes {
		return errs.Wrap(errs.Exhausted, d.object, unix.ENOSPC, "the image has %d bytes and %d are free", size, c.AvailableBytes)
	}
	err = unix.Fallocate(int(d.file.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil // the check above must do
	}
	return err
}

// restart forgets what was written; size is as for newDraft.
func (d *draft) restart(size int64) error {
	err := d.file.Truncate(0)
	if err == nil {
		_, err = d.file.Seek(0, io.SeekStart)
	}
	if err == nil && size > 0 {
		err = d.reserve(size)
	}
	if err != nil {
		return d.failed(err, "begin an image anew")
	}
	return nil
}

// replace makes another file of the draft's folder the image.
func (d *draft) replace(f *os.File) error {
	old := d.file
	d.file = f
	if err := errors.Join(old.Close(), os.Remove(old.Name())); err != nil {
		return d.failed(err, "remove what was converted")
	}
	return nil
}

// commit writes the record and puts the image into the store in one step. The
// bytes are on the disk before the name is: after a power cut an image that is
// there is whole.
func (d *draft) commit(rec record) error {
	data, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return errs.Wrap(errs.Internal, "image "+rec.UUID, err, "write its record")
	}
	err = errors.Join(
		d.file.Truncate(rec.FileBytes), // gives back what was set aside too much
		d.file.Sync(),
		writeSynced(filepath.Join(d.dir, "image.json"), data),
		d.lock.Sync())
	if err != nil {
		return d.failed(err, "save image "+rec.UUID)
	}
	if err := os.Rename(d.dir, d.image(rec.UUID)); err != nil {
		return d.failed(err, "save image "+rec.UUID)
	}
	d.dir = d.image(rec.UUID) // still to be discarded when the last step fails
	parent, err := os.Open(d.images())
	if err != nil {
		return d.failed(err, "save image "+rec.UUID)
	}
	if err := errors.Join(parent.Sync(), parent.Close()); err != nil {
		return d.failed(err, "save image "+rec.UUID)
	}
	d.dir = ""
	return nil
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// discard frees everything; after commit the image stays.
func (d *draft) discard() error {
	var failures []error
	if d.file != nil {
		failures = append(failures, d.file.Close())
	}
	if d.dir != "" {
		failures = append(failures, os.RemoveAll(d.dir))
	}
	if d.lock != nil {
		failures = append(failures, d.lock.Close())
	}
	if err := errors.Join(failures...); err != nil {
		return d.failed(err, "remove an unfinished image")
	}
	return nil
}

package main

import (
	"bytes"
	"encoding/json"
	"errors"
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
	// at is where the next byte goes; the zeros from hole to it are not written.
	at, hole int64
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

// blockBytes is the unit in which file systems keep holes.
const blockBytes = 4096

var zeroBlock = make([]byte, blockBytes)

// Write appends bytes. Blocks of zeros take no place on the disk.
func (d *draft) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		n, empty := nextPiece(p[done:], d.at)
		if !empty {
			if err := d.punch(); err != nil {
				return done, err
			}
			if _, err := d.file.WriteAt(p[done:done+n], d.at); err != nil {
				return done, d.failed(err, "write an image")
			}
			d.hole = d.at + int64(n)
		}
		d.at, done = d.at+int64(n), done+n
	}
	return len(p), nil
}

// nextPiece returns how many bytes of p, which begins at a place of the file,
// are zeros of one block, or all before such.
func nextPiece(p []byte, at int64) (n int, empty bool) {
	for n < len(p) {
		block := p[n:min(len(p), n+blockBytes-int((at+int64(n))&(blockBytes-1)))]
		if bytes.Equal(block, zeroBlock[:len(block)]) {
			break
		}
		n += len(block)
	}
	if n == 0 {
		return min(len(p), blockBytes-int(at&(blockBytes-1))), true
	}
	return n, false
}

// punch gives back what was set aside for the zeros before at. Where that
// cannot be done they take place, and are zeros all the same.
func (d *draft) punch() error {
	if d.hole == d.at {
		return nil
	}
	if err := d.file.Truncate(d.at); err != nil { // behind the end nothing is given back
		return d.failed(err, "write an image")
	}
	err := unix.Fallocate(int(d.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, d.hole, d.at-d.hole)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return d.failed(err, "write an image")
	}
	return nil
}

// end gives the file its length, which zeros at its end have not.
func (d *draft) end() error {
	if err := d.punch(); err != nil {
		return err
	}
	if err := d.file.Truncate(d.at); err != nil {
		return d.failed(err, "write an image")
	}
	return nil
}

// restart forgets what was written; size is as for newDraft.
func (d *draft) restart(size int64) error {
	err := d.file.Truncate(0)
	d.at, d.hole = 0, 0
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

package main

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// convertTimeout bounds a conversion: terabytes on a slow disk take hours.
const convertTimeout = 6 * time.Hour

// convertible are the formats of disks that can be made of one another; an ISO
// is no disk.
var (
	convertible = []string{"qcow2", "raw", "vmdk", "vdi", "vhdx"}
	// convertTargets are those that are made, the better one first: the others
	// would be taken for what they were before.
	convertTargets = []string{"qcow2", "raw"}
)

// keptFormat returns the format in which an image is kept: its own if a storage
// can use it, or if nobody said what storages can use, else one to convert it
// to. Errors: Unsupported, naming what can be used.
func keptFormat(object, format string, usable []string) (string, error) {
	if len(usable) == 0 || slices.Contains(usable, format) {
		return format, nil
	}
	if slices.Contains(convertible, format) {
		for _, to := range convertTargets {
			if slices.Contains(usable, to) {
				return to, nil
			}
		}
	}
	return "", errs.New(errs.Unsupported, object, "no primary storage can use format %s, and it cannot be converted to one of %s", format, strings.Join(usable, ", ")).
		WithAdvice("add the image in one of these formats")
}

// convert makes the draft an image of the format that is kept. The image has
// been inspected, so it names no other file that qemu-img would open.
func (a *adding) convert(ctx context.Context, d *draft, rec *record) error {
	if rec.Format == a.format {
		return nil
	}
	a.core.Progress(ctx, 99, "converting from "+rec.Format+" to "+a.format)
	path := filepath.Join(d.dir, imageFile(a.format))
	_, problem, err := runQemuImg(ctx, a.object, convertTimeout, "convert", "-f", rec.Format, "-O", a.format, d.file.Name(), path)
	if err != nil {
		return err
	}
	if strings.Contains(problem, "No space left") {
		return errs.New(errs.Exhausted, a.object, "convert it from %s to %s: %s", rec.Format, a.format, problem).
			WithAdvice("free or add disk space at %s", a.root)
	}
	if problem != "" {
		return errs.New(errs.Invalid, a.object, "qemu-img cannot convert it from %s to %s: %s", rec.Format, a.format, problem)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return a.failed(err, "open the converted image")
	}
	sum := md5.New()
	n, err := io.Copy(sum, f)
	if err == nil {
		err = a.checkSize(n)
	}
	if err != nil {
		return errors.Join(a.failed(err, "read the converted image"), f.Close())
	}
	came := rec.came()
	rec.Came = &came
	rec.Format, rec.File, rec.FileBytes, rec.sums = a.format, imageFile(a.format), n, sums{MD5: hex.EncodeToString(sum.Sum(nil))}
	return d.replace(f)
}

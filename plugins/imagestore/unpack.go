package main

import (
	"bufio"
	"compress/bzip2"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// maxWindow is how much memory what is compressed may ask for to be unpacked: as
// much as the highest usual levels need (xz -9: 64 MiB).
const maxWindow = 128 << 20

// unpackers read what is compressed, by the name of its format among magics. Each
// checks the checksums that its format has (RFC 1952, RFC 8878, the .xz file
// format), and reads files that were put one behind the other.
var unpackers = map[string]func(io.Reader) (io.Reader, error){
	"gzip":  func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
	"xz":    func(r io.Reader) (io.Reader, error) { return xz.NewReader(r, maxWindow) },
	"bzip2": func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil },
	"zstd": func(r io.Reader) (io.Reader, error) {
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	},
}

// unpack puts what is in a compressed draft in its place; another draft stays as
// it is. Checksums are of what came, as publishers give them. What it unpacks to
// is bounded as a download is; it is not unpacked twice.
func (a *adding) unpack(ctx context.Context, d *draft, rec *record, src *source) error {
	head := make([]byte, 16)
	n, err := d.file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return a.failed(err, "read an image")
	}
	kind := formatOf(head[:n])
	begin, ok := unpackers[kind]
	if !ok {
		return nil
	}
	a.core.Progress(ctx, 99, "unpacking "+kind)
	packed, path := filepath.Join(d.dir, "packed"), d.file.Name()
	if err := os.Rename(path, packed); err != nil {
		return a.failed(err, "unpack an image")
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return a.failed(err, "unpack an image")
	}
	out := &draft{folder: d.folder, dir: d.dir, file: f}
	came := rec.came()
	rec.FileBytes, rec.sums, err = a.pour(ctx, out, io.NewSectionReader(d.file, 0, rec.FileBytes), begin)
	if errors.As(err, new(packError)) {
		err = damaged(a.object, src.name, "it cannot be unpacked ("+kind+"): "+err.Error())
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	old := d.file
	rec.Came, d.file, d.at, d.hole = &came, f, out.at, out.hole
	if err := errors.Join(old.Close(), os.Remove(packed)); err != nil {
		return a.failed(err, "remove what was unpacked")
	}
	return nil
}

// packError is an error of the bytes that are unpacked.
type packError struct{ error }

// packReader marks the errors of reading.
type packReader struct {
	io.Reader
	ctx context.Context
}

func (r packReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, errs.Wrap(errs.ClassOf(err), "image", err, "unpack it")
	}
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = packError{err}
	}
	return n, err
}

// pour unpacks into a draft.
func (a *adding) pour(ctx context.Context, out *draft, packed io.Reader, begin func(io.Reader) (io.Reader, error)) (int64, sums, error) {
	unpacked, err := begin(bufio.NewReaderSize(packed, copyBuffer))
	if err != nil {
		return 0, sums{}, packError{err}
	}
	if c, ok := unpacked.(io.Closer); ok {
		defer c.Close() // it was only read
	}
	sum := md5.New()
	size := &reporter{adding: a, ctx: ctx}
	n, err := io.CopyBuffer(io.MultiWriter(size, out, sum), packReader{unpacked, ctx}, make([]byte, copyBuffer))
	if err == nil {
		err = out.end()
	}
	return n, sums{MD5: hex.EncodeToString(sum.Sum(nil))}, err
}

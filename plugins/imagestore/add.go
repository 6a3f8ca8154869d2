package main

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	// copyBuffer keeps the number of system calls small against hashing.
	copyBuffer = 1 << 20
	// progressEvery is the rate at which progress is reported to the core.
	progressEvery = time.Second
	// uploadAttempts is how often an upload may break off and bring nothing new
	// (specification of compute and storage, section 5).
	uploadAttempts = 3
)

// AddImage brings an image into the store: it streams the bytes to a draft,
// checks the checksum, unpacks what is compressed, checks what the image is and
// that it is whole, and commits. It leaves nothing behind when it fails. A repeat for an image that is there succeeds, unless
// format or checksum differ (Exists).
func (s *store) AddImage(ctx context.Context, r *pluginv1.AddImageRequest) (*pluginv1.AddImageResponse, error) {
	f, err := s.folder(r.Store, r.ImageUuid)
	if err != nil {
		return nil, err
	}
	a := &adding{store: s, folder: f, object: "image " + r.ImageUuid, req: r}
	if !knownFormat(r.Format) {
		return nil, errs.New(errs.Invalid, a.object, "format %q is none of %s", r.Format, strings.Join(imageFormats, ", "))
	}
	if a.want, err = parseChecksum(a.object, r.Checksum, r.Url); err != nil {
		return nil, err
	}
	if a.format, err = keptFormat(a.object, r.Format, r.UsableFormats); err != nil {
		return nil, err
	}
	u, err := parseImageURL(a.object, r.Url)
	if err != nil {
		return nil, err
	}
	unlock, err := s.busy.lock(ctx, f.image(r.ImageUuid))
	if err != nil {
		return nil, errs.Wrap(errs.ClassOf(err), a.object, err, "wait for another download of it")
	}
	defer unlock()
	rec, err := f.read(r.ImageUuid)
	switch errs.ClassOf(err) {
	case "":
		return a.repeated(rec)
	case errs.NotFound:
	default:
		return nil, err
	}
	if u.Scheme == "upload" {
		return a.fromUpload(ctx)
	}
	if err := a.lookUp(ctx); err != nil {
		return nil, a.classed(ctx, err)
	}
	src, err := s.openSource(ctx, a.object, r.Url, r.Reach)
	if err != nil {
		return nil, a.classed(ctx, err)
	}
	resp, err := a.take(ctx, src)
	src.done(err)
	return resp, err
}

// adding is one AddImage.
type adding struct {
	*store
	folder
	object string
	req    *pluginv1.AddImageRequest
	want   checksum
	format string // in which the store keeps it
}

// fromUpload waits for a client's upload. One that breaks off may go on, or be
// begun again; one that is whole but wrong may not.
func (a *adding) fromUpload(ctx context.Context) (*pluginv1.AddImageResponse, error) {
	src, err := a.uploads.open(ctx, a.req.ImageUuid, a.limits.firstUpload, a.limits.idle, func(err error) {
		a.log.Warn("upload broke off, waiting for it to go on", "image", a.req.ImageUuid, "error", err)
	})
	if err != nil {
		return nil, a.classed(ctx, errs.Wrap(errs.ClassOf(err), a.object, err, "wait for its upload"))
	}
	resp, err := a.take(ctx, src)
	src.done(err)
	return resp, err
}

// take makes an image of the source's bytes.
func (a *adding) take(ctx context.Context, src *source) (_ *pluginv1.AddImageResponse, err error) {
	if err := a.checkSize(src.size); err != nil {
		return nil, err
	}
	d, err := a.newDraft(a.req.ImageUuid, a.req.Format, src.size)
	if err != nil {
		return nil, err
	}
	defer func() {
		if dropped := d.discard(); dropped != nil {
			a.log.Warn("unfinished image left for the next sweep", "image", a.req.ImageUuid, "error", dropped)
		}
	}()
	rec := record{UUID: a.req.ImageUuid, Format: a.req.Format, File: imageFile(a.req.Format), Added: time.Now().UTC()}
	err = a.copy(ctx, d, src, &rec)
	for errors.Is(err, errRestarted) {
		if err = errors.Join(a.checkSize(src.size), d.restart(src.size)); err == nil {
			err = a.copy(ctx, d, src, &rec)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := a.want.check(a.object, rec.came().sums); err != nil {
		return nil, err
	}
	if err := a.unpack(ctx, d, &rec, src); err != nil {
		return nil, err
	}
	if rec.VirtualBytes, err = inspect(ctx, a.object, src.name, d.file, rec.Format); err != nil {
		return nil, err
	}
	if err := a.whole(ctx, d.file, &rec, src); err != nil {
		return nil, err
	}
	if err := a.convert(ctx, d, &rec); err != nil {
		return nil, err
	}
	if err := d.commit(rec); err != nil {
		return nil, err
	}
	a.core.Progress(ctx, 100, "image added")
	return a.response(rec), nil
}

// checkSize refuses an image that is larger than what the store has for it.
func (a *adding) checkSize(n int64) error {
	if a.req.MaxBytes > 0 && n > a.req.MaxBytes {
		return errs.New(errs.Exhausted, a.object, "it has more than the %d bytes that the store has for it", a.req.MaxBytes).
			WithAdvice("free or add disk space at %s, or lower the store's reserved capacity", a.root)
	}
	return nil
}

// copy streams the source to the draft and hashes it on the way.
func (a *adding) copy(ctx context.Context, d *draft, src *source, rec *record) error {
	if src.abort != nil {
		defer context.AfterFunc(ctx, src.abort)()
	}
	sum := md5.New()
	wanted := hash.Hash(sum)
	sinks := []io.Writer{d, sum, &reporter{adding: a, ctx: ctx, total: src.size}}
	if k := a.want.kind; k != "" && k != "md5" {
		wanted = hashes[k]()
		sinks = append(sinks, wanted)
	}
	reader := &watched{src: src, ctx: ctx, idle: a.limits.idle}
	n, err := io.CopyBuffer(io.MultiWriter(sinks...), struct{ io.Reader }{reader}, make([]byte, copyBuffer))
	if err == nil && src.size >= 0 && n != src.size {
		err = io.ErrUnexpectedEOF
	}
	var known *errs.Error
	switch {
	case errors.As(err, &known), errors.Is(err, errRestarted):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF) && src.size < 0:
		return errs.Wrap(errs.Unavailable, a.object, err, "%s broke off after %d bytes", src.name, n)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errs.Wrap(errs.Unavailable, a.object, err, "%s ended after %d of %d bytes", src.name, n, src.size)
	case err != nil:
		return a.classed(ctx, errs.Wrap(errs.Unavailable, a.object, err, "read %s after %d bytes", src.name, n))
	}
	if err := d.end(); err != nil {
		return err
	}
	rec.FileBytes, rec.MD5 = n, hex.EncodeToString(sum.Sum(nil))
	if a.want.kind != "" {
		*rec.of(a.want.kind) = hex.EncodeToString(wanted.Sum(nil))
	}
	return nil
}

// classed tells a cancelled or timed out operation from a failed source.
func (a *adding) classed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errs.Wrap(errs.ClassOf(ctx.Err()), a.object, err, "add it")
	}
	return err
}

// repeated answers for an image that is in the store already.
func (a *adding) repeated(rec record) (*pluginv1.AddImageResponse, error) {
	if rec.came().Format != a.req.Format {
		return nil, errs.New(errs.Exists, a.object, "it is in the store with format %s, not %s", rec.came().Format, a.req.Format)
	}
	if err := a.want.check(a.object, rec.came().sums); err != nil {
		return nil, errs.Wrap(errs.Exists, a.object, err, "it is in the store with other bytes")
	}
	return a.response(rec), nil
}

func (a *adding) response(rec record) *pluginv1.AddImageResponse {
	return &pluginv1.AddImageResponse{
		InstallPath: a.image(rec.UUID) + "/" + rec.File, SizeBytes: rec.VirtualBytes,
		ActualBytes: rec.FileBytes, Md5: rec.MD5, Format: rec.Format,
	}
}

// reporter ends a copy that gets too large, and tells the core how far it is, once in a while: a report is a
// call, and must not slow the download down.
type reporter struct {
	*adding
	ctx         context.Context
	total, seen int64
	last        time.Time
}

func (p *reporter) Write(b []byte) (int, error) {
	p.seen += int64(len(b))
	if err := p.checkSize(p.seen); err != nil {
		return 0, err
	}
	if time.Since(p.last) < progressEvery {
		return len(b), nil
	}
	p.last = time.Now()
	percent := 0
	if p.total > 0 {
		percent = int(min(99*p.seen/p.total, 99)) // the checks are the last percent
	}
	p.core.Progress(p.ctx, percent, fmt.Sprintf("%d MiB received", p.seen>>20))
	return len(b), nil
}

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/client"
	"github.com/kumo-cloud/kumo/web/cli/schema"
)

const (
	// readyTime is how long a store may take to check what it was sent.
	readyTime = 10 * time.Minute
	// forgetTime bounds the removal of an image whose upload was given up.
	forgetTime = 30 * time.Second
)

// uploaded is what the upload needs to know of its image.
type uploaded struct {
	UUID, Status      string
	BackupStorageRefs []struct{ InstallPath string }
}

// runUpload adds an image and sends it a file of this machine. An upload that
// fails, or that is given up, leaves no image.
func (a *App) runUpload(ctx context.Context, r verbRun) error {
	f, err := a.format()
	if err != nil {
		return err
	}
	if r.noWait {
		return errs.New(errs.Invalid, "--no-wait", "the file is sent while this waits")
	}
	file, size, err := openUpload(r)
	if err != nil {
		return err
	}
	defer file.Close()
	c, err := a.client()
	if err != nil {
		return err
	}
	if err := r.params.resolve(ctx, c); err != nil {
		return err
	}
	call, err := r.request("")
	if err != nil {
		return err
	}
	what := "upload " + r.objects[0]
	answer, err := c.Do(ctx, call)
	if err != nil {
		return wrap(what, err)
	}
	var image uploaded
	if err := json.Unmarshal(client.Inventory(answer), &image); err != nil {
		return errs.Wrap(errs.Internal, "server "+c.Server, err, "its answer is no image")
	}
	if err := a.sendFile(ctx, c, what, file, size, image); err != nil {
		a.forget(ctx, c, r.noun, image.UUID)
		return wrap(what, err)
	}
	inventory, err := waitReady(ctx, c, r.noun, image.UUID)
	if err != nil {
		return wrap(what, err)
	}
	return a.printOne(ctx, c, f, r.noun, inventory)
}

// openUpload opens the file and completes the parameters by what it is.
func openUpload(r verbRun) (*os.File, int64, error) {
	path := r.objects[0]
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, errs.Wrap(errs.Invalid, "file "+path, err, "cannot be read")
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errs.New(errs.Invalid, "file "+path, "is no regular file")
	}
	values := r.params.values
	if err == nil && values["format"] == nil {
		values["format"], err = formatOf(file)
	}
	if err != nil {
		file.Close()
		return nil, 0, errs.Wrap(errs.Invalid, "file "+path, err, "")
	}
	if values["mediaType"] == nil && values["format"] == "iso" {
		values["mediaType"] = "ISO"
	}
	values[r.action.FileParam().Name] = "upload://" + filepath.Base(path)
	return file, info.Size(), nil
}

// formatOf tells a file's format by its first bytes: those of qcow2 (QEMU,
// docs/interop/qcow2.txt), or the volume descriptor of a CD (ECMA-119, 8.1).
func formatOf(file *os.File) (string, error) {
	const descriptor = 16*2048 + 1
	head := make([]byte, descriptor+5)
	n, err := file.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return "", err
	}
	switch head = head[:n]; {
	case bytes.HasPrefix(head, []byte("QFI\xfb")):
		return "qcow2", nil
	case len(head) > descriptor && bytes.HasPrefix(head[descriptor:], []byte("CD001")):
		return "iso", nil
	}
	return "raw", nil
}

// sendFile sends the file to each of the image's stores.
func (a *App) sendFile(ctx context.Context, c *client.Client, what string, file *os.File, size int64, image uploaded) error {
	var sent atomic.Int64
	all := size * int64(len(image.BackupStorageRefs))
	stop := a.progress(what, func() int64 { return 100 * sent.Load() / max(all, 1) })
	defer stop()
	for _, ref := range image.BackupStorageRefs {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if err := c.Put(ctx, ref.InstallPath, &counted{io.LimitReader(file, size), &sent}, size); err != nil {
			return err
		}
	}
	return nil
}

// counted counts what is read.
type counted struct {
	io.Reader
	n *atomic.Int64
}

// Read implements io.Reader.
func (r *counted) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n.Add(int64(n))
	return n, err
}

// waitReady waits until an image whose bytes were taken can be used. The API has
// no event for that.
func waitReady(ctx context.Context, c *client.Client, t *schema.Type, uuid string) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		page, err := c.Query(ctx, t.Path, client.Query{Conditions: []string{"uuid=" + uuid}})
		if err != nil {
			return nil, err
		}
		if len(page.Inventories) == 0 {
			return nil, errs.New(errs.Refused, t.Noun+" "+uuid, "the server has removed it").WithAdvice("its log tells why")
		}
		if client.Text(page.Inventories[0], "status") == "Ready" {
			return page.Inventories[0], nil
		}
		select {
		case <-ctx.Done():
			return nil, errs.Wrap(errs.ClassOf(ctx.Err()), t.Noun+" "+uuid, ctx.Err(), "it is not Ready yet")
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// forget removes an image whose bytes do not come any more. The server does so by
// itself a little later, so that an error here is only told.
func (a *App) forget(ctx context.Context, c *client.Client, t *schema.Type, uuid string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), forgetTime)
	defer cancel()
	if _, err := c.Do(ctx, client.Call{Method: http.MethodDelete, Path: t.Path + "/" + uuid}); err != nil {
		a.say("%s %s is not removed yet: %v", t.Noun, uuid, err)
	}
}

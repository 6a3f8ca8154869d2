package plugintest

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// FolderAgent is a host agent whose host is one folder: it makes real disks
// with qemu-img (Debian: qemu-utils), downloads real files, and refuses every
// path outside of root. It has no network operations.
func FolderAgent(t testing.TB, root string) hostv1.HostAgentServiceClient {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Fatalf("qemu-img is needed, install qemu-utils: %v", err)
	}
	return Agent(t, &folderAgent{root: root})
}

type folderAgent struct {
	hostv1.UnimplementedHostAgentServiceServer
	root string
}

func (a *folderAgent) check(path string) error {
	if rel, err := filepath.Rel(a.root, path); err != nil || filepath.Clean(path) != path || rel == ".." || strings.HasPrefix(rel, "../") {
		return errs.New(errs.Invalid, "path "+path, "it is not below %s", a.root)
	}
	return nil
}

// below is check for calls that also say below what the path must be.
func (a *folderAgent) below(path, root string) error {
	if err := a.check(root); err != nil {
		return err
	}
	if !strings.HasPrefix(path, root+"/") {
		return errs.New(errs.Invalid, "path "+path, "it is not below %s", root)
	}
	return a.check(path)
}

func pathError(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return errs.Wrap(errs.NotFound, "path "+path, err, "it is not there")
	}
	return errs.Wrap(errs.Internal, "path "+path, err, "it cannot be used")
}

func (a *folderAgent) Info(context.Context, *hostv1.InfoRequest) (*hostv1.InfoResponse, error) {
	return &hostv1.InfoResponse{Version: "plugintest", Hostname: "folder"}, nil
}

func (a *folderAgent) EnsureFolder(_ context.Context, r *hostv1.EnsureFolderRequest) (*hostv1.EnsureFolderResponse, error) {
	if err := a.check(r.Path); err != nil {
		return nil, err
	}
	return &hostv1.EnsureFolderResponse{}, pathError(r.Path, os.MkdirAll(r.Path, 0o755))
}

func (a *folderAgent) FolderCapacity(_ context.Context, r *hostv1.FolderCapacityRequest) (*hostv1.FolderCapacityResponse, error) {
	if err := a.check(r.Path); err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(r.Path, &st); err != nil {
		return nil, pathError(r.Path, err)
	}
	return &hostv1.FolderCapacityResponse{
		TotalBytes: int64(st.Blocks) * st.Bsize, AvailableBytes: int64(st.Bavail) * st.Bsize,
	}, nil
}

func (a *folderAgent) ListFolder(_ context.Context, r *hostv1.ListFolderRequest) (*hostv1.ListFolderResponse, error) {
	if err := a.check(r.Path); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(r.Path)
	if err != nil {
		return nil, pathError(r.Path, err)
	}
	resp := &hostv1.ListFolderResponse{}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			resp.Names = append(resp.Names, e.Name())
		}
	}
	return resp, nil
}

func qemuImg(ctx context.Context, path string, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, "qemu-img", args...).Output()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, errs.New(errs.Invalid, "disk "+path, "qemu-img %s: %s", args[0], strings.TrimSpace(string(exit.Stderr)))
	}
	return out, err
}

func (a *folderAgent) stat(ctx context.Context, path string) (*hostv1.DiskInfo, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, pathError(path, err)
	}
	out, err := qemuImg(ctx, path, "info", "--output=json", path)
	if err != nil {
		return nil, err
	}
	var info struct {
		Virtual int64  `json:"virtual-size"`
		Actual  int64  `json:"actual-size"`
		Format  string `json:"format"`
		Backing string `json:"backing-filename"`
	}
	if err := json.Unmarshal(out, &info); err != nil {
		return nil, errs.Wrap(errs.Internal, "disk "+path, err, "qemu-img info")
	}
	return &hostv1.DiskInfo{VirtualBytes: info.Virtual, ActualBytes: info.Actual, Format: info.Format, BackingPath: info.Backing}, nil
}

// temporary is a free name beside path; what is renamed to path is whole.
func temporary(path string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", pathError(path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".part-")
	if err != nil {
		return "", pathError(path, err)
	}
	return f.Name(), f.Close()
}

func (a *folderAgent) CreateDisk(ctx context.Context, r *hostv1.CreateDiskRequest) (*hostv1.CreateDiskResponse, error) {
	if err := a.below(r.Path, r.Root); err != nil {
		return nil, err
	}
	if info, err := a.stat(ctx, r.Path); err == nil {
		if info.Format != r.Format || info.BackingPath != r.BackingPath || r.SizeBytes > info.VirtualBytes {
			return nil, errs.New(errs.Exists, "disk "+r.Path, "another disk has this name: %v", info)
		}
		return &hostv1.CreateDiskResponse{Disk: info}, nil
	}
	args := []string{"create", "-q", "-f", r.Format}
	if r.BackingPath != "" {
		if err := a.below(r.BackingPath, r.Root); err != nil {
			return nil, err
		}
		args = append(args, "-b", r.BackingPath, "-F", r.BackingFormat)
	}
	part, err := temporary(r.Path)
	if err != nil {
		return nil, err
	}
	if _, err = qemuImg(ctx, r.Path, append(args, part, strconv.FormatInt(r.SizeBytes, 10))...); err == nil {
		err = os.Rename(part, r.Path)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(part))
	}
	info, err := a.stat(ctx, r.Path)
	return &hostv1.CreateDiskResponse{Disk: info}, err
}

func (a *folderAgent) StatDisk(ctx context.Context, r *hostv1.StatDiskRequest) (*hostv1.StatDiskResponse, error) {
	if err := a.below(r.Path, r.Root); err != nil {
		return nil, err
	}
	info, err := a.stat(ctx, r.Path)
	return &hostv1.StatDiskResponse{Disk: info}, err
}

func (a *folderAgent) ResizeDisk(ctx context.Context, r *hostv1.ResizeDiskRequest) (*hostv1.ResizeDiskResponse, error) {
	if err := a.below(r.Path, r.Root); err != nil {
		return nil, err
	}
	if _, err := a.stat(ctx, r.Path); err != nil {
		return nil, err
	}
	if _, err := qemuImg(ctx, r.Path, "resize", "-q", r.Path, strconv.FormatInt(r.SizeBytes, 10)); err != nil {
		return nil, err
	}
	info, err := a.stat(ctx, r.Path)
	return &hostv1.ResizeDiskResponse{Disk: info}, err
}

func (a *folderAgent) DeleteFile(_ context.Context, r *hostv1.DeleteFileRequest) (*hostv1.DeleteFileResponse, error) {
	if err := a.below(r.Path, r.Root); err != nil {
		return nil, err
	}
	if err := os.Remove(r.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, pathError(r.Path, err)
	}
	return &hostv1.DeleteFileResponse{}, nil
}

func (a *folderAgent) FetchFile(r *hostv1.FetchFileRequest, out hostv1.HostAgentService_FetchFileServer) error {
	ctx := out.Context()
	if err := a.below(r.Path, r.Root); err != nil {
		return err
	}
	if _, err := os.Stat(r.Path); errors.Is(err, fs.ErrNotExist) {
		if err := a.download(ctx, r); err != nil {
			return err
		}
	}
	info, err := a.stat(ctx, r.Path)
	if err != nil {
		return err
	}
	return out.Send(&hostv1.FetchFileResponse{Bytes: info.ActualBytes, Done: true, Disk: info})
}

func (a *folderAgent) download(ctx context.Context, r *hostv1.FetchFileRequest) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.Url, nil)
	if err != nil {
		return errs.Wrap(errs.Invalid, "URL "+r.Url, err, "it cannot be used")
	}
	for k, v := range r.Headers {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return errs.Wrap(errs.Unavailable, "URL "+r.Url, err, "it cannot be read")
	}
	defer func() { _ = resp.Body.Close() }() // only read
	if resp.StatusCode != http.StatusOK {
		return errs.New(errs.Unavailable, "URL "+r.Url, "the server says %s", resp.Status)
	}
	part, err := temporary(r.Path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(part))
		}
	}()
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return pathError(part, err)
	}
	h := md5.New()
	n, err := io.Copy(io.MultiWriter(f, h), resp.Body)
	if err := errors.Join(err, f.Close()); err != nil {
		return pathError(part, err)
	}
	if sum := hex.EncodeToString(h.Sum(nil)); r.Md5 != "" && sum != r.Md5 || r.SizeBytes != 0 && n != r.SizeBytes {
		return errs.New(errs.Invalid, "URL "+r.Url, "it gave %d bytes with MD5 %s, not what was announced", n, sum)
	}
	return pathError(r.Path, os.Rename(part, r.Path))
}

// Image makes a qcow2 image of the given size with qemu-img, serves it over
// HTTP on loopback until the test ends, and returns where it can be read.
func Image(t testing.TB, virtualBytes int64) *ImageServer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.qcow2")
	out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", path, strconv.FormatInt(virtualBytes, 10)).CombinedOutput()
	if err != nil {
		t.Fatalf("qemu-img (Debian: qemu-utils): %v %s", err, out)
	}
	return serveFile(t, path)
}

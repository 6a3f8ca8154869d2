package hostd

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/pluginsdk/dataplane"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// maxDiskCalls bounds the qemu-img processes at one time.
const maxDiskCalls = 16

// Server answers the operations of kumo.host.v1. Use New.
type Server struct {
	hostv1.UnimplementedHostAgentServiceServer
	version string
	log     hclog.Logger
	engine  *dataplane.Engine
	fetcher *fetcher
	paths   *pathLocks
	disks   chan struct{}
	media   media
	stopped chan struct{}
}

// New makes a Server that tells the version and applies network state with the
// engine. log may be nil.
func New(version string, engine *dataplane.Engine, log hclog.Logger) *Server {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	go probeKVM() // takes a moment where the answer is no
	paths := newPathLocks()
	return &Server{version: version, log: log, engine: engine, fetcher: newFetcher(paths), paths: paths,
		disks: make(chan struct{}, maxDiskCalls), stopped: make(chan struct{})}
}

// changeDisk waits until nobody else changes the disk, then for a turn at
// qemu-img: those that wait for a path must not hold up other disks.
func (s *Server) changeDisk(ctx context.Context, path string) (done func(), err error) {
	release, err := s.paths.take(ctx, path)
	if err != nil {
		return nil, err
	}
	free, err := s.diskSlot(ctx, "disk "+path)
	if err != nil {
		release()
		return nil, err
	}
	return func() {
		free()
		release()
	}, nil
}

// diskSlot waits for a turn at qemu-img.
func (s *Server) diskSlot(ctx context.Context, object string) (func(), error) {
	select {
	case s.disks <- struct{}{}:
		return func() { <-s.disks }, nil
	case <-ctx.Done():
		return nil, errs.Wrap(errs.ClassOf(ctx.Err()), object, ctx.Err(), "the host is busy with other disks")
	}
}

// EnsureFolder makes a folder with its parents. An existing one gets the mode.
func (s *Server) EnsureFolder(_ context.Context, r *hostv1.EnsureFolderRequest) (*hostv1.EnsureFolderResponse, error) {
	if err := checkFolder(r.GetPath()); err != nil {
		return nil, err
	}
	mode := os.FileMode(r.GetMode())
	if mode == 0 {
		mode = 0o755
	}
	if mode&^0o777 != 0 {
		return nil, errs.New(errs.Invalid, "folder "+r.GetPath(), "mode %o is not between 0 and 777", r.GetMode())
	}
	if err := os.MkdirAll(r.GetPath(), mode); err != nil {
		return nil, pathError(r.GetPath(), err, "cannot be made")
	}
	if r.GetMode() != 0 {
		if err := os.Chmod(r.GetPath(), mode); err != nil {
			return nil, pathError(r.GetPath(), err, "cannot get mode %o", mode)
		}
	}
	return &hostv1.EnsureFolderResponse{}, nil
}

// FolderCapacity tells the size of the file system that the folder is on.
func (s *Server) FolderCapacity(_ context.Context, r *hostv1.FolderCapacityRequest) (*hostv1.FolderCapacityResponse, error) {
	if err := checkFolder(r.GetPath()); err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(r.GetPath(), &st); err != nil {
		return nil, pathError(r.GetPath(), err, "its capacity cannot be read")
	}
	s.media.add(r.GetPath())
	// Bavail leaves out what the file system keeps for root.
	return &hostv1.FolderCapacityResponse{TotalBytes: int64(st.Blocks) * st.Frsize, AvailableBytes: int64(st.Bavail) * st.Frsize}, nil
}

// ListFolder tells the names in a folder, without files on their way; an empty
// list when there is no such folder.
func (s *Server) ListFolder(_ context.Context, r *hostv1.ListFolderRequest) (*hostv1.ListFolderResponse, error) {
	if err := checkFolder(r.GetPath()); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(r.GetPath())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, pathError(r.GetPath(), err, "cannot be listed")
	}
	out := &hostv1.ListFolderResponse{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".kumo-part") {
			out.Names = append(out.Names, e.Name())
		}
	}
	slices.Sort(out.Names)
	return out, nil
}

// CreateDisk makes a disk; one with the same parameters stays as it is.
func (s *Server) CreateDisk(ctx context.Context, r *hostv1.CreateDiskRequest) (*hostv1.CreateDiskResponse, error) {
	done, err := s.changeDisk(ctx, r.GetPath())
	if err != nil {
		return nil, err
	}
	defer done()
	info, err := createDisk(ctx, r)
	if err != nil {
		return nil, err
	}
	return &hostv1.CreateDiskResponse{Disk: info}, nil
}

// StatDisk reads a disk's header; errs.NotFound when there is none.
func (s *Server) StatDisk(ctx context.Context, r *hostv1.StatDiskRequest) (*hostv1.StatDiskResponse, error) {
	if err := checkBelow(r.GetPath(), r.GetRoot()); err != nil {
		return nil, err
	}
	free, err := s.diskSlot(ctx, "disk "+r.GetPath())
	if err != nil {
		return nil, err
	}
	defer free()
	info, err := statDisk(ctx, r.GetPath())
	if err != nil {
		return nil, err
	}
	return &hostv1.StatDiskResponse{Disk: info.message()}, nil
}

// ResizeDisk grows a disk that is not in use.
func (s *Server) ResizeDisk(ctx context.Context, r *hostv1.ResizeDiskRequest) (*hostv1.ResizeDiskResponse, error) {
	if err := checkBelow(r.GetPath(), r.GetRoot()); err != nil {
		return nil, err
	}
	done, err := s.changeDisk(ctx, r.GetPath())
	if err != nil {
		return nil, err
	}
	defer done()
	info, err := resizeDisk(ctx, r.GetPath(), r.GetSizeBytes())
	if err != nil {
		return nil, err
	}
	return &hostv1.ResizeDiskResponse{Disk: info}, nil
}

// DeleteFile removes a file, or an empty folder; gone is a success. Parts of a
// download or creation that a crash left go too; one that is at work is waited
// for.
func (s *Server) DeleteFile(ctx context.Context, r *hostv1.DeleteFileRequest) (*hostv1.DeleteFileResponse, error) {
	if err := checkRemovable(r.GetPath(), r.GetRoot()); err != nil {
		return nil, err
	}
	release, err := s.paths.take(ctx, r.GetPath())
	if err != nil {
		return nil, err
	}
	defer release()
	for _, path := range []string{r.GetPath(), temporaryName(r.GetPath())} {
		switch err := os.Remove(path); {
		case err == nil, errors.Is(err, os.ErrNotExist):
		case errors.Is(err, unix.ENOTEMPTY):
			return nil, errs.New(errs.Refused, "folder "+path, "it is not empty")
		default:
			return nil, pathError(path, err, "cannot be removed")
		}
	}
	return &hostv1.DeleteFileResponse{}, nil
}

// FetchFile downloads a file. The answer with done set is the last and has the
// disk's header when the file is a disk.
func (s *Server) FetchFile(r *hostv1.FetchFileRequest, stream hostv1.HostAgentService_FetchFileServer) error {
	size, err := s.fetcher.fetch(stream.Context(), r, func(n int64) error {
		return stream.Send(&hostv1.FetchFileResponse{Bytes: n})
	})
	if err != nil {
		return err
	}
	last := &hostv1.FetchFileResponse{Bytes: size, Done: true}
	info, err := statDisk(stream.Context(), r.GetPath())
	if err != nil {
		return err
	}
	last.Disk = info.message()
	return stream.Send(last)
}

// Apply changes fragments of an owner: see dataplane.Engine.
func (s *Server) Apply(ctx context.Context, r *hostv1.ApplyRequest) (*hostv1.ApplyResponse, error) {
	at := dataplane.Revisions{Base: r.GetBase(), Revision: r.GetRevision()}
	err := s.engine.Apply(ctx, r.GetOwner(), at, r.GetUpsert(), r.GetRemove())
	if errors.Is(err, dataplane.ErrStale) {
		return &hostv1.ApplyResponse{Stale: true}, nil
	}
	if err != nil {
		return nil, err
	}
	return &hostv1.ApplyResponse{}, nil
}

// Sync replaces all fragments of an owner: see dataplane.Engine.
func (s *Server) Sync(ctx context.Context, r *hostv1.SyncRequest) (*hostv1.SyncResponse, error) {
	synced, err := s.engine.Sync(ctx, r.GetOwner(), r.GetRevision(), r.GetFragments(), r.GetKeep())
	if err != nil {
		return nil, err
	}
	answer := &hostv1.SyncResponse{Changed: int32(synced.Changed), Removed: int32(synced.Removed)}
	for _, f := range synced.Failures {
		s.log.Warn("a fragment is not as it should be", "owner", r.GetOwner(), "key", f.Key, "error", f.Err)
		answer.Failures = append(answer.Failures, &hostv1.SyncFailure{Key: f.Key, Class: string(errs.ClassOf(f.Err)), Text: f.Err.Error()})
	}
	return answer, nil
}

// FilterCounters tells what an owner's filter rules have matched: see
// dataplane.Engine.
func (s *Server) FilterCounters(_ context.Context, r *hostv1.FilterCountersRequest) (*hostv1.FilterCountersResponse, error) {
	counters, err := s.engine.FilterCounters(r.GetOwner())
	if err != nil {
		return nil, err
	}
	return &hostv1.FilterCountersResponse{Counters: counters}, nil
}

// Plug makes guests' devices ports of their bridges: see dataplane.Engine.
func (s *Server) Plug(ctx context.Context, r *hostv1.PlugRequest) (*hostv1.PlugResponse, error) {
	failures, err := s.engine.Plug(ctx, r.GetPorts())
	if err != nil {
		return nil, err
	}
	answer := &hostv1.PlugResponse{}
	for _, f := range failures {
		answer.Failures = append(answer.Failures, &hostv1.SyncFailure{Key: f.Key, Class: string(errs.ClassOf(f.Err)), Text: f.Err.Error()})
	}
	return answer, nil
}

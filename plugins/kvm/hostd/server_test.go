package hostd

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// serveAgent runs an agent on a unix socket and returns its client.
func serveAgent(t *testing.T, state string) hostv1.HostAgentServiceClient {
	t.Helper()
	socket := filepath.Join(state, "hostd.sock")
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- Serve(ctx, Options{Socket: socket, StateDir: state, Version: "test"}, func() { close(ready) })
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("unix:"+socket, append(pluginsdk.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	must(t, err)
	t.Cleanup(func() {
		must(t, conn.Close())
		cancel()
		must(t, <-ended)
	})
	return hostv1.NewHostAgentServiceClient(conn)
}

func stateFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "h")
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	return dir
}

func TestAgentSocketAndLock(t *testing.T) {
	state := stateFolder(t)
	agent := serveAgent(t, state)
	info, err := os.Stat(filepath.Join(state, "hostd.sock"))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %o", info.Mode().Perm())
	}
	err = Serve(t.Context(), Options{Socket: filepath.Join(state, "other.sock"), StateDir: state}, func() { t.Error("a second agent is ready") })
	if !errors.Is(err, errs.Refused) {
		t.Errorf("a second agent: %v", err)
	}
	got, err := agent.Info(t.Context(), &hostv1.InfoRequest{})
	must(t, err)
	if got.GetVersion() != "test" || got.GetCpuNum() < 1 || got.GetMemoryBytes() < 1<<28 || got.GetKernel() == "" || got.GetArchitecture() == "" ||
		got.GetKvm() != (got.GetKvmReason() == "") {
		t.Errorf("info %v", got)
	}
}

func TestDisks(t *testing.T) {
	agent, root := serveAgent(t, stateFolder(t)), t.TempDir()
	ctx := t.Context()
	base, disk := filepath.Join(root, "base.qcow2"), filepath.Join(root, "a", "disk.qcow2")
	create := func(r *hostv1.CreateDiskRequest) (*hostv1.DiskInfo, error) {
		r.Root = root
		answer, err := agent.CreateDisk(ctx, r)
		return answer.GetDisk(), err
	}
	for range 2 {
		info, err := create(&hostv1.CreateDiskRequest{Path: base, Format: "qcow2", SizeBytes: 8 << 20})
		must(t, err)
		if info.GetVirtualBytes() != 8<<20 || info.GetFormat() != "qcow2" {
			t.Fatalf("base %v", info)
		}
		info, err = create(&hostv1.CreateDiskRequest{Path: disk, Format: "qcow2", BackingPath: base, BackingFormat: "qcow2"})
		must(t, err)
		if info.GetVirtualBytes() != 8<<20 || info.GetBackingPath() != base {
			t.Fatalf("overlay %v", info)
		}
	}
	for name, tc := range map[string]struct {
		r     *hostv1.CreateDiskRequest
		class errs.Class
	}{
		"other size":       {&hostv1.CreateDiskRequest{Path: base, Format: "qcow2", SizeBytes: 9 << 20}, errs.Exists},
		"other format":     {&hostv1.CreateDiskRequest{Path: base, Format: "raw", SizeBytes: 8 << 20}, errs.Exists},
		"no such format":   {&hostv1.CreateDiskRequest{Path: root + "/x", Format: "vmdk", SizeBytes: 1 << 20}, errs.Invalid},
		"format injection": {&hostv1.CreateDiskRequest{Path: root + "/x", Format: "qcow2,x=y", SizeBytes: 1 << 20}, errs.Invalid},
		"no size":          {&hostv1.CreateDiskRequest{Path: root + "/x", Format: "qcow2"}, errs.Invalid},
		"negative size":    {&hostv1.CreateDiskRequest{Path: root + "/x", Format: "qcow2", SizeBytes: -1}, errs.Invalid},
		"no backing":       {&hostv1.CreateDiskRequest{Path: root + "/x", Format: "qcow2", BackingPath: root + "/none", BackingFormat: "qcow2"}, errs.NotFound},
		"backing outside":  {&hostv1.CreateDiskRequest{Path: root + "/x", Format: "qcow2", BackingPath: "/etc/passwd", BackingFormat: "raw"}, errs.Invalid},
		"too small":        {&hostv1.CreateDiskRequest{Path: root + "/x", Format: "qcow2", SizeBytes: 1 << 20, BackingPath: base, BackingFormat: "qcow2"}, errs.Invalid},
		"outside":          {&hostv1.CreateDiskRequest{Path: "/tmp/x", Format: "qcow2", SizeBytes: 1 << 20}, errs.Invalid},
	} {
		if _, err := create(tc.r); !errors.Is(err, tc.class) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for range 2 {
		grown, err := agent.ResizeDisk(ctx, &hostv1.ResizeDiskRequest{Path: disk, SizeBytes: 16 << 20, Root: root})
		must(t, err)
		if grown.GetDisk().GetVirtualBytes() != 16<<20 {
			t.Errorf("grown to %v", grown)
		}
	}
	if _, err := agent.ResizeDisk(ctx, &hostv1.ResizeDiskRequest{Path: disk, SizeBytes: 1 << 20, Root: root}); !errors.Is(err, errs.Invalid) {
		t.Errorf("shrinking: %v", err)
	}
	if _, err := agent.StatDisk(ctx, &hostv1.StatDiskRequest{Path: root + "/none", Root: root}); !errors.Is(err, errs.NotFound) {
		t.Errorf("no disk: %v", err)
	}
	for range 2 {
		_, err := agent.DeleteFile(ctx, &hostv1.DeleteFileRequest{Path: disk, Root: root})
		must(t, err)
	}
	names, err := agent.ListFolder(ctx, &hostv1.ListFolderRequest{Path: root})
	must(t, err)
	if got := strings.Join(names.GetNames(), " "); got != "a base.qcow2" {
		t.Errorf("names %q", got)
	}
	if _, err := agent.DeleteFile(ctx, &hostv1.DeleteFileRequest{Path: root + "/..", Root: root}); !errors.Is(err, errs.Invalid) {
		t.Errorf("deleting above the root: %v", err)
	}
}

// A caller that gives up leaves its call at work for a moment; what follows for
// the same path must neither fail nor find half a disk.
func TestRepeatsAfterGivenUpCalls(t *testing.T) {
	agent, root := serveAgent(t, stateFolder(t)), t.TempDir()
	disk := filepath.Join(root, "disk.qcow2")
	request := &hostv1.CreateDiskRequest{Path: disk, Format: "qcow2", SizeBytes: 8 << 20, Root: root}
	for i := range 30 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				// Whether it is in time does not matter.
				_, _ = agent.CreateDisk(ctx, request)
			})
		}
		all.Wait()
		cancel()
		made, err := agent.CreateDisk(t.Context(), request)
		must(t, err)
		if made.GetDisk().GetVirtualBytes() != 8<<20 {
			t.Fatalf("disk %v", made)
		}
		_, err = agent.DeleteFile(t.Context(), &hostv1.DeleteFileRequest{Path: disk, Root: root})
		must(t, err)
		entries, err := os.ReadDir(root)
		must(t, err)
		if len(entries) != 0 {
			t.Fatalf("round %d leaves %v", i, entries)
		}
	}
}

func TestPathLocks(t *testing.T) {
	locks := newPathLocks()
	release, err := locks.take(t.Context(), "/a")
	must(t, err)
	other, err := locks.take(t.Context(), "/b")
	must(t, err)
	other()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := locks.take(ctx, "/a"); !errors.Is(err, errs.Timeout) {
		t.Errorf("a second holder: %v", err)
	}
	got := make(chan error)
	go func() {
		again, err := locks.take(t.Context(), "/a")
		if err == nil {
			again()
		}
		got <- err
	}()
	release()
	must(t, <-got)
	if len(locks.held) != 0 {
		t.Errorf("locks that nobody has: %v", locks.held)
	}
}

func TestFolders(t *testing.T) {
	agent, root := serveAgent(t, stateFolder(t)), t.TempDir()
	folder := filepath.Join(root, "new", "folder")
	for range 2 {
		_, err := agent.EnsureFolder(t.Context(), &hostv1.EnsureFolderRequest{Path: folder, Mode: 0o700})
		must(t, err)
	}
	info, err := os.Stat(folder)
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
	c, err := agent.FolderCapacity(t.Context(), &hostv1.FolderCapacityRequest{Path: folder})
	must(t, err)
	if c.GetTotalBytes() < 1<<30 || c.GetAvailableBytes() <= 0 || c.GetAvailableBytes() > c.GetTotalBytes() {
		t.Errorf("capacity %v", c)
	}
	if _, err := agent.EnsureFolder(t.Context(), &hostv1.EnsureFolderRequest{Path: "/etc/kumo"}); !errors.Is(err, errs.Invalid) {
		t.Errorf("a system folder: %v", err)
	}
	names, err := agent.ListFolder(t.Context(), &hostv1.ListFolderRequest{Path: root + "/none"})
	if err != nil || len(names.GetNames()) != 0 {
		t.Errorf("a missing folder: %v %v", names, err)
	}
}

// source serves bytes over HTTP and counts the requests.
type source struct {
	*httptest.Server
	requests atomic.Int32
	// gate, when set, holds the second half back.
	gate chan struct{}
}

func newSource(t *testing.T, body []byte) *source {
	t.Helper()
	s := &source{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if r.Header.Get("X-Ticket") != "t" {
			http.Error(w, "no ticket", http.StatusForbidden)
			return
		}
		_, _ = w.Write(body[:len(body)/2])
		if s.gate != nil {
			w.(http.Flusher).Flush()
			select {
			case <-s.gate:
			case <-r.Context().Done():
				return
			}
		}
		_, _ = w.Write(body[len(body)/2:])
	}))
	t.Cleanup(s.Close)
	return s
}

func fetchAll(ctx context.Context, agent hostv1.HostAgentServiceClient, r *hostv1.FetchFileRequest) (*hostv1.FetchFileResponse, error) {
	stream, err := agent.FetchFile(ctx, r)
	if err != nil {
		return nil, err
	}
	var last *hostv1.FetchFileResponse
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		if err != nil {
			return nil, err
		}
		last = m
	}
}

func onlyFile(t *testing.T, root string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(root)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != strings.Join(want, " ") {
		t.Errorf("the folder has %q, want %q", got, want)
	}
}

func TestFetchFile(t *testing.T) {
	agent, root := serveAgent(t, stateFolder(t)), t.TempDir()
	body := bytes.Repeat([]byte("kumo"), 1<<18)
	sum := md5.Sum(body)
	s := newSource(t, body)
	file := filepath.Join(root, "image.raw")
	good := func() *hostv1.FetchFileRequest {
		return &hostv1.FetchFileRequest{Url: s.URL + "/x?sig=secret", Headers: map[string]string{"X-Ticket": "t"}, Path: file,
			Md5: hex.EncodeToString(sum[:]), SizeBytes: int64(len(body)), Root: root}
	}
	for name, tc := range map[string]struct {
		change func(*hostv1.FetchFileRequest)
		class  errs.Class
	}{
		"wrong sum":    {func(r *hostv1.FetchFileRequest) { r.Md5 = strings.Repeat("0", 32) }, errs.Invalid},
		"more bytes":   {func(r *hostv1.FetchFileRequest) { r.SizeBytes-- }, errs.Invalid},
		"fewer bytes":  {func(r *hostv1.FetchFileRequest) { r.SizeBytes++ }, errs.Invalid},
		"no ticket":    {func(r *hostv1.FetchFileRequest) { r.Headers = nil }, errs.Denied},
		"no server":    {func(r *hostv1.FetchFileRequest) { r.Url = "http://127.0.0.1:1/x?sig=secret" }, errs.Unavailable},
		"other scheme": {func(r *hostv1.FetchFileRequest) { r.Url = "gopher://x/" }, errs.Invalid},
		"no file":      {func(r *hostv1.FetchFileRequest) { r.Url = "file:///none/at/all" }, errs.NotFound},
		"outside":      {func(r *hostv1.FetchFileRequest) { r.Path = "/tmp/x" }, errs.Invalid},
	} {
		r := good()
		tc.change(r)
		_, err := fetchAll(t.Context(), agent, r)
		if !errors.Is(err, tc.class) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
		onlyFile(t, root)
	}
	before := s.requests.Load()
	for range 2 { // the second finds the file
		last, err := fetchAll(t.Context(), agent, good())
		must(t, err)
		if !last.GetDone() || last.GetBytes() != int64(len(body)) || last.GetDisk().GetFormat() != "raw" {
			t.Errorf("answer %v", last)
		}
	}
	if n := s.requests.Load() - before; n != 1 {
		t.Errorf("%d downloads for one file", n)
	}
	got, err := os.ReadFile(file)
	must(t, err)
	if !bytes.Equal(got, body) {
		t.Error("the file has other bytes")
	}
}

func TestFetchesOfOneFileShareADownload(t *testing.T) {
	agent, root := serveAgent(t, stateFolder(t)), t.TempDir()
	body := bytes.Repeat([]byte("kumo"), 1<<18)
	s := newSource(t, body)
	s.gate = make(chan struct{})
	request := func() *hostv1.FetchFileRequest {
		return &hostv1.FetchFileRequest{Url: s.URL, Headers: map[string]string{"X-Ticket": "t"}, Path: filepath.Join(root, "image.raw"), Root: root}
	}
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			if _, err := fetchAll(t.Context(), agent, request()); err != nil {
				t.Error(err)
			}
		})
	}
	// One that gives up does not end it for the others.
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := fetchAll(ctx, agent, request()); !errors.Is(err, errs.Timeout) {
		t.Errorf("given up: %v", err)
	}
	close(s.gate)
	all.Wait()
	if n := s.requests.Load(); n != 1 {
		t.Errorf("%d downloads", n)
	}
	onlyFile(t, root, "image.raw")
}

func TestCancelledFetchLeavesNothing(t *testing.T) {
	agent, root := serveAgent(t, stateFolder(t)), t.TempDir()
	s := newSource(t, bytes.Repeat([]byte("kumo"), 1<<18))
	s.gate = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := agent.FetchFile(ctx, &hostv1.FetchFileRequest{Url: s.URL, Headers: map[string]string{"X-Ticket": "t"}, Path: filepath.Join(root, "image.raw"), Root: root})
	must(t, err)
	if m, err := stream.Recv(); err != nil || m.GetDone() || m.GetBytes() == 0 {
		t.Fatalf("progress %v %v", m, err)
	}
	cancel()
	deadline := time.Now().Add(10 * time.Second)
	for {
		entries, err := os.ReadDir(root)
		must(t, err)
		if len(entries) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v is left", entries)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestAgentKeepsNetworksWhenItStops(t *testing.T) {
	state := stateFolder(t)
	t.Run("first", func(t *testing.T) {
		agent := serveAgent(t, state)
		_, err := agent.Apply(t.Context(), &hostv1.ApplyRequest{Owner: "flat", Upsert: []*hostv1.Fragment{
			{Key: "l2", Kind: &hostv1.Fragment_Bridge{Bridge: &hostv1.Bridge{Name: "br_keep", Alias: "test"}}},
		}})
		must(t, err)
	})
	if _, err := net.InterfaceByName("br_keep"); err != nil {
		t.Fatal("the bridge went with the agent")
	}
	must(t, Own(state, "a"))
	must(t, Stop(t.Context(), state, "b", true, discard()))
	if _, err := net.InterfaceByName("br_keep"); err != nil {
		t.Fatal("another host's bridge was removed")
	}
	// A guest on the bridge keeps it, and the agent's state with it.
	port := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "guest0"}, PeerName: "guest0p"}
	bridge, err := netlink.LinkByName("br_keep")
	must(t, err)
	must(t, netlink.LinkAdd(port))
	must(t, netlink.LinkSetMaster(port, bridge))
	for range 2 {
		if err := Stop(t.Context(), state, "a", true, discard()); !errors.Is(err, errs.Refused) {
			t.Fatalf("a bridge in use: %v", err)
		}
	}
	must(t, netlink.LinkDel(port))
	must(t, os.WriteFile(filepath.Join(state, "of-another"), nil, 0o600))
	for range 2 {
		must(t, Stop(t.Context(), state, "a", true, discard()))
		must(t, Own(state, "a"))
	}
	if _, err := net.InterfaceByName("br_keep"); err == nil {
		t.Fatal("the bridge is left")
	}
	must(t, Stop(t.Context(), state, "a", true, discard()))
	left, err := os.ReadDir(state)
	must(t, err)
	if len(left) != 1 || left[0].Name() != "of-another" {
		t.Errorf("left in the state folder: %v", left)
	}
	must(t, os.Remove(filepath.Join(state, "of-another")))
	must(t, Own(state, "a"))
	must(t, Stop(t.Context(), state, "a", true, discard()))
	if _, err := os.Stat(state); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the state folder is left: %v", err)
	}
}

// The counters of an owner's filter rules are told over the agent's socket.
func TestFilterCounters(t *testing.T) {
	agent := serveAgent(t, stateFolder(t))
	ctx := t.Context()
	fragments := []*hostv1.Fragment{
		{Key: "web", Kind: &hostv1.Fragment_FilterGroup{FilterGroup: &hostv1.FilterGroup{Rules: []*hostv1.FilterRule{{Id: "r1", IpVersion: 4,
			Direction: hostv1.FilterDirection_FILTER_DIRECTION_INGRESS, Protocol: hostv1.FilterProtocol_FILTER_PROTOCOL_ALL}}}}},
		{Key: "nic", Kind: &hostv1.Fragment_FilterPort{FilterPort: &hostv1.FilterPort{Device: "vnic1.0", Mac: "fa:00:00:00:00:01", Groups: []string{"web"}}}},
	}
	_, err := agent.Apply(ctx, &hostv1.ApplyRequest{Owner: "sg", Upsert: fragments})
	must(t, err)
	got, err := agent.FilterCounters(ctx, &hostv1.FilterCountersRequest{Owner: "sg"})
	must(t, err)
	if c := got.GetCounters(); len(c) != 1 || c[0].GetId() != "r1" || c[0].GetPackets() != 0 {
		t.Errorf("counters are %v", c)
	}
	if _, err := agent.FilterCounters(ctx, &hostv1.FilterCountersRequest{Owner: "S G"}); !errors.Is(err, errs.Invalid) {
		t.Errorf("an owner that is none: %v", err)
	}
	_, err = agent.Apply(ctx, &hostv1.ApplyRequest{Owner: "sg", Remove: []string{"web", "nic"}})
	must(t, err)
	got, err = agent.FilterCounters(ctx, &hostv1.FilterCountersRequest{Owner: "sg"})
	if err != nil || len(got.GetCounters()) != 0 {
		t.Errorf("counters without ports: %v, %v", got, err)
	}
}

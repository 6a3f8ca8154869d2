package hostd

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// Who watches a host is told at once, and when a medium that somebody has asked about
// becomes full, has room again, or is away.
func TestWatch(t *testing.T) {
	agent, folder := serveAgent(t, stateFolder(t)), t.TempDir()
	must(t, unix.Mount("tmpfs", folder, "tmpfs", 0, "size=256m"))
	mounted := true
	t.Cleanup(func() {
		if mounted {
			must(t, unix.Unmount(folder, unix.MNT_DETACH))
		}
	})
	_, err := agent.FolderCapacity(t.Context(), &hostv1.FolderCapacityRequest{Path: folder})
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := agent.Watch(ctx, &hostv1.WatchRequest{})
	must(t, err)
	told := func(what string) {
		t.Helper()
		if _, err := stream.Recv(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	told("at once")
	filler, err := os.Create(filepath.Join(folder, "filler"))
	must(t, err)
	must(t, unix.Fallocate(int(filler.Fd()), 0, 0, 250<<20))
	told("full")
	must(t, filler.Truncate(0))
	told("room again")
	must(t, filler.Close())
	must(t, unix.Unmount(folder, unix.MNT_DETACH)) // it may be looked at
	mounted = false
	told("away")
	cancel()
	for err == nil {
		_, err = stream.Recv()
	}
	if !errors.Is(err, errs.Cancelled) {
		t.Errorf("it ended with %v", err)
	}
}

// An agent that stops does not wait for those who watch it.
func TestWatchEndsWithTheAgent(t *testing.T) {
	state := stateFolder(t)
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	socket := filepath.Join(state, "hostd.sock")
	go func() { ended <- Serve(ctx, Options{Socket: socket, StateDir: state}, func() { close(ready) }) }()
	<-ready
	conn, err := grpc.NewClient("unix:"+socket, append(pluginsdk.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	must(t, err)
	defer func() { must(t, conn.Close()) }()
	stream, err := hostv1.NewHostAgentServiceClient(conn).Watch(t.Context(), &hostv1.WatchRequest{})
	must(t, err)
	_, err = stream.Recv()
	must(t, err)
	begin := time.Now()
	stop()
	if _, err := stream.Recv(); !errors.Is(err, errs.Unavailable) {
		t.Errorf("the watch ended with %v", err)
	}
	must(t, <-ended)
	if took := time.Since(begin); took >= drainTimeout {
		t.Errorf("it took %s", took)
	}
}

// What is told of is room that has halved or doubled, and that a disk is full: not each
// byte, and not what cannot be read in time.
func TestRooms(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		before, after room
		news          bool
	}{
		{room{free: 1000 * mib}, room{free: 600 * mib}, false},
		{room{free: 1000 * mib}, room{free: 1900 * mib}, false},
		{room{free: 1000 * mib}, room{free: 500 * mib}, true},
		{room{free: 1000 * mib}, room{free: 2000 * mib}, true},
		{room{free: 70 * mib}, room{free: 63 * mib}, true}, // full
		{room{free: 63 * mib}, room{free: 64 * mib}, true},
		{room{free: 63 * mib}, room{}, false},
		{room{}, room{free: 1000 * mib}, true},
		{room{free: 1000 * mib}, room{why: "stale"}, true},
		{room{why: "stale"}, room{why: "stale"}, false},
	} {
		if news := !c.after.same(c.before); news != c.news {
			t.Errorf("%+v after %+v is news: %v", c.after, c.before, news)
		}
	}

	var m media
	hangs := make(chan struct{})
	good, bad := t.TempDir(), t.TempDir()
	for _, folder := range []string{good, bad} {
		must(t, unix.Mount("tmpfs", folder, "tmpfs", 0, "size=1m"))
		t.Cleanup(func() { must(t, unix.Unmount(folder, 0)) })
		m.add(folder)
		m.add(folder)
	}
	if len(m.all) != 2 {
		t.Fatalf("media %v", m.all)
	}
	var readings atomic.Int32
	read := func(path string, dev uint64) (room, error) {
		if path == bad {
			<-hangs
		} else {
			readings.Add(1)
		}
		return roomOf(path, dev)
	}
	deadline := time.Now().Add(30 * time.Second)
	for readings.Load() < 3 {
		if rooms := m.look(read); len(rooms) > 1 || time.Now().After(deadline) {
			t.Fatalf("rooms %v after %d readings", rooms, readings.Load())
		}
	}
	close(hangs)
	for len(m.look(read)) != 2 {
		if time.Now().After(deadline) {
			t.Fatal("the one that hung is not read again")
		}
	}
	if _, err := roomOf(good, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another device: %v", err)
	}
	gone := func(path string, dev uint64) (room, error) { return roomOf(path+"/gone", dev) }
	m.look(gone)
	for len(m.look(gone)) != 0 {
		if time.Now().After(deadline) {
			t.Fatalf("what is gone is kept: %v", m.all)
		}
	}
}

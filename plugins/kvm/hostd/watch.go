package hostd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// This file tells those who watch a host that there is something to look at.

const (
	// watchInterval is how often that is compared: nobody tells of room on disks.
	watchInterval = 500 * time.Millisecond
	// readTimeout is how long a comparison waits for what file systems say.
	readTimeout = 200 * time.Millisecond
	// lowRoom is the room below which a disk is full, in bytes: what differs below it
	// is no news.
	lowRoom = 64 << 20
	// maxMedia bounds the file systems whose room is looked at.
	maxMedia = 64
)

// Watch sends a message at once and after each change, until the caller ends it or the
// agent stops (errs.Unavailable). What changes shortly before it is called is in the
// first message.
func (s *Server) Watch(_ *hostv1.WatchRequest, out grpc.ServerStreamingServer[hostv1.WatchResponse]) error {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	var told *condition
	for {
		if now := s.condition(); told == nil || !now.same(*told) {
			told = &now
			if err := out.Send(&hostv1.WatchResponse{}); err != nil {
				return err
			}
		}
		select {
		case <-out.Context().Done():
			return out.Context().Err()
		case <-s.stopped:
			return errs.New(errs.Unavailable, "agent", "it stops")
		case <-ticker.C:
		}
	}
}

// stop ends all watches, which end by nothing else when the agent does. It is called
// once.
func (s *Server) stop() { close(s.stopped) }

// condition is what those who look at the host would be told of it.
type condition struct {
	failures string
	rooms    map[uint64]room
}

func (s *Server) condition() condition {
	var failures strings.Builder
	if s.engine != nil {
		for _, f := range s.engine.Failures() {
			fmt.Fprintf(&failures, "%s: %v\n", f.Key, f.Err)
		}
	}
	return condition{failures.String(), s.media.look(roomOf)}
}

func (c condition) same(o condition) bool {
	return c.failures == o.failures && maps.EqualFunc(c.rooms, o.rooms, room.same)
}

// room is what a file system has free, or why that is not known.
type room struct {
	free int64
	why  string
}

// same reports whether two readings differ by nothing that matters: by less than half,
// or both are of a disk that is full.
func (r room) same(o room) bool {
	a, b := max(r.free, lowRoom), max(o.free, lowRoom)
	return r.why == o.why && (r.free < lowRoom) == (o.free < lowRoom) && a/2 < b && b/2 < a
}

// media are the file systems, by their devices, that somebody has asked about. Its zero
// value is ready.
type media struct {
	mu  sync.Mutex
	all map[uint64]*medium
}

// medium is one of them.
type medium struct {
	path string // a folder on it
	last room   // the last reading
	read bool   // there was one
	busy bool   // one is on its way, which may hang
}

// add has the file system of a folder looked at from now on; one more than maxMedia is
// passed over, and so is what has gone meanwhile.
func (m *media) add(path string) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all = map[uint64]*medium{}
	}
	if m.all[st.Dev] == nil && len(m.all) < maxMedia {
		m.all[st.Dev] = &medium{path: path}
	}
}

// look returns what each has free. One that hangs, as that of a server that is gone,
// has its last reading, and keeps no other waiting. One that is mounted no longer is
// forgotten.
func (m *media) look(roomOf func(path string, dev uint64) (room, error)) map[uint64]room {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	m.mu.Lock()
	var reading sync.WaitGroup
	for dev, one := range m.all {
		if one.busy {
			continue
		}
		one.busy = true
		reading.Go(func() {
			now, err := roomOf(one.path, dev)
			m.mu.Lock()
			defer m.mu.Unlock()
			one.last, one.read, one.busy = now, true, false
			if errors.Is(err, fs.ErrNotExist) {
				delete(m.all, dev)
			}
		})
	}
	m.mu.Unlock()
	go func() {
		reading.Wait()
		cancel()
	}()
	<-ctx.Done()
	m.mu.Lock()
	defer m.mu.Unlock()
	rooms := map[uint64]room{}
	for dev, one := range m.all {
		if one.read {
			rooms[dev] = one.last
		}
	}
	return rooms
}

// roomOf reads what the file system of a folder has free. Errors: fs.ErrNotExist when
// the folder is gone, or is on another device.
func roomOf(path string, dev uint64) (room, error) {
	var st unix.Stat_t
	var free unix.Statfs_t
	err := unix.Stat(path, &st)
	if err == nil && st.Dev != dev {
		err = fs.ErrNotExist
	}
	if err == nil {
		err = unix.Statfs(path, &free)
	}
	if err != nil {
		return room{why: err.Error()}, err
	}
	return room{free: int64(free.Bavail) * free.Frsize}, nil
}

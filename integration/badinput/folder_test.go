package badinput

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// health asks a server whether it can work.
func health(t *testing.T, s *server.Server) (code int, text string) {
	t.Helper()
	resp, err := http.Get(s.URL + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() // it was only read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// A full disk shows in the health of the server, costs nothing that was
// written, and is over when there is room again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := server.Folder(t)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64m,mode=700"); err != nil {
		t.Fatalf("mount a small disk, as root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }) // the folder's removal says so if it fails
	s := server.Start(t, server.Options{Dir: dir})
	before, err := s.Client.Create(t.Context(), wire.Zones, wire.Params{"name": "before"})
	if err != nil {
		t.Fatal(err)
	}
	fill := filepath.Join(dir, "fill")
	file, err := os.Create(fill)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(file, zeros{}); err == nil {
		t.Fatal("the disk takes everything")
	}
	_ = file.Close() // the disk is full
	if code, text := health(t, s); code != http.StatusServiceUnavailable || !strings.Contains(text, "full") {
		t.Errorf("health with a full disk: %d %s", code, text)
	}
	for i := range 200 { // until the log of the database needs room
		if _, err = s.Client.Create(t.Context(), wire.Zones, wire.Params{"name": "full"}); err != nil {
			break
		}
		if i == 199 {
			t.Error("zones are made on a full disk")
		}
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	if code, text := health(t, s); code != http.StatusOK {
		t.Errorf("health with room again: %d %s", code, text)
	}
	after, err := s.Client.Create(t.Context(), wire.Zones, wire.Params{"name": "after"})
	if err != nil {
		t.Fatalf("with room again: %v", err)
	}
	s.Stop()
	again := s.Again()
	if n, err := again.Client.Count(t.Context(), wire.Zones, "uuid?="+before+","+after); err != nil || n != 2 {
		t.Errorf("%d of 2 zones, %v", n, err)
	}
	again.Stop()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A database that is deleted under a running server is noticed: nothing that
// would be lost is said to be done, and the server ends when it is told to.
func TestDeletedDatabase(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{})
	if _, err := s.Client.Create(t.Context(), wire.Zones, wire.Params{"name": "before"}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.Dir, "kumo.db")); err != nil {
		t.Fatal(err)
	}
	if code, text := health(t, s); code != http.StatusServiceUnavailable || !strings.Contains(text, "deleted") {
		t.Errorf("health: %d %s", code, text)
	}
	if _, err := s.Client.Create(t.Context(), wire.Zones, wire.Params{"name": "after"}); err == nil {
		t.Error("a zone was made in a database that nobody can open")
	}
	if n, err := s.Client.Count(t.Context(), wire.Zones); err != nil || n != 1 {
		t.Errorf("%d zones, %v", n, err)
	}
	began := time.Now()
	s.Stop()
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s to end", took)
	}
}

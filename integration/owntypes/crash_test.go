package owntypes

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/points"
	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// The core is killed at every point of the flows that call the plugin: what was
// asked for is done after the next start, or has never been; what the plugin has
// published is what the rows say.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{Plugins: []string{sample}})
	p := &place{t, s, s.Client}
	zone := p.create(p.c, wire.Zones, wire.Params{"name": "z"}).text("uuid")
	old := p.create(p.c, pairs, wire.Params{"name": "old", "publicKey": key}).text("uuid")
	flows, err := points.Flows(t.Context(), s.Client)
	if err != nil {
		t.Fatal(err)
	}
	s.Stop()
	create := points.Named(flows, "provide-create").Without("admit") // the sample's rows come first
	for _, at := range create.Points(map[string]bool{"make": true}) {
		killed(t, s.Dir, at, http.MethodPost, pairs, func(publicKey string) map[string]any {
			return map[string]any{"params": wire.Params{"name": "new", "publicKey": publicKey, "zoneUuid": zone}}
		})
	}
	for _, at := range points.Named(flows, "provide-update").Points(map[string]bool{"tell": true}) {
		killed(t, s.Dir, at, http.MethodPut, pairs+"/"+old+"/actions", func(publicKey string) map[string]any {
			return map[string]any{"updateSampleKeyPair": wire.Params{"name": "new", "publicKey": publicKey}}
		})
	}
}

// killed makes a call, with a key that the plugin refuses when the point is one of
// the undo, to a server with a copy of a folder that kills itself at the point.
func killed(t *testing.T, folder string, at points.Point, method, path string, body func(publicKey string) map[string]any) {
	if at.What == "undo-before" { // as undo-after, but the step's undo has not happened: a repeat of it
		return
	}
	t.Run(strings.ReplaceAll(at.String(), "/", "_"), func(t *testing.T) {
		dir := server.Folder(t) + "/d"
		if err := os.CopyFS(dir, os.DirFS(folder)); err != nil {
			t.Fatal(err)
		}
		s := server.Launch(t, server.Options{Dir: dir, Plugins: []string{sample}, Env: []string{points.Variable + "=" + at.String()}, MayDie: true})
		s.Login()
		publicKey := strings.Replace(key, "someone", "new", 1)
		if at.Undo() {
			publicKey = weak
		}
		job := fmt.Sprintf("%032x", time.Now().UnixNano())
		accepted := s.Begin(job, method, path, body(publicKey))
		if !s.WaitDead(20 * time.Second) {
			t.Fatalf("the server has not passed %s", at)
		}
		s = s.Again()
		p := &place{t, s, s.Client}
		p.settle()
		err := s.Outcome(job)
		switch {
		case at.Undo() && err == nil:
			t.Error("the job has succeeded, with a key that the plugin refuses")
		case err != nil && !wire.Clear(err) && (accepted || s.Status(job) != http.StatusNotFound):
			t.Errorf("the job's error is not clear: %v", err)
		}
		rows, renamed := int64(1), int64(0)
		if err == nil {
			renamed = 1
		}
		if err == nil && method == http.MethodPost {
			rows++
		}
		p.want("rows", p.count(p.c, pairs), rows)
		p.want("rows that are ready", p.count(p.c, pairs, "state=Enabled"), rows)
		p.want("rows that are as was asked", p.count(p.c, pairs, "name=new"), renamed)
		files := p.published()
		p.want("files", int64(len(files)), rows)
		var published int64
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.TrimSpace(string(text)) == publicKey {
				published++
			}
		}
		p.want("files with the key", published, renamed)
	})
}

// settle waits until no flow and no job is left.
func (p *place) settle() {
	p.Helper()
	db := p.s.Database()
	for begin := time.Now(); time.Since(begin) < 100*time.Second; time.Sleep(20 * time.Millisecond) {
		var left int
		if err := db.QueryRowContext(p.Context(), "SELECT (SELECT COUNT(*) FROM `Flow`) + (SELECT COUNT(*) FROM `Job` WHERE `state` <> 'Done')").Scan(&left); err != nil {
			p.Fatal(err)
		}
		if left == 0 {
			return
		}
	}
	p.Error("flows and jobs have not ended")
}

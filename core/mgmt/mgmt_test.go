package mgmt

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
)

func TestNode(t *testing.T) {
	st := storetest.Open(t, append(Types(), config.Types()...)...)
	cfg := config.New(st, nil, storetest.Logger(t))
	r := action.NewRegistry(hclog.NewNullLogger())
	s := New(st, cfg, storetest.Logger(t), "node-a", "1.2.3")
	if err := s.Register(r); err != nil {
		t.Fatal(err)
	}
	if err := cfg.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.Set(t.Context(), "managementServer", "node.heartbeatInterval", "1"); err != nil {
		t.Fatal(err)
	}
	old := &ManagementNode{UUID: resource.NewUUID(), HostName: "dead", HeartBeat: resource.Time{Time: time.Now().Add(-time.Hour)}}
	if err := st.Update(t.Context(), func(tx *store.Tx) error { return store.Insert(t.Context(), tx, ManagementNodeType, old) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	nodes, err := store.Find(t.Context(), st, ManagementNodeType, "")
	if err != nil || len(nodes) != 1 || nodes[0].HostName != "node-a" || nodes[0].UUID != s.UUID() {
		t.Fatalf("%+v %v", nodes, err)
	}
	first := nodes[0].HeartBeat
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		n, err := store.Get(t.Context(), st, ManagementNodeType, s.UUID())
		if err != nil {
			t.Fatal(err)
		}
		if n.HeartBeat.After(first.Time) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no heartbeat")
		}
	}
	for range 2 {
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n, _ := store.Count(t.Context(), st, ManagementNodeType.Type, ""); n != 0 {
		t.Errorf("%d rows after Stop", n)
	}
}

func TestMessages(t *testing.T) {
	st := storetest.Open(t, config.Types()...)
	r := action.NewRegistry(hclog.NewNullLogger())
	s := New(st, config.New(st, nil, nil), hclog.NewNullLogger(), "n", "1.2.3")
	if err := s.Register(r); err != nil {
		t.Fatal(err)
	}
	v, err := r.Do(t.Context(), action.Caller{}, "APIGetVersionMsg", nil)
	if err != nil || v != (versionReply{true, "1.2.3"}) {
		t.Errorf("%v %v", v, err)
	}
	now, err := r.Do(t.Context(), action.Caller{}, "APIGetCurrentTimeMsg", nil)
	if got := time.Since(time.UnixMilli(now.(timeReply).CurrentTime["MillionSeconds"])); err != nil || got > time.Minute {
		t.Errorf("%v %v", now, err)
	}
	path := filepath.Join(t.TempDir(), "os-release")
	if err := os.WriteFile(path, []byte("NAME=\"X\"\nID=debian\nVERSION_ID=\"12\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if o, err := release(path); err != nil || o.Name != "debian" || o.Version != "12" {
		t.Errorf("%+v %v", o, err)
	}
}

package sshkey

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/cascade"
	"github.com/kumo-cloud/kumo/core/event"
	"github.com/kumo-cloud/kumo/core/flow"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/job"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/query"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// TestLimits counts what a resource type costs: with its test it is at most 4
// files, and without at most 180 lines (architecture, section 5).
func TestLimits(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("sshkey.go")
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(text, []byte("\n")); len(files) > 4 || lines > 180 {
		t.Fatalf("the sample has %d files and %d lines; the limits are 4 and 180", len(files), lines)
	}
}

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE0QmTVs1zCqCsUO/DykGnbOaJ1bnEjXzB3bUQ4zuC6H someone"

// TestLife creates, changes, finds and deletes a key pair in process.
func TestLife(t *testing.T) {
	ctx := context.Background()
	types := append(append(append(append(Types(), tag.Types()...), flow.Types()...), cascade.Types()...), job.Types()...)
	st := storetest.Open(t, types...)
	log := storetest.Logger(t)
	k := &kernel.Kernel{Store: st, Types: st.Registry(), Query: query.New(st, st.Registry()), Actions: action.NewRegistry(log),
		Tags: tag.New(st, st.Registry()), Events: event.New(), Jobs: job.New(st, nil, log), Hooks: hook.New(hook.Options{}), Log: log}
	k.Flows = flow.NewEngine(st, log, k.Jobs)
	k.Cascade = cascade.New(st, st.Registry(), k.Flows, log)
	k.Actions.Wire(action.Ports{Lookup: action.NewLookup(st, st.Registry())})
	if err := Register(k); err != nil {
		t.Fatal(err)
	}
	me, other := action.Caller{AccountUUID: action.NewUUID()}, action.Caller{AccountUUID: action.NewUUID()}
	if _, err := k.Actions.Do(ctx, me, "APICreateSshKeyPairMsg", map[string]any{"name": "k", "publicKey": "no key"}); !errors.Is(err, errs.Invalid) {
		t.Fatalf("a wrong key gives %v, want Invalid", err)
	}
	res, err := k.Actions.Do(ctx, me, "APICreateSshKeyPairMsg", map[string]any{"name": "k", "publicKey": key})
	if err != nil {
		t.Fatal(err)
	}
	uuid := res.(action.Ref).UUID
	if _, err := k.Actions.Do(ctx, other, "APIUpdateSshKeyPairMsg", map[string]any{"uuid": uuid, "name": "mine"}); err == nil {
		t.Fatal("another account may change it")
	}
	if _, err := k.Actions.Do(ctx, me, "APIUpdateSshKeyPairMsg", map[string]any{"uuid": uuid, "name": "k2"}); err != nil {
		t.Fatal(err)
	}
	found := func(c action.Caller) int {
		r, err := k.Query.Run(ctx, "SshKeyPair", query.Query{Conditions: []query.Condition{}}, query.Scope{AccountUUID: c.AccountUUID})
		if err != nil {
			t.Fatal(err)
		}
		return len(r.Inventories)
	}
	if found(me) != 1 || found(other) != 0 {
		t.Fatalf("the owner finds %d, another account %d; want 1 and 0", found(me), found(other))
	}
	for range 2 { // a repeat is a success
		if _, err := k.Actions.Do(ctx, me, "APIDeleteSshKeyPairMsg", map[string]any{"uuid": uuid}); err != nil {
			t.Fatal(err)
		}
	}
	if found(me) != 0 {
		t.Fatal("it is still there")
	}
}

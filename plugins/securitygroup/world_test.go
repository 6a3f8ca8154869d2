package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// world is a core with rows, and hosts that keep what they are told. Conditions of
// queries are of no account but for the state of rules and groups: what is not asked
// for does no harm here.
type world struct {
	mu    sync.Mutex
	rows  map[string][]map[string]any
	hosts map[string]*agent
}

func newWorld() *world {
	return &world{rows: map[string][]map[string]any{}, hosts: map[string]*agent{}}
}

func (w *world) add(typeName string, row map[string]any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rows[typeName] = append(w.rows[typeName], row)
}

func (w *world) drop(typeName, uuid string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rows[typeName] = slices.DeleteFunc(w.rows[typeName], func(r map[string]any) bool { return r["uuid"] == uuid })
}

func (w *world) query(_ context.Context, q *pluginv1.QueryRequest) (*pluginv1.QueryResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := &pluginv1.QueryResponse{}
	rows := w.rows[q.GetType()]
	if slices.Contains(q.GetConditions(), "state="+enabled) {
		rows = slices.DeleteFunc(slices.Clone(rows), func(r map[string]any) bool { return r["state"] != enabled })
	}
	for _, r := range rows[min(int(q.GetStart()), len(rows)):min(int(q.GetStart()+q.GetLimit()), len(rows))] {
		text, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		out.Inventories = append(out.Inventories, text)
	}
	return out, nil
}

func (w *world) core() *plugintest.Core {
	c := &plugintest.Core{Hosts: map[string]hostv1.HostAgentServiceClient{}, OnQuery: w.query,
		OnPut: func(context.Context, *pluginv1.RowChanges) error { return nil }}
	for uuid, a := range w.hosts {
		c.Hosts[uuid] = a
	}
	return c
}

func (w *world) passes() *passes { return newPasses(graph{w.core()}, hclog.NewNullLogger()) }

// agent is a host's. fail, if any, is asked before each call.
type agent struct {
	hostv1.HostAgentServiceClient
	mu    sync.Mutex
	has   fragments
	calls []proto.Message
	fail  func() error
}

func (a *agent) do(call proto.Message, change func()) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, call)
	if a.fail != nil {
		if err := a.fail(); err != nil {
			return err
		}
	}
	change()
	return nil
}

func (a *agent) Apply(_ context.Context, r *hostv1.ApplyRequest, _ ...grpc.CallOption) (*hostv1.ApplyResponse, error) {
	return &hostv1.ApplyResponse{}, a.do(r, func() {
		for _, f := range r.Upsert {
			a.has[f.Key] = f
		}
		for _, key := range r.Remove {
			delete(a.has, key)
		}
	})
}

func (a *agent) Sync(_ context.Context, r *hostv1.SyncRequest, _ ...grpc.CallOption) (*hostv1.SyncResponse, error) {
	return &hostv1.SyncResponse{}, a.do(r, func() {
		a.has = fragments{}
		for _, f := range r.Fragments {
			a.has[f.Key] = f
		}
	})
}

// told returns the calls since the last time.
func (a *agent) told() []proto.Message {
	a.mu.Lock()
	defer a.mu.Unlock()
	calls := a.calls
	a.calls = nil
	return calls
}

func (a *agent) keys() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.has))
}

func (w *world) host(uuid string) *agent {
	a := &agent{has: fragments{"nic-old": nil}}
	if len(w.rows["L3Network"]) == 0 {
		w.add("L3Network", map[string]any{"uuid": "l3"})
	}
	w.hosts[uuid] = a
	w.add("Host", map[string]any{"uuid": uuid})
	return a
}

// guest adds a running guest with a NIC, in groups.
func (w *world) guest(n int, host string, groups ...string) (nicUUID string) {
	vm, uuid := fmt.Sprintf("vm%d", n), fmt.Sprintf("n%d", n)
	ip := fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255)
	w.add("VmInstance", map[string]any{"uuid": vm, "state": "Running", "hostUuid": host})
	w.add("VmNic", map[string]any{"uuid": uuid, "vmInstanceUuid": vm, "l3NetworkUuid": "l3", "ip": ip, "gateway": "10.255.255.254", "mac": fmt.Sprintf("fa:16:3e:%02x:%02x:%02x", n>>16, n>>8&255, n&255),
		"internalName": fmt.Sprintf("tap%d", n)})
	for i, g := range groups {
		w.add(typeMember, map[string]any{"uuid": uuid + g, "vmNicUuid": uuid, "securityGroupUuid": g, "priority": i + 1})
	}
	return uuid
}

func (w *world) group(uuid, remote string) {
	w.add(typeGroup, map[string]any{"uuid": uuid, "state": enabled})
	w.add(typeRule, map[string]any{"uuid": "r" + uuid, "securityGroupUuid": uuid, "state": enabled, "type": ingress, "ipVersion": 4, "protocol": "ALL", "action": accept,
		"remoteSecurityGroupUuid": remote})
}

func run(t *testing.T, s *passes, all ...string) {
	t.Helper()
	p, err := s.run(t.Context(), all...)
	if err == nil {
		err = s.wait(t.Context(), p, "")
	}
	if err != nil {
		t.Fatal(err)
	}
}

func onFire() error { return errs.New(errs.Internal, "agent", "it is on fire") }

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

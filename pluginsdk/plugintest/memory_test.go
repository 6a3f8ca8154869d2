package plugintest_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// breakEnv names the promise that the memory plugin breaks, so that tests can
// see the kit find it.
const breakEnv = "KUMO_TEST_BREAK"

// memory is a plugin whose guests, images and networks are entries of maps.
type memory struct {
	broken string

	mu     sync.Mutex
	busy   int
	vms    map[string]pluginv1.VMState
	images map[string]bool
	nets   map[string]bool
	things map[string]bool
	points map[string]bool
	asked  int
	// nics are those on the host, at the revision at.
	nics    map[string]*pluginv1.GuestNIC
	at      string
	changed chan struct{}
}

func memoryPlugin() pluginsdk.Plugin {
	m := &memory{
		broken: os.Getenv(breakEnv), vms: map[string]pluginv1.VMState{}, images: map[string]bool{},
		nets: map[string]bool{}, things: map[string]bool{}, points: map[string]bool{}, nics: map[string]*pluginv1.GuestNIC{}, changed: make(chan struct{}),
	}
	return pluginsdk.Plugin{
		Manifest: &pluginv1.Manifest{
			Name: "memory", Version: "1",
			Hypervisors:     []*pluginv1.HypervisorDecl{{Type: "Memory", Optional: []string{"pause", "host-gateway"}}},
			BackupStorages:  []*pluginv1.BackupStorageDecl{{Type: "Memory"}},
			L2Networks:      []*pluginv1.L2NetworkDecl{{Type: "Memory"}},
			NetworkServices: []*pluginv1.NetworkServiceDecl{{Type: "Memory"}},
			ResourceTypes:   []*pluginv1.ResourceTypeDecl{thing},
			Subscriptions:   observed,
		},
		Hypervisor: memoryHypervisor{m}, BackupStorage: memoryStore{m}, L2Network: memoryL2{m}, NetworkService: memoryService{m},
		ResourceProvider: memoryProvider{m}, Observer: memoryObserver{m},
	}
}

// invalid is the answer to wrong input, unless that promise is broken.
func (m *memory) invalid(object, why string) error {
	switch m.broken {
	case "accepts":
		return nil
	case "class":
		return errs.New(errs.Internal, object, "%s", why)
	case "object":
		return errs.New(errs.Invalid, "", "%s", why)
	}
	return errs.New(errs.Invalid, object, "%s", why)
}

func (m *memory) uuid(kind, uuid string) error {
	if err := pluginsdk.CheckUUID(kind, uuid); err != nil {
		return m.invalid(kind+" "+uuid, "wrong UUID")
	}
	return nil
}

// set puts a guest in a state; unspecified removes it.
func (m *memory) set(uuid string, state pluginv1.VMState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.vms[uuid] = state
	if state == pluginv1.VMState_VM_STATE_UNSPECIFIED {
		delete(m.vms, uuid)
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

type memoryHypervisor struct{ m *memory }

func (h memoryHypervisor) ConnectHost(context.Context, *pluginv1.ConnectHostRequest) (*pluginv1.ConnectHostResponse, error) {
	return &pluginv1.ConnectHostResponse{Facts: &pluginv1.HostFacts{CpuNum: 1, MemoryBytes: 1, Architecture: "x86_64"}}, nil
}

func (h memoryHypervisor) CheckHost(context.Context, *pluginv1.CheckHostRequest) (*pluginv1.CheckHostResponse, error) {
	return &pluginv1.CheckHostResponse{}, nil
}

func (h memoryHypervisor) DisconnectHost(context.Context, *pluginv1.DisconnectHostRequest) (*pluginv1.DisconnectHostResponse, error) {
	return &pluginv1.DisconnectHostResponse{}, nil
}

func (h memoryHypervisor) WatchHost(ctx context.Context, _ *pluginv1.WatchHostRequest, emit func(*pluginv1.VMStatus) error) error {
	known := map[string]pluginv1.VMState{}
	for {
		h.m.mu.Lock()
		changed := h.m.changed
		var news []*pluginv1.VMStatus
		for uuid, state := range h.m.vms {
			if known[uuid] != state {
				known[uuid] = state
				news = append(news, &pluginv1.VMStatus{Uuid: uuid, State: state})
			}
		}
		h.m.mu.Unlock()
		for _, vm := range news {
			if err := emit(vm); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (h memoryHypervisor) StartVM(_ context.Context, r *pluginv1.StartVMRequest) (*pluginv1.StartVMResponse, error) {
	if err := h.m.uuid("guest", r.Vm.Uuid); err != nil {
		return nil, err
	}
	if r.Vm.CpuNum <= 0 || r.Vm.MemoryBytes <= 0 {
		if err := h.m.invalid("guest "+r.Vm.Uuid, "no processor or no memory"); err != nil {
			return nil, err
		}
	}
	h.m.mu.Lock()
	old := h.m.vms[r.Vm.Uuid]
	h.m.mu.Unlock()
	if h.m.broken == "repeat" && old == pluginv1.VMState_VM_STATE_RUNNING {
		return nil, errs.New(errs.Exists, "guest "+r.Vm.Uuid, "it runs already")
	}
	h.m.set(r.Vm.Uuid, pluginv1.VMState_VM_STATE_RUNNING)
	status := &pluginv1.VMStatus{Uuid: r.Vm.Uuid, State: pluginv1.VMState_VM_STATE_RUNNING}
	if h.m.broken == "differs" && old == pluginv1.VMState_VM_STATE_RUNNING {
		status.VncPort = 1
	}
	return &pluginv1.StartVMResponse{Status: status}, nil
}

func (h memoryHypervisor) StopVM(_ context.Context, r *pluginv1.StopVMRequest) (*pluginv1.StopVMResponse, error) {
	h.m.mu.Lock()
	_, ok := h.m.vms[r.VmUuid]
	h.m.mu.Unlock()
	if ok {
		h.m.set(r.VmUuid, pluginv1.VMState_VM_STATE_STOPPED)
	}
	return &pluginv1.StopVMResponse{}, nil
}

func (h memoryHypervisor) RebootVM(ctx context.Context, r *pluginv1.RebootVMRequest) (*pluginv1.RebootVMResponse, error) {
	resp, err := h.StartVM(ctx, &pluginv1.StartVMRequest{Host: r.Host, Vm: r.Vm})
	return &pluginv1.RebootVMResponse{Status: resp.GetStatus()}, err
}

func (h memoryHypervisor) DestroyVM(_ context.Context, r *pluginv1.DestroyVMRequest) (*pluginv1.DestroyVMResponse, error) {
	h.m.mu.Lock()
	_, ok := h.m.vms[r.VmUuid]
	h.m.mu.Unlock()
	switch {
	case h.m.broken == "undo" && !ok:
		return nil, errs.New(errs.NotFound, "guest "+r.VmUuid, "no such guest")
	case h.m.broken == "leaves":
		return &pluginv1.DestroyVMResponse{}, nil
	}
	h.m.set(r.VmUuid, pluginv1.VMState_VM_STATE_UNSPECIFIED)
	return &pluginv1.DestroyVMResponse{}, nil
}

func (h memoryHypervisor) ListVMs(_ context.Context, r *pluginv1.ListVMsRequest) (*pluginv1.ListVMsResponse, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	resp := &pluginv1.ListVMsResponse{}
	for uuid, state := range h.m.vms {
		if h.m.broken != "tells all" && r.GetVmUuid() != "" && uuid != r.GetVmUuid() {
			continue
		}
		resp.Vms = append(resp.Vms, &pluginv1.VMStatus{Uuid: uuid, State: state})
	}
	slices.SortFunc(resp.Vms, func(a, b *pluginv1.VMStatus) int { return cmp.Compare(a.Uuid, b.Uuid) })
	return resp, nil
}

func (h memoryHypervisor) PauseVM(_ context.Context, r *pluginv1.PauseVMRequest) (*pluginv1.PauseVMResponse, error) {
	h.m.set(r.VmUuid, pluginv1.VMState_VM_STATE_PAUSED)
	return &pluginv1.PauseVMResponse{}, nil
}

func (h memoryHypervisor) ResumeVM(_ context.Context, r *pluginv1.ResumeVMRequest) (*pluginv1.ResumeVMResponse, error) {
	h.m.set(r.VmUuid, pluginv1.VMState_VM_STATE_RUNNING)
	return &pluginv1.ResumeVMResponse{}, nil
}

func (h memoryHypervisor) CallAgent(ctx context.Context, r *pluginv1.CallAgentRequest, emit func([]byte) error) error {
	return pluginsdk.ServeAgentCall(ctx, memoryAgent{}, r.Method, r.Payload, emit)
}

type memoryAgent struct {
	hostv1.UnimplementedHostAgentServiceServer
}

func (memoryAgent) Info(context.Context, *hostv1.InfoRequest) (*hostv1.InfoResponse, error) {
	return &hostv1.InfoResponse{Hostname: "memory"}, nil
}

type memoryStore struct{ m *memory }

var memoryCapacity = &pluginv1.Capacity{TotalBytes: 100, AvailableBytes: 50}

func (s memoryStore) ConnectStore(_ context.Context, r *pluginv1.ConnectStoreRequest) (*pluginv1.ConnectStoreResponse, error) {
	return &pluginv1.ConnectStoreResponse{Capacity: memoryCapacity}, s.m.uuid("store", r.Store.Uuid)
}

func (s memoryStore) StoreCapacity(context.Context, *pluginv1.StoreCapacityRequest) (*pluginv1.StoreCapacityResponse, error) {
	return &pluginv1.StoreCapacityResponse{Capacity: memoryCapacity}, nil
}

func (s memoryStore) AddImage(_ context.Context, r *pluginv1.AddImageRequest) (*pluginv1.AddImageResponse, error) {
	if err := s.m.uuid("image", r.ImageUuid); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(r.Url, "http://") || r.Checksum != "" {
		if err := s.m.invalid("image "+r.ImageUuid, "wrong URL or checksum"); err != nil {
			return nil, err
		}
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.images[r.ImageUuid] = true
	return &pluginv1.AddImageResponse{InstallPath: "memory:" + r.ImageUuid, SizeBytes: 1, ActualBytes: 1, Format: r.Format}, nil
}

func (s memoryStore) DeleteImage(_ context.Context, r *pluginv1.DeleteImageRequest) (*pluginv1.DeleteImageResponse, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	delete(s.m.images, r.ImageUuid)
	return &pluginv1.DeleteImageResponse{}, s.m.uuid("image", r.ImageUuid)
}

func (s memoryStore) ExportImage(_ context.Context, r *pluginv1.ExportImageRequest) (*pluginv1.ExportImageResponse, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if !s.m.images[r.ImageUuid] {
		return nil, errs.New(errs.NotFound, "image "+r.ImageUuid, "no such image")
	}
	return &pluginv1.ExportImageResponse{Source: &pluginv1.ImageSource{Url: "memory:" + r.ImageUuid}}, nil
}

type memoryL2 struct{ m *memory }

func (l memoryL2) Realize(_ context.Context, r *pluginv1.RealizeRequest) (*pluginv1.RealizeResponse, error) {
	if strings.ContainsAny(r.Network.PhysicalInterface, " ;/") {
		if err := l.m.invalid("L2 network "+r.Network.Uuid, "no such interface"); err != nil {
			return nil, err
		}
	}
	if err := l.m.uuid("L2 network", r.Network.Uuid); err != nil {
		return nil, err
	}
	l.m.mu.Lock()
	l.m.busy++
	alone := l.m.busy == 1
	l.m.mu.Unlock()
	defer func() {
		l.m.mu.Lock()
		defer l.m.mu.Unlock()
		l.m.busy--
		l.m.nets[r.Network.Uuid] = true
	}()
	if l.m.broken == "parallel" {
		time.Sleep(5 * time.Millisecond) // long enough to be met by others
	}
	if l.m.broken == "parallel" && !alone {
		return nil, errs.New(errs.Refused, "L2 network "+r.Network.Uuid, "another call is at work")
	}
	return &pluginv1.RealizeResponse{Bridge: fmt.Sprintf("br%.8s", r.Network.Uuid)}, nil
}

func (l memoryL2) Unrealize(_ context.Context, r *pluginv1.UnrealizeRequest) (*pluginv1.UnrealizeResponse, error) {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	delete(l.m.nets, r.Network.Uuid)
	return &pluginv1.UnrealizeResponse{}, nil
}

package pluginsdk_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/pluginsdk/plugintest"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

func host(name string) *pluginv1.CheckHostRequest {
	return &pluginv1.CheckHostRequest{Host: &pluginv1.Host{Uuid: "h1", Name: name}}
}

// TestErrorsKeepTheirClass sends one error of every class through a real
// connection and wants the same text, class, object and advice back.
func TestErrorsKeepTheirClass(t *testing.T) {
	hv := plugintest.Loopback(t, samplePlugin()).Hypervisor()
	classes := []errs.Class{
		errs.Invalid, errs.NotFound, errs.Exists, errs.Refused, errs.Exhausted, errs.Denied,
		errs.Unauthenticated, errs.Unavailable, errs.Timeout, errs.Cancelled, errs.Unsupported, errs.Internal,
	}
	for _, class := range classes {
		t.Run(string(class), func(t *testing.T) {
			sent := errs.Wrap(class, "host h1", errors.New("cause"), "check").WithAdvice("look (twice)")
			_, err := hv.CheckHost(t.Context(), host(string(class)))
			var got *errs.Error
			if !errors.As(err, &got) {
				t.Fatalf("got %T %v", err, err)
			}
			if got.Class != class || got.Object != sent.Object || got.Advice != sent.Advice || got.Error() != sent.Error() {
				t.Errorf("got %q %+v, want %q", got, *got, sent)
			}
			if !errors.Is(err, class) {
				t.Errorf("errors.Is does not find %s", class)
			}
			if errors.Is(err, pluginsdk.ErrConnectionLost) {
				t.Error("an error that the plugin sent looks like a lost connection")
			}
		})
	}
}

// TestErrorsKeepTheirCheck wants the check of a host that a cause names back, and
// none of an error that names none.
func TestErrorsKeepTheirCheck(t *testing.T) {
	hv := plugintest.Loopback(t, samplePlugin()).Hypervisor()
	for name, want := range map[string]string{"no agent": "agent", "wrapped": "", string(errs.Unavailable): ""} {
		if _, err := hv.CheckHost(t.Context(), host(name)); err == nil || errs.CheckOf(err) != want {
			t.Errorf("%s: %v has the check %q, want %q", name, err, errs.CheckOf(err), want)
		}
	}
}

func TestErrorForms(t *testing.T) {
	hv := plugintest.Loopback(t, samplePlugin()).Hypervisor()
	tests := []struct {
		name  string
		class errs.Class
		text  string
	}{
		{"plain", errs.Internal, "plain error"},
		{"wrapped", errs.NotFound, "volume 1: export: gone (scan again)"},
		{"bare class", errs.Exhausted, "export volume: exhausted"},
		{"panic", errs.Internal, "/kumo.plugin.v1.HypervisorService/CheckHost: panic: boom (this is a defect; the log has the stack)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := hv.CheckHost(t.Context(), host(tt.name))
			if errs.ClassOf(err) != tt.class || err.Error() != tt.text {
				t.Errorf("got %s %q, want %s %q", errs.ClassOf(err), err, tt.class, tt.text)
			}
		})
	}
	if _, err := hv.CheckHost(t.Context(), host("")); err != nil {
		t.Errorf("after a panic: %v", err)
	}
}

func TestDeadlineAndCancel(t *testing.T) {
	hv := plugintest.Loopback(t, samplePlugin()).Hypervisor()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := hv.CheckHost(ctx, host("sleep")); !errors.Is(err, errs.Timeout) {
		t.Errorf("deadline: got %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := hv.CheckHost(ctx, host("sleep")); !errors.Is(err, errs.Cancelled) {
		t.Errorf("cancel: got %v", err)
	}
}

func TestOptionalServices(t *testing.T) {
	conn := plugintest.Loopback(t, samplePlugin())
	if _, err := conn.Hypervisor().PauseVM(t.Context(), &pluginv1.PauseVMRequest{}); err != nil {
		t.Errorf("pause: %v", err)
	}
	if _, err := conn.Hypervisor().Console(t.Context(), &pluginv1.ConsoleRequest{}); !errors.Is(err, errs.Unsupported) {
		t.Errorf("console: got %v, want unsupported", err)
	}
	if _, err := conn.PrimaryStorage().ResizeVolume(t.Context(), &pluginv1.ResizeVolumeRequest{}); !errors.Is(err, errs.Unsupported) {
		t.Errorf("resize: got %v, want unsupported", err)
	}
	if _, err := conn.BackupStorage().BeginUpload(t.Context(), &pluginv1.BeginUploadRequest{}); !errors.Is(err, errs.Unsupported) {
		t.Errorf("upload: got %v, want unsupported", err)
	}
	if r, err := conn.BackupStorage().StoreCapacity(t.Context(), &pluginv1.StoreCapacityRequest{}); err != nil || r.Capacity.TotalBytes != 5 {
		t.Errorf("store capacity: %v %v", r, err)
	}
	if r, err := conn.L2Network().Realize(t.Context(), &pluginv1.RealizeRequest{Network: &pluginv1.L2Network{Uuid: "7"}}); err != nil || r.Bridge != "br7" {
		t.Errorf("realize: %v %v", r, err)
	}
	if _, err := conn.NetworkService().SyncNetworkState(t.Context(), &pluginv1.SyncNetworkStateRequest{}); err != nil {
		t.Errorf("sync: %v", err)
	}
}

func TestOperationIDTravels(t *testing.T) {
	core := &plugintest.Core{Hosts: map[string]hostv1.HostAgentServiceClient{"h1": plugintest.Agent(t, agent{})}}
	conn := plugintest.Loopback(t, samplePlugin(), plugintest.WithCore(core))
	ctx := pluginsdk.WithOperationID(t.Context(), "op-1")
	_, err := conn.Hypervisor().CheckHost(ctx, host("operation"))
	if err == nil || !strings.HasPrefix(err.Error(), "op-1: ") {
		t.Errorf("in the plugin: %v", err)
	}
	if _, err := conn.Hypervisor().CheckHost(ctx, host("progress")); err != nil {
		t.Fatal(err)
	}
	if got := core.Reports(); len(got) != 1 || got[0] != (plugintest.Progress{OperationID: "op-1", Percent: 42, Message: "nearly half"}) {
		t.Errorf("progress: %v", got)
	}
	// Through the core to the host's agent.
	_, err = conn.PrimaryStorage().StorageCapacity(pluginsdk.WithOperationID(t.Context(), "fail"),
		&pluginv1.StorageCapacityRequest{Host: &pluginv1.Host{Uuid: "h1"}})
	if !errors.Is(err, errs.Exhausted) || err.Error() != "folder /x: it is full (delete something)" {
		t.Errorf("on the host: %v", err)
	}
}

func TestHostCalls(t *testing.T) {
	core := &plugintest.Core{Hosts: map[string]hostv1.HostAgentServiceClient{"h1": plugintest.Agent(t, agent{})}}
	ps := plugintest.Loopback(t, samplePlugin(), plugintest.WithCore(core)).PrimaryStorage()
	h1 := &pluginv1.Host{Uuid: "h1"}
	capacity, err := ps.StorageCapacity(t.Context(), &pluginv1.StorageCapacityRequest{Host: h1})
	if err != nil || capacity.Capacity.TotalBytes != 1000 {
		t.Errorf("unary: %v %v", capacity, err)
	}
	image, err := ps.EnsureImage(t.Context(), &pluginv1.EnsureImageRequest{Host: h1})
	if err != nil || image.ActualBytes != 3 {
		t.Errorf("stream: %v %v", image, err)
	}
	_, err = ps.EnsureImage(t.Context(), &pluginv1.EnsureImageRequest{Host: h1, Source: &pluginv1.ImageSource{Url: "broken"}})
	if !errors.Is(err, errs.Invalid) {
		t.Errorf("stream with error: %v", err)
	}
	_, err = ps.StorageCapacity(t.Context(), &pluginv1.StorageCapacityRequest{Host: &pluginv1.Host{Uuid: "h2"}})
	if !errors.Is(err, errs.NotFound) {
		t.Errorf("unknown host: %v", err)
	}
}

func TestPermissions(t *testing.T) {
	core := &plugintest.Core{Settings: map[string]string{"a.b": "value"}}
	hv := plugintest.Loopback(t, samplePlugin(), plugintest.WithCore(core)).Hypervisor()
	if _, err := hv.CheckHost(t.Context(), host("setting")); !errors.Is(err, errs.Denied) {
		t.Errorf("not in the manifest: got %v", err)
	}
	p := samplePlugin()
	p.Manifest.Permissions = append(p.Manifest.Permissions, pluginsdk.PermissionSetting)
	hv = plugintest.Loopback(t, p, plugintest.WithCore(core)).Hypervisor()
	if _, err := hv.CheckHost(t.Context(), host("setting")); err == nil || err.Error() != "setting: value" {
		t.Errorf("in the manifest: got %v", err)
	}
}

func TestWatchHost(t *testing.T) {
	hv := plugintest.Loopback(t, samplePlugin()).Hypervisor()
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	err := hv.WatchHost(ctx, &pluginv1.WatchHostRequest{Host: &pluginv1.Host{}}, func(*pluginv1.VMStatus) error {
		if seen++; seen == 3 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, errs.Cancelled) || seen != 3 {
		t.Errorf("cancelled: %d seen, %v", seen, err)
	}
	err = hv.WatchHost(t.Context(), &pluginv1.WatchHostRequest{Host: &pluginv1.Host{Name: "lost"}}, func(*pluginv1.VMStatus) error { return nil })
	if !errors.Is(err, errs.Unavailable) || errors.Is(err, pluginsdk.ErrConnectionLost) {
		t.Errorf("lost host: %v", err)
	}
	stop := errors.New("enough")
	if err := hv.WatchHost(t.Context(), &pluginv1.WatchHostRequest{}, func(*pluginv1.VMStatus) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("emit refused: %v", err)
	}
}

func TestGateway(t *testing.T) {
	hv := plugintest.Loopback(t, samplePlugin()).Hypervisor()
	payload, err := proto.Marshal(&hostv1.FetchFileRequest{})
	if err != nil {
		t.Fatal(err)
	}
	answers := 0
	call := func(method string) error {
		return hv.CallAgent(t.Context(), &pluginv1.CallAgentRequest{Method: method, Payload: payload}, func([]byte) error {
			answers++
			return nil
		})
	}
	if err := call(hostv1.HostAgentService_FetchFile_FullMethodName); err != nil || answers != 3 {
		t.Errorf("stream: %d answers, %v", answers, err)
	}
	if err := call(hostv1.HostAgentService_FolderCapacity_FullMethodName); err != nil || answers != 4 {
		t.Errorf("unary: %d answers, %v", answers, err)
	}
	for _, method := range []string{"/kumo.host.v1.HostAgentService/Nothing", "/other.Service/Info", ""} {
		if err := call(method); !errors.Is(err, errs.Invalid) {
			t.Errorf("%q: got %v", method, err)
		}
	}
	if err := call(hostv1.HostAgentService_Info_FullMethodName); !errors.Is(err, errs.Unsupported) {
		t.Errorf("not implemented by the agent: %v", err)
	}
}

func TestForwardAgentCall(t *testing.T) {
	conn := plugintest.AgentConn(t, agent{})
	var sizes []int64
	emit := func(b []byte) error {
		m := &hostv1.FetchFileResponse{}
		if err := proto.Unmarshal(b, m); err != nil {
			return err
		}
		sizes = append(sizes, m.Bytes)
		return nil
	}
	if err := pluginsdk.ForwardAgentCall(t.Context(), conn, hostv1.HostAgentService_FetchFile_FullMethodName, nil, emit); err != nil || len(sizes) != 3 || sizes[2] != 2 {
		t.Errorf("stream: %v %v", sizes, err)
	}
	answers := 0
	count := func([]byte) error { answers++; return nil }
	ctx := pluginsdk.WithOperationID(t.Context(), "fail")
	if err := pluginsdk.ForwardAgentCall(ctx, conn, hostv1.HostAgentService_FolderCapacity_FullMethodName, nil, count); !errors.Is(err, errs.Exhausted) {
		t.Errorf("error of the agent: %v", err)
	}
	if err := pluginsdk.ForwardAgentCall(t.Context(), conn, hostv1.HostAgentService_FolderCapacity_FullMethodName, nil, count); err != nil || answers != 1 {
		t.Errorf("unary: %d answers, %v", answers, err)
	}
}

func TestDrain(t *testing.T) {
	p := samplePlugin()
	s := p.Hypervisor.(*sample)
	conn := plugintest.Loopback(t, p)
	hv, rpc := conn.Hypervisor(), pluginv1.NewPluginServiceClient(conn)
	var running sync.WaitGroup
	running.Go(func() {
		if _, err := hv.CheckHost(t.Context(), host("wait")); err != nil {
			t.Errorf("running call: %v", err)
		}
	})
	watching := make(chan struct{}, 3)
	running.Go(func() {
		err := hv.WatchHost(t.Context(), &pluginv1.WatchHostRequest{}, func(*pluginv1.VMStatus) error {
			watching <- struct{}{}
			return nil
		})
		if !errors.Is(err, pluginsdk.ErrConnectionLost) {
			t.Errorf("watch: %v", err)
		}
	})
	<-s.started
	<-watching
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := rpc.Drain(ctx, &pluginv1.DrainRequest{}); !errors.Is(err, errs.Timeout) {
		t.Errorf("drain with a running call: %v", err)
	}
	if _, err := hv.CheckHost(t.Context(), host("")); !errors.Is(err, pluginsdk.ErrConnectionLost) {
		t.Errorf("new call while draining: %v", err)
	}
	if h, err := rpc.Health(t.Context(), &pluginv1.HealthRequest{}); err != nil || h.Ready {
		t.Errorf("health while draining: %v %v", h, err)
	}
	close(s.release)
	running.Wait()
	if _, err := rpc.Drain(t.Context(), &pluginv1.DrainRequest{}); err != nil {
		t.Errorf("drain: %v", err)
	}
}

func TestConfigureOnce(t *testing.T) {
	conn := plugintest.Loopback(t, samplePlugin())
	_, err := pluginv1.NewPluginServiceClient(conn).Configure(t.Context(), &pluginv1.ConfigureRequest{})
	if !errors.Is(err, errs.Refused) {
		t.Errorf("second time: %v", err)
	}
}

func TestCheckManifest(t *testing.T) {
	setting := func(d *pluginv1.SettingDecl) func(*pluginsdk.Plugin) {
		return func(p *pluginsdk.Plugin) { p.Manifest.Settings = append(p.Manifest.Settings, d) }
	}
	l2 := func(d *pluginv1.L2NetworkDecl) func(*pluginsdk.Plugin) {
		d.Type = "Other"
		return func(p *pluginsdk.Plugin) { p.Manifest.L2Networks = append(p.Manifest.L2Networks, d) }
	}
	tests := []struct {
		name   string
		change func(*pluginsdk.Plugin)
		want   string
	}{
		{"good", func(*pluginsdk.Plugin) {}, ""},
		{"none", func(p *pluginsdk.Plugin) { p.Manifest = nil }, "no manifest"},
		{"no name", func(p *pluginsdk.Plugin) { p.Manifest.Name = "" }, "has no name"},
		{"not implemented", func(p *pluginsdk.Plugin) { p.L2Network = nil }, "L2 network Sample is declared, not implemented"},
		{"not declared", func(p *pluginsdk.Plugin) { p.Manifest.BackupStorages = nil }, "backup storage is implemented, not declared"},
		{"option not implemented", func(p *pluginsdk.Plugin) {
			p.Manifest.PrimaryStorages[0].Optional = []string{pluginsdk.OptionalResize}
		}, "option resize is declared, not implemented"},
		{"option not declared", func(p *pluginsdk.Plugin) { p.Manifest.Hypervisors[0].Optional = []string{pluginsdk.OptionalPause} },
			"option host-gateway is implemented, not declared"},
		{"unknown option", func(p *pluginsdk.Plugin) { p.Manifest.PrimaryStorages[0].Optional = []string{"fly"} }, "option fly is declared"},
		{"permission", func(p *pluginsdk.Plugin) { p.Manifest.Permissions = []string{"root"} }, "permission root: it does not exist"},
		{"setting of no kind", setting(&pluginv1.SettingDecl{Name: "s", Holds: "colour"}), "setting s holds colour, which is no kind of text"},
		{"number of a kind", setting(&pluginv1.SettingDecl{Name: "s", Kind: "int", Default: "1", Holds: "mac"}), "setting s holds mac"},
		{"default that does not fit", setting(&pluginv1.SettingDecl{Name: "s", Holds: "mac", Default: "x"}), `setting s has the default "x"`},
		{"default in another spelling", setting(&pluginv1.SettingDecl{Name: "s", Holds: "mac", Default: "FA:00:00:00:00:01"}), `which is spelled "fa:00:00:00:00:01"`},
		{"default of a secret", setting(&pluginv1.SettingDecl{Name: "s", Secret: true, Default: "x"}), "setting s is a secret with a default"},
		{"setting of unknown type", setting(&pluginv1.SettingDecl{Name: "s", Kind: "matrix"}), `its kind "matrix" is not string, int or bool`},
		{"field of no kind", func(p *pluginsdk.Plugin) {
			p.Manifest.PrimaryStorages[0].Fields = []*pluginv1.Field{{Name: "f", Holds: "colour"}}
		}, "field f holds colour, which is no kind of text"},
		{"number that is none", l2(&pluginv1.L2NetworkDecl{Add: &pluginv1.AddMessage{}, Number: "tag", Fields: []*pluginv1.Field{{Name: "tag", Kind: "int"}}}),
			"L2 network Other has the number tag, which is no required field of kind int"},
		{"network without a message", l2(&pluginv1.L2NetworkDecl{Unique: []string{"tag"}}), "L2 network Other says what its networks are, and not by which message they are made"},
		{"refusal of nothing", l2(&pluginv1.L2NetworkDecl{Add: &pluginv1.AddMessage{}, Refuses: []*pluginv1.Refusal{{Parameter: "isolated"}}}),
			"L2 network Other refuses a parameter without name or reason"},
		{"twice", func(p *pluginsdk.Plugin) {
			p.Manifest.L2Networks = append(p.Manifest.L2Networks, p.Manifest.L2Networks[0])
		}, "L2 network Sample is declared twice"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := samplePlugin()
			tt.change(&p)
			err := pluginsdk.CheckManifest(p)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestProcess(t *testing.T) {
	core := &plugintest.Core{Hosts: map[string]hostv1.HostAgentServiceClient{"h1": plugintest.Agent(t, agent{})}}
	conn := plugintest.Process(t, os.Args[0], plugintest.WithCore(core))
	r, err := conn.PrimaryStorage().StorageCapacity(t.Context(), &pluginv1.StorageCapacityRequest{Host: &pluginv1.Host{Uuid: "h1"}})
	if err != nil || r.Capacity.TotalBytes != 1000 {
		t.Errorf("through the process and back: %v %v", r, err)
	}
	_, err = conn.Hypervisor().CheckHost(t.Context(), host("exit"))
	if !errors.Is(err, errs.Unavailable) || !errors.Is(err, pluginsdk.ErrConnectionLost) {
		t.Errorf("a process that died: %v", err)
	}
}

func TestStartedByHand(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"KUMO_TEST_BY_HAND=1"}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("exit: %v", err)
	}
	want := "sample is a Kumo plugin: it is started by `kumo serve`, not by hand.\n"
	if string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

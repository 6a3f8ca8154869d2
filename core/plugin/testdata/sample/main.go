// Command sample is a plugin for the tests of core/plugin: its calls do what
// the name of their host says.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Set by the linker, so that one source gives plugins that differ.
var (
	name    = "sample"
	version = "1"
	typ     = "Sample"
	asks    = pluginsdk.PermissionHostCall
)

func main() {
	d := &driver{}
	pluginsdk.Serve(pluginsdk.Plugin{
		Manifest: &pluginv1.Manifest{
			Name: name, Version: version,
			Hypervisors: []*pluginv1.HypervisorDecl{{Type: typ, Optional: []string{pluginsdk.OptionalPause}}},
			Permissions: strings.Fields(asks),
			Settings: []*pluginv1.SettingDecl{{Name: "colour", Default: "red"}, {Name: "token", Secret: true, Holds: "label", MaxLength: 20},
				{Name: "mirror", Holds: "host"}, {Name: "port", Kind: "int", Default: "80", Min: 1, Max: 65535}, {Name: "mode", Values: []string{"on", "off"}, Default: "on"}},
		},
		Configure: func(_ context.Context, env pluginsdk.Env) error {
			d.env = env
			if env.Settings["colour"] == "none" {
				return errs.New(errs.Invalid, "setting colour", "none is no colour")
			}
			return nil
		},
		Hypervisor: d,
	})
}

type driver struct {
	pluginsdk.Hypervisor
	env    pluginsdk.Env
	hoard  []byte
	helper *exec.Cmd
	last   string // operation
}

// ConnectHost tells about the process.
func (d *driver) ConnectHost(context.Context, *pluginv1.ConnectHostRequest) (*pluginv1.ConnectHostResponse, error) {
	return &pluginv1.ConnectHostResponse{Facts: &pluginv1.HostFacts{Fields: map[string]string{
		"pid": strconv.Itoa(os.Getpid()), "version": version, "colour": d.env.Settings["colour"],
		"token": d.env.Settings["token"], "mirror": d.env.Settings["mirror"], "port": d.env.Settings["port"],
		"data": d.env.DataDir, "secret": os.Getenv("KUMO_TEST_SECRET"),
		"tmp": os.TempDir(), "files": files(),
	}}}, nil
}

func (d *driver) CheckHost(ctx context.Context, req *pluginv1.CheckHostRequest) (*pluginv1.CheckHostResponse, error) {
	ok := &pluginv1.CheckHostResponse{}
	switch req.Host.GetName() {
	case "crash":
		panicOutside()
		<-ctx.Done()
		return nil, ctx.Err()
	case "crash once":
		if d.first("crashed") {
			os.Exit(2)
		}
	case "stop once":
		if d.first("stopped") {
			if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
				return nil, err
			}
			time.Sleep(time.Second)
		}
	case "hoard once":
		if d.first("hoarded") {
			d.hoard = bytes.Repeat([]byte{1}, 200<<20)
		}
	case "burst once":
		if d.first("burst") {
			d.hoard = bytes.Repeat([]byte{1}, 8<<30)
		}
	case "everything":
		return ok, d.everything(ctx, req.Host.GetUuid())
	case "ask", "ask late", "ask as another", "ask of others":
		return d.ask(ctx, req.Host.GetName())
	case "garbage":
		return &pluginv1.CheckHostResponse{Checks: []*pluginv1.HostCheck{nil, {Name: strings.Repeat("\x00\xff", 1<<20)}}}, nil
	case "slow":
		select {
		case <-time.After(700 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case "log":
		d.env.Log.Warn("a line of the plugin", "host", req.Host.Uuid)
		fmt.Println("printed by the plugin")
	case "setting":
		_, err := d.env.Core.Setting(ctx, "a", "b", "")
		return ok, err
	case "progress":
		d.env.Core.Progress(ctx, 7, "begun")
	case "host":
		_, err := d.env.Core.Host(req.Host.Uuid).Info(ctx, &hostv1.InfoRequest{})
		return ok, err
	case "helper":
		d.helper = exec.Command("sleep", "300")
		if err := d.helper.Start(); err != nil {
			return nil, err
		}
		return nil, errs.New(errs.Exists, strconv.Itoa(d.helper.Process.Pid), "this is the helper's process")
	}
	return ok, nil
}

// files names what the process has open beside stdin, stdout and stderr.
func files() string {
	var all []string
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && len(e.Name()) > 0 && e.Name() > "2" {
			all = append(all, target)
		}
	}
	return strings.Join(all, " ")
}

// everything asks the core for all that there is, and floods it with reports. It
// returns what was refused.
func (d *driver) everything(ctx context.Context, host string) error {
	var flood sync.WaitGroup
	text := strings.Repeat("x", 100<<10)
	for range 8 {
		flood.Go(func() {
			for i := range 500 {
				d.env.Core.Progress(ctx, i, text)
			}
		})
	}
	_, setting := d.env.Core.Setting(ctx, "a", "b", "")
	_, call := d.env.Core.Host(host).Info(ctx, &hostv1.InfoRequest{})
	_, disk := d.env.Core.Host(host).CreateDisk(ctx, &hostv1.CreateDiskRequest{})
	_, query := d.env.Core.Query(ctx, &pluginv1.QueryRequest{Type: "Account", As: pluginv1.Caller_CALLER_SYSTEM})
	_, act := d.env.Core.Act(ctx, &pluginv1.ActRequest{Message: "APIDeleteAccountMsg", Step: "s", As: pluginv1.Caller_CALLER_SYSTEM})
	_, address := d.env.Core.AllocateAddress(ctx, &pluginv1.AllocateAddressRequest{Key: "k", L3NetworkUuid: "l3", Purpose: "VIP"})
	_, sign := d.env.Core.Sign(ctx, &pluginv1.SignRequest{Authority: "agents"})
	emit := d.env.Core.Emit(ctx, &pluginv1.EmitRequest{Type: "Account", Uuid: strings.Repeat("0", 32), Name: "n"})
	flood.Wait()
	denied := func(err error) bool { return errors.Is(err, errs.Denied) }
	return errs.New(errs.Exists, "refused", "setting %t, info %t, disk %t, query %t, act %t, address %t, sign %t, emit %t",
		denied(setting), denied(call), denied(disk), denied(query), denied(act), denied(address), denied(sign), denied(emit))
}

// ask reads rows and makes a call for the operation of ctx; "late" for the last one,
// which has ended; "as another" for one of another plugin. The checks are what the
// core answers.
func (d *driver) ask(ctx context.Context, how string) (*pluginv1.CheckHostResponse, error) {
	q := &pluginv1.QueryRequest{Type: "Asked"}
	switch how {
	case "ask":
		d.last = pluginsdk.OperationID(ctx)
	case "ask late":
		ctx = pluginsdk.WithOperationID(ctx, d.last)
	case "ask as another":
		ctx = pluginsdk.WithOperationID(ctx, "another's")
	case "ask of others":
		q.Conditions = []string{"Other"}
	}
	rows, err := d.env.Core.Query(ctx, q)
	if err != nil {
		return nil, err
	}
	done, err := d.env.Core.Act(ctx, &pluginv1.ActRequest{Message: "APIAskMsg", Step: "s"})
	if err != nil {
		return nil, err
	}
	return &pluginv1.CheckHostResponse{Checks: []*pluginv1.HostCheck{{Name: string(rows.GetInventories()[0])}, {Name: string(done.GetResult())}}}, nil
}

// panicOutside panics in a goroutine that no interceptor guards.
func panicOutside() {
	go func() { panic("out of control") }()
}

// first reports whether nobody has asked with this key before, in any process.
func (d *driver) first(key string) bool {
	f, err := os.OpenFile(filepath.Join(d.env.DataDir, key), os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

func (d *driver) WatchHost(ctx context.Context, req *pluginv1.WatchHostRequest, emit func(*pluginv1.VMStatus) error) error {
	if req.Host.GetName() == "crash once" && d.first("crashed") {
		os.Exit(2)
	}
	if err := emit(&pluginv1.VMStatus{Uuid: "vm"}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (d *driver) PauseVM(context.Context, *pluginv1.PauseVMRequest) (*pluginv1.PauseVMResponse, error) {
	return &pluginv1.PauseVMResponse{}, nil
}

func (d *driver) ResumeVM(context.Context, *pluginv1.ResumeVMRequest) (*pluginv1.ResumeVMResponse, error) {
	return &pluginv1.ResumeVMResponse{}, nil
}

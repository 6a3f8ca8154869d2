package driver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/digitalocean/go-libvirt"

	"github.com/kumo-cloud/kumo/plugins/kvm/hostlink"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// checkTimeout is what the contract gives CheckHost.
const checkTimeout = 10 * time.Second

// ConnectHost makes the host ready and tells its facts. A connection that was
// made before is used only when agent and libvirt still answer on it.
func (d *Driver) ConnectHost(ctx context.Context, r *pluginv1.ConnectHostRequest) (*pluginv1.ConnectHostResponse, error) {
	host := r.GetHost()
	d.enter(host.GetUuid())
	s, err := d.connect(ctx, host)
	if err != nil {
		return nil, err
	}
	info, err := d.check(ctx, s, host)
	if err != nil {
		d.forget(host.GetUuid())
		if s, err = d.connect(ctx, host); err != nil {
			return nil, err
		}
		if info, err = d.check(ctx, s, host); err != nil {
			return nil, err
		}
	}
	return &pluginv1.ConnectHostResponse{Facts: d.facts(s, info), Checks: append(checksOf(info), s.fulls.check())}, nil
}

// Checks declares what is looked at on a host. The first three have their names from
// package hostlink, whose errors say which of them has failed.
func Checks() []*pluginv1.HostCheckDecl {
	return []*pluginv1.HostCheckDecl{
		{Name: hostlink.CheckManagement, Required: true}, {Name: hostlink.CheckAgent, Required: true}, {Name: hostlink.CheckLibvirt, Required: true},
		{Name: checkNetworks}, {Name: checkFolder}, {Name: checkRoom},
	}
}

const (
	// checkNetworks is whether the devices and daemons of networks are as they were
	// asked to be; checkFolder whether the agent can write what it has to keep.
	checkNetworks = "network state"
	checkFolder   = "agent's folder"
	// folderRoom is what the agent's folder should have free, in bytes: its log and
	// what it keeps of networks are some MiB.
	folderRoom = 64 << 20
)

// checksOf says what an agent that answers, on a host whose libvirt does, too, tells
// of the host.
func checksOf(info *hostv1.InfoResponse) []*pluginv1.HostCheck {
	networks, folder := &pluginv1.HostCheck{Name: checkNetworks}, &pluginv1.HostCheck{Name: checkFolder}
	if f := info.GetNetworkFailures(); len(f) > 0 {
		networks.Reason = fmt.Sprintf("%d parts of networks are not as they should be, and are tried again; %s: %s", len(f), f[0].GetKey(), f[0].GetText())
	}
	if free := info.GetFolderFreeBytes(); info.GetFolder() != "" && free < folderRoom {
		folder.Reason = fmt.Sprintf("%s has %d bytes free, and should have %d; free space there", info.GetFolder(), free, folderRoom)
	}
	return []*pluginv1.HostCheck{{Name: hostlink.CheckManagement}, {Name: hostlink.CheckAgent}, {Name: hostlink.CheckLibvirt}, networks, folder}
}

func (d *Driver) facts(s *slot, info *hostv1.InfoResponse) *pluginv1.HostFacts {
	facts := &pluginv1.HostFacts{
		CpuNum: info.GetCpuNum(), CpuMhz: info.GetCpuMhz(), CpuSockets: info.GetCpuSockets(),
		MemoryBytes: info.GetMemoryBytes(), Architecture: info.GetArchitecture(),
		Fields: map[string]string{
			"osDistribution": info.GetOsDistribution(), "osRelease": info.GetOsRelease(), "osVersion": info.GetOsVersion(),
		},
	}
	if kvm, reason := d.useKVM(s); !kvm {
		facts.Notes = append(facts.Notes, "guests run in software emulation, which is slow: "+reason)
	}
	return facts
}

// check asks agent and libvirt for a sign of life.
func (d *Driver) check(ctx context.Context, s *slot, host *pluginv1.Host) (*hostv1.InfoResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout-time.Second)
	defer cancel()
	info, err := hostv1.NewHostAgentServiceClient(s.link.Agent()).Info(ctx, &hostv1.InfoRequest{})
	if err != nil {
		return nil, errs.Wrap(errs.Unavailable, "host "+host.GetUuid(), err, "its agent does not answer").OfCheck(hostlink.CheckAgent)
	}
	_, err = hostlink.Ask(ctx, s.link, "host "+host.GetUuid(), func(l *libvirt.Libvirt) (uint64, error) { return l.ConnectGetLibVersion() })
	if err != nil {
		return nil, errs.Wrap(errs.Unavailable, "host "+host.GetUuid(), err, "libvirt does not answer").OfCheck(hostlink.CheckLibvirt)
	}
	return info, nil
}

// CheckHost tells within 10 s whether agent and libvirt answer. It does not
// install anything: an agent that has gone is started by ConnectHost.
func (d *Driver) CheckHost(ctx context.Context, r *pluginv1.CheckHostRequest) (*pluginv1.CheckHostResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	s, err := d.connect(ctx, r.GetHost())
	if err != nil {
		return nil, err
	}
	info, err := d.check(ctx, s, r.GetHost())
	if err != nil {
		return nil, err
	}
	return &pluginv1.CheckHostResponse{Checks: append(checksOf(info), s.fulls.check())}, nil
}

// DisconnectHost stops the agent, takes its networks off the host and forgets
// the connection. Guests are not touched. Until a ConnectHost other calls about the
// host are refused (errs.Unavailable).
func (d *Driver) DisconnectHost(ctx context.Context, r *pluginv1.DisconnectHostRequest) (*pluginv1.DisconnectHostResponse, error) {
	d.leave(r.GetHost().GetUuid())
	if err := hostlink.Disconnect(ctx, d.cfg.Links, r.GetHost()); err != nil {
		return nil, err
	}
	return &pluginv1.DisconnectHostResponse{}, nil
}

// CallAgent carries a typed operation to the host's agent.
func (d *Driver) CallAgent(ctx context.Context, r *pluginv1.CallAgentRequest, emit func([]byte) error) error {
	s, err := d.connect(ctx, r.GetHost())
	if err != nil {
		return err
	}
	err = pluginsdk.ForwardAgentCall(ctx, s.link.Agent(), r.GetMethod(), r.GetPayload(), emit)
	if errors.Is(err, pluginsdk.ErrConnectionLost) { // not what the agent says of what it was asked
		err = errs.Wrap(errs.Unavailable, "host "+r.GetHost().GetUuid(), err, "its agent was lost").OfCheck(hostlink.CheckAgent)
	}
	return err
}

func vmObject(uuid string) string { return fmt.Sprintf("VM %s", uuid) }

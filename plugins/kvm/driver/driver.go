package driver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"
	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/plugins/kvm/domain"
	"github.com/kumo-cloud/kumo/plugins/kvm/hostlink"
	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// connectTimeout is for a first connection, which may install the agent.
const connectTimeout = 5 * time.Minute

// Emulation says how guests run.
type Emulation string

const (
	// Auto uses KVM where it works and software emulation elsewhere.
	Auto Emulation = "auto"
	// KVM never emulates: a guest does not start where KVM does not work.
	KVM Emulation = "kvm"
	// TCG always emulates.
	TCG Emulation = "tcg"
)

// Config is what the plugin's settings say.
type Config struct {
	Links     hostlink.Config
	Emulation Emulation
	DiskCache string
	// Progress tells how far an operation is (pluginsdk.Core); nil tells nobody.
	Progress func(ctx context.Context, percent int, message string)
	Log      hclog.Logger
}

// Driver is the hypervisor. Make it with New.
type Driver struct {
	cfg Config
	log hclog.Logger
	// moves are the guests whose migration has not ended yet: what follows for one waits.
	moves creations

	mu    sync.Mutex // guards what follows; never held during a connection's I/O
	slots map[string]*slot
	// left are the hosts that were disconnected, by when: what still comes for one,
	// such as a check that was on its way, must not start its agent again. leaves counts
	// them all; maxLeft bounds those that are remembered.
	left   map[string]uint64
	leaves uint64
}

// maxLeft is far more hosts than anything can be on its way to.
const maxLeft = 4096

var (
	_ pluginsdk.Hypervisor  = (*Driver)(nil)
	_ pluginsdk.VMPauser    = (*Driver)(nil)
	_ pluginsdk.VMMigrator  = (*Driver)(nil)
	_ pluginsdk.VMConsoler  = (*Driver)(nil)
	_ pluginsdk.HostGateway = (*Driver)(nil)
	_ pluginsdk.NICAttacher = (*Driver)(nil)
)

// New makes a driver; Configure must come before any other call.
func New() *Driver { return &Driver{slots: map[string]*slot{}, left: map[string]uint64{}} }

// Configure checks the configuration (errs.Invalid) and connects to nothing
// yet. It is called once.
func (d *Driver) Configure(cfg Config) error {
	if !slices.Contains([]Emulation{Auto, KVM, TCG}, cfg.Emulation) {
		return errs.New(errs.Invalid, "setting emulation", "%q is not auto, kvm or tcg", cfg.Emulation)
	}
	if err := domain.CheckCache(cfg.DiskCache); err != nil {
		return err
	}
	if err := cfg.Links.Check(); err != nil {
		return err
	}
	if cfg.Log == nil {
		cfg.Log = hclog.NewNullLogger()
	}
	if cfg.Progress == nil {
		cfg.Progress = func(context.Context, int, string) {}
	}
	cfg.Links.Log = cfg.Log
	d.cfg, d.log = cfg, cfg.Log
	return nil
}

// slot is the connection to one host, being made or made.
type slot struct {
	access string
	ready  chan struct{}
	link   *hostlink.Link // readable when ready is closed
	feed   *feed[libvirt.DomainEventLifecycleMsg]
	// removals tells of devices that were pulled out.
	removals *feed[removal]
	err      error

	creations  creations
	processors processors
	fulls      fulls
	cuts       cuts
	log        hclog.Logger

	mu sync.Mutex
	// kvmFailed is set when libvirt could not start a guest by KVM.
	kvmFailed string
}

func (s *slot) usable() bool {
	select {
	case <-s.ready:
	default:
		return true // a caller can wait for it
	}
	if s.err != nil {
		return false
	}
	select {
	case <-s.link.Lost():
		return false
	default:
		return true
	}
}

// access identifies how a host is reached, without keeping its password.
func access(host *pluginv1.Host) string {
	f := host.GetFields()
	sum := sha256.Sum256([]byte(strings.Join([]string{host.GetManagementIp(), f["username"], f["password"], f["sshPort"]}, "\x00")))
	return hex.EncodeToString(sum[:])
}

// connect returns the host's connection and makes one when there is none, it
// was lost, or the host is reached otherwise now. Callers that come together
// share one attempt.
func (d *Driver) connect(ctx context.Context, host *pluginv1.Host) (*slot, error) {
	if host.GetUuid() == "" {
		return nil, errs.New(errs.Invalid, "host", "it has no UUID")
	}
	s := d.take(ctx, host)
	if s == nil {
		return nil, errs.New(errs.Unavailable, "host "+host.GetUuid(), "it was disconnected").OfCheck(hostlink.CheckAgent)
	}
	select {
	case <-s.ready:
		return s, s.err
	case <-ctx.Done():
		return nil, errs.Wrap(errs.ClassOf(ctx.Err()), "host "+host.GetUuid(), ctx.Err(), "the connection takes too long")
	}
}

// take returns the slot of a host, nil of one that was disconnected.
func (d *Driver) take(ctx context.Context, host *pluginv1.Host) *slot {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left[host.GetUuid()] > 0 {
		return nil
	}
	key := access(host)
	old := d.slots[host.GetUuid()]
	if old != nil && old.access == key && old.usable() {
		return old
	}
	s := &slot{access: key, ready: make(chan struct{}), log: d.log}
	d.slots[host.GetUuid()] = s
	go func() {
		old.close()
		// Others may wait for this attempt, so it does not end with one caller.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
		defer cancel()
		s.open(ctx, d.cfg.Links, host)
		close(s.ready)
	}()
	return s
}

func (s *slot) open(ctx context.Context, cfg hostlink.Config, host *pluginv1.Host) {
	link, err := hostlink.Connect(ctx, cfg, host)
	if err != nil {
		s.err = err
		return
	}
	s.link = link
	object := "host " + host.GetUuid()
	if s.feed, s.err = startFeed(ctx, s, object); s.err == nil {
		s.removals, s.err = startRemovals(ctx, s, object)
	}
	if s.err != nil {
		link.Close()
	}
}

// close ends the connection, when there is one.
func (s *slot) close() {
	if s == nil {
		return
	}
	<-s.ready
	if s.link != nil {
		s.link.Close()
	}
}

// forget drops the host's connection.
func (d *Driver) forget(uuid string) {
	d.mu.Lock()
	s := d.slots[uuid]
	delete(d.slots, uuid)
	d.mu.Unlock()
	s.close()
}

// leave is forget for good, until the host is connected anew, or maxLeft others were
// left after it.
func (d *Driver) leave(uuid string) {
	d.mu.Lock()
	d.leaves++
	d.left[uuid] = d.leaves
	if len(d.left) > maxLeft {
		longest := uuid
		for other, at := range d.left {
			if at < d.left[longest] {
				longest = other
			}
		}
		delete(d.left, longest)
	}
	d.mu.Unlock()
	d.forget(uuid)
}

func (d *Driver) enter(uuid string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.left, uuid)
}

// Close ends all connections. Agents and guests go on.
func (d *Driver) Close() error {
	d.mu.Lock()
	slots := d.slots
	d.slots = map[string]*slot{}
	d.mu.Unlock()
	var all sync.WaitGroup
	for _, s := range slots {
		all.Go(s.close)
	}
	all.Wait()
	return nil
}

// useKVM decides how the host's next guest runs, and why not by KVM.
func (d *Driver) useKVM(s *slot) (use bool, reason string) {
	switch d.cfg.Emulation {
	case KVM:
		return true, ""
	case TCG:
		return false, "the setting emulation is tcg"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kvmFailed != "" {
		return false, s.kvmFailed
	}
	return s.link.Info.GetKvm(), s.link.Info.GetKvmReason()
}

func (s *slot) failKVM(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kvmFailed = fmt.Sprintf("libvirt could not start a guest by KVM: %v", err)
}

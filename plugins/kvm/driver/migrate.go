package driver

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/digitalocean/go-libvirt"

	"github.com/kumo-cloud/kumo/plugins/kvm/domain"
	"github.com/kumo-cloud/kumo/plugins/kvm/hostlink"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	// migrateLook is how often the progress is asked for.
	migrateLook = time.Second
	// abortWait is how long a migration that was cancelled may take to end.
	abortWait = 30 * time.Second
)

// MigrateVM moves a running guest. The plugin asks both libvirts itself, as it reaches
// them by SSH or a socket and they have no business with each other (libvirt's protocol
// of version 3, managed by the client). The hosts need to reach each other for the memory
// and the disks alone, which QEMU sends to ports of the target's management address in
// the range of qemu.conf (migration_port_min and max, 49152 to 49215). That is not
// encrypted, nor is anybody asked who he is: the management network must be one that
// guests and strangers are not on.
//
// Disks that the hosts do not share are copied onto those that the target has. An ISO in a
// drive is not: the target has it at its path. What UEFI keeps goes along with the memory.
func (d *Driver) MigrateVM(ctx context.Context, r *pluginv1.MigrateVMRequest) (*pluginv1.MigrateVMResponse, error) {
	m, err := d.between(ctx, r.GetSource(), r.GetTarget(), r.GetVm().GetUuid())
	if err != nil {
		return nil, err
	}
	defer d.moves.begin(m.uuid)()
	moved, err := m.settle(ctx)
	if err != nil {
		return nil, err
	}
	if !moved {
		if err := m.run(ctx, r); err != nil {
			return nil, m.failed(ctx, err)
		}
	}
	vms, err := listOne(ctx, m.to, m.uuid)
	if err != nil {
		return nil, err
	}
	answer := &pluginv1.MigrateVMResponse{}
	if len(vms) > 0 { // else it has ended since
		answer.Status = vms[0]
	}
	return answer, nil
}

// EndMigration implements pluginsdk.VMMigrator.
func (d *Driver) EndMigration(ctx context.Context, r *pluginv1.EndMigrationRequest) (*pluginv1.EndMigrationResponse, error) {
	m, err := d.between(ctx, r.GetSource(), r.GetTarget(), r.GetVmUuid())
	if err != nil {
		return nil, err
	}
	moved, err := m.settle(ctx)
	if err != nil {
		return nil, err
	}
	return &pluginv1.EndMigrationResponse{Moved: moved}, nil
}

// movement is a guest that moves between two hosts.
type movement struct {
	d        *Driver
	uuid     string
	from, to *slot
}

// between is what each call about a migration begins with.
func (d *Driver) between(ctx context.Context, source, target *pluginv1.Host, uuid string) (m *movement, err error) {
	m = &movement{d: d, uuid: uuid}
	if m.from, err = d.connect(ctx, source); err != nil {
		return nil, err
	}
	if m.to, err = d.connect(ctx, target); err != nil {
		return nil, err
	}
	// A caller that gave up has not waited for the end of what it began.
	return m, d.moves.wait(ctx, uuid)
}

// failed takes back what is left of a migration that failed. When that has moved the
// guest all the same, or it cannot be told, the caller asks by EndMigration.
func (m *movement) failed(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWait)
	defer cancel()
	_, err := m.settle(ctx)
	return errors.Join(cause, err)
}

// run migrates the guest. When ctx ends, it is taken back.
func (m *movement) run(ctx context.Context, r *pluginv1.MigrateVMRequest) error {
	p, err := m.prepare(ctx, r)
	if err != nil {
		return err
	}
	defer p.close()
	done := make(chan error, 1)
	go func() { done <- p.run() }()
	look := time.NewTicker(migrateLook)
	defer look.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return m.abort(ctx, p, done)
		case <-m.from.link.Lost():
			return lost(vmObject(m.uuid), m.from.link)
		case <-m.to.link.Lost():
			return lost(vmObject(m.uuid), m.to.link)
		case <-look.C:
			m.tell(ctx, p.dom)
		}
	}
}

// abort ends a migration whose caller gave up.
func (m *movement) abort(ctx context.Context, p *phases, done chan error) error {
	p.cancelled.Store(true)
	gaveUp := errs.Wrap(errs.ClassOf(ctx.Err()), vmObject(m.uuid), ctx.Err(), "its migration is taken back")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortWait)
	defer cancel()
	again := time.NewTicker(settleLook)
	defer again.Stop()
	for {
		if err := abortJob(ctx, m.from, p.dom); err != nil {
			return errors.Join(gaveUp, err)
		}
		select {
		case err := <-done:
			if err == nil {
				return nil // it was too late
			}
			return gaveUp
		case <-ctx.Done():
			return gaveUp
		case <-again.C:
		}
	}
}

// tell reports how much is still to be sent, of what is known now.
func (m *movement) tell(ctx context.Context, dom libvirt.Domain) {
	params, err := ask(ctx, m.from, vmObject(m.uuid), func(l *libvirt.Libvirt) ([]libvirt.TypedParam, error) {
		_, params, err := l.DomainGetJobStats(dom, 0)
		return params, err
	})
	if err != nil {
		return // it is about to end, which run tells
	}
	var total, remaining uint64
	for _, p := range params {
		n, _ := p.Value.I.(uint64)
		switch p.Field {
		case "data_total":
			total = n
		case "data_remaining":
			remaining = n
		}
	}
	if total > 0 && remaining <= total {
		m.d.cfg.Progress(ctx, int(100*(total-remaining)/total), "moving the guest to the other host")
	}
}

// phases are the calls of one migration, on connections of their own: when these end,
// libvirtd at the target ends what has not become a guest yet.
type phases struct {
	uuid      string
	from, to  *hostlink.Apart
	dom       libvirt.Domain
	flags     libvirt.DomainMigrateFlags
	uri       string
	listen    netip.Addr
	xml       string
	cancelled atomic.Bool
}

func (m *movement) prepare(ctx context.Context, r *pluginv1.MigrateVMRequest) (p *phases, err error) {
	object := vmObject(m.uuid)
	at := m.to.link.Management
	if at.IsLoopback() {
		return nil, errs.New(errs.Refused, object, "the management address of host %s, %s, is one that no other host can reach", r.GetTarget().GetName(), at).
			WithAdvice("add the host by an address of its network")
	}
	p = &phases{uuid: m.uuid, uri: "tcp://" + at.String(), listen: at, flags: libvirt.MigrateLive | libvirt.MigrateChangeProtection | libvirt.MigrateAbortOnError}
	if at.Is6() {
		p.uri = "tcp://[" + at.String() + "]"
	}
	switch r.GetCopy() {
	case pluginv1.DiskCopy_DISK_COPY_CHANGES:
		p.flags |= libvirt.MigrateNonSharedInc
	case pluginv1.DiskCopy_DISK_COPY_ALL:
		p.flags |= libvirt.MigrateNonSharedDisk
	default:
		// libvirt knows of few file systems that hosts share them. The core says that these
		// disks are, and without a cache on the hosts both see the same.
		if c := m.d.cfg.DiskCache; c == "none" || c == "directsync" {
			p.flags |= libvirt.MigrateUnsafe
		}
	}
	if r.GetSlowGuest() {
		p.flags |= libvirt.MigrateAutoConverge
	}
	if p.dom, err = lookup(ctx, m.from, m.uuid); err != nil {
		return nil, err
	}
	text, err := ask(ctx, m.from, object, func(l *libvirt.Libvirt) (string, error) {
		return l.DomainGetXMLDesc(p.dom, libvirt.DomainXMLMigratable|libvirt.DomainXMLSecure)
	})
	if err != nil {
		return nil, err
	}
	if p.xml, err = domain.Moved(text, r.GetVm(), m.to.link.Address); err != nil {
		return nil, err
	}
	if p.from, err = m.from.link.Apart(ctx, object); err != nil {
		return nil, err
	}
	if p.to, err = m.to.link.Apart(ctx, object); err != nil {
		p.from.Close()
		return nil, err
	}
	return p, nil
}

func (p *phases) close() {
	p.from.Close()
	p.to.Close()
}

// params are those of a phase.
func (p *phases) params() []libvirt.TypedParam {
	text := func(name, value string) libvirt.TypedParam {
		return libvirt.TypedParam{Field: name, Value: *libvirt.NewTypedParamValueString(value)}
	}
	return []libvirt.TypedParam{text("migrate_uri", p.uri), text("destination_xml", p.xml), text("destination_name", p.uuid), text("listen_address", p.listen.String())}
}

// run goes through the phases (virDomainMigrateVersion3Full in libvirt-domain.c): begin
// at the source, prepare at the target, perform at the source, finish at the target,
// confirm at the source. From the end of perform on the guest stands still on both, and
// finish decides: it runs at the target, or goes on at the source.
func (p *phases) run() error {
	there := uint32(p.flags &^ (libvirt.MigrateAbortOnError | libvirt.MigrateAutoConverge))
	cookie, xml, err := p.from.DomainMigrateBegin3Params(p.dom, p.params(), uint32(p.flags))
	if err != nil {
		return p.from.Error(err)
	}
	p.xml = xml
	cookie, uri, err := p.to.DomainMigratePrepare3Params(p.params(), cookie, there)
	if err != nil {
		return errors.Join(p.to.Error(err), p.confirm(nil, 1))
	}
	if len(uri) > 0 {
		p.uri = uri[0]
	}
	cancelled := int32(0)
	cookie, failed := p.perform(cookie)
	if failed != nil {
		cancelled = 1
	}
	_, cookie, err = p.to.DomainMigrateFinish3Params(p.params(), cookie, there, cancelled)
	switch {
	case failed != nil: // finish has only ended what the target had, and says that there is no guest
		return failed
	case err != nil:
		return errors.Join(p.to.Error(err), p.confirm(cookie, 1))
	}
	return p.confirm(cookie, 0)
}

func (p *phases) perform(cookie []byte) ([]byte, error) {
	if p.cancelled.Load() {
		return nil, errors.Join(errs.New(errs.Cancelled, vmObject(p.uuid), "its migration was cancelled"), p.confirm(nil, 1))
	}
	cookie, err := p.from.DomainMigratePerform3Params(p.dom, nil, p.params(), cookie, p.flags)
	return cookie, p.from.Error(err)
}

// confirm ends the migration at the source: the guest goes on there when it was
// cancelled, and ends otherwise.
func (p *phases) confirm(cookie []byte, cancelled int32) error {
	return p.from.Error(p.from.DomainMigrateConfirm3Params(p.dom, p.params(), cookie, uint32(p.flags), cancelled))
}

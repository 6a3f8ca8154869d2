package topology

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/errtext"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// This file keeps the checks of hosts: what was found of each when it was looked
// at last. The hypervisor's plugin declares those that it looks at, and which of
// them a host must pass; other services add what they know of their own things,
// which costs the host nothing. A row is written when it changes; that it was seen
// again is kept in memory, and written for all together.

const (
	// checkConnection is the check that stands for all that a host must pass: it
	// holds while the host can be used, and has the reason when it cannot.
	checkConnection = "connection"
	// agesInterval is how old at most what the rows say of their last look is.
	agesInterval = time.Minute
)

// finding is what was found of one check.
type finding struct {
	name, resource, state, reason string
	required                      bool
}

func (f finding) of(c *HostCheck) bool { return c.Name == f.name && c.ResourceUUID == f.resource }

func (f finding) same(c *HostCheck) bool {
	return f.of(c) && c.State == f.state && c.Reason == f.reason && c.Required == f.required
}

func found(name, resourceUUID, reason string, required bool) finding {
	state := CheckOK
	if reason != "" {
		state = CheckFailed
	}
	return finding{name, resourceUUID, state, errtext.Short(reason), required}
}

// connected is what is found of the check that stands for the others.
func connected() finding { return found(checkConnection, "", "", true) }

// Checked implements contract.Hosts.
func (s *Service) Checked(ctx context.Context, hostUUID string, checks ...contract.HostCheck) {
	all := make([]finding, len(checks))
	for i, c := range checks {
		all[i] = found(c.Name, c.ResourceUUID, c.Reason, false)
	}
	s.noteChecks(ctx, hostUUID, all, false)
}

// Unchecked implements contract.Hosts.
func (s *Service) Unchecked(ctx context.Context, tx *store.Tx, hostUUID, name, resourceUUID string) error {
	_, err := tx.Exec(ctx, "DELETE FROM `HostCheck` WHERE `hostUuid` = ? AND `name` = ? AND `resourceUuid` = ?", hostUUID, name, resourceUUID)
	return err
}

// answered turns what a plugin says of a host into findings. Errors: Unavailable
// for a check that is required and does not hold.
func answered(h *pluginv1.Host, d *pluginv1.HypervisorDecl, checks []*pluginv1.HostCheck) (all []finding, failed error) {
	for _, c := range checks {
		f := found(c.GetName(), "", c.GetReason(), requires(d, c.GetName()))
		if all = append(all, f); failed == nil && f.required && f.reason != "" {
			failed = errs.New(errs.Unavailable, "host "+h.GetName(), "%s", c.GetReason()).OfCheck(c.GetName())
		}
	}
	return all, failed
}

func requires(d *pluginv1.HypervisorDecl, name string) bool {
	return slices.ContainsFunc(d.GetChecks(), func(c *pluginv1.HostCheckDecl) bool { return c.GetName() == name && c.GetRequired() })
}

// notUsable notes why a host cannot be used, on the check that the error names,
// too, beside what was found. When the host is lost, nothing is known of all else.
func (s *Service) notUsable(ctx context.Context, hostUUID string, d *pluginv1.HypervisorDecl, all []finding, cause error, lost bool) {
	name := errs.CheckOf(cause)
	if requires(d, name) && !slices.ContainsFunc(all, func(f finding) bool { return f.name == name }) {
		all = append(all, found(name, "", cause.Error(), true))
	}
	s.noteChecks(ctx, hostUUID, append(all, found(checkConnection, "", cause.Error(), true)), lost)
}

// noteChecks records findings, and with lost that nothing is known of the others.
// What cannot be recorded is logged: the host works all the same.
func (s *Service) noteChecks(ctx context.Context, hostUUID string, all []finding, lost bool) {
	rows, err := knownChecks(ctx, store.Cached(s.Store), hostUUID)
	if err == nil && !news(rows, all, lost) {
		s.ages.seen(rows, all)
		return
	}
	if err == nil {
		err = s.Store.Update(ctx, func(tx *store.Tx) error { return saveChecks(ctx, tx, hostUUID, all, lost) })
	}
	if err != nil && errs.ClassOf(err) != errs.NotFound && ctx.Err() == nil {
		s.Log.Error("checks of host not recorded", "host", hostUUID, "error", err)
	}
}

// knownChecks reads a host's checks without their ages, so that the answer can be
// kept while these change.
func knownChecks(ctx context.Context, q store.Querier, hostUUID string) (rows []*HostCheck, err error) {
	err = q.Each(ctx, "SELECT `uuid`, `name`, `resourceUuid`, `required`, `state`, `reason`, `sinceDate` FROM `HostCheck` WHERE `hostUuid` = ?", []any{hostUUID}, func(r *store.Row) error {
		rows = append(rows, &HostCheck{UUID: r.Text(0), HostUUID: hostUUID, Name: r.Text(1), ResourceUUID: r.Text(2), Required: r.Int(3) != 0,
			State: r.Text(4), Reason: r.Text(5), SinceDate: resource.UnixMilli(r.Int(6))})
		return nil
	})
	return rows, err
}

// notLookedAt is what is known of a check of a lost host.
func notLookedAt(c *HostCheck) finding {
	return finding{c.Name, c.ResourceUUID, CheckUnknown, "it cannot be looked at while the host is Disconnected", c.Required}
}

// news reports whether findings differ from what is known.
func news(rows []*HostCheck, all []finding, lost bool) bool {
	for _, f := range all {
		if !slices.ContainsFunc(rows, f.same) {
			return true
		}
	}
	return lost && slices.ContainsFunc(rows, func(c *HostCheck) bool {
		return !notLookedAt(c).same(c) && !slices.ContainsFunc(all, func(f finding) bool { return f.of(c) })
	})
}

// saveChecks makes the rows what was found. Errors: NotFound when the host is gone.
func saveChecks(ctx context.Context, tx *store.Tx, hostUUID string, all []finding, lost bool) error {
	if err := store.Hold(ctx, tx, HostType.Type, hostUUID); err != nil {
		return err
	}
	rows, err := knownChecks(ctx, tx, hostUUID)
	if err != nil {
		return err
	}
	if lost {
		for _, c := range rows {
			if f := notLookedAt(c); !slices.ContainsFunc(all, func(f finding) bool { return f.of(c) }) {
				all = append(all, f)
			}
		}
	}
	for _, f := range all {
		i := slices.IndexFunc(rows, f.of)
		if i < 0 {
			row := &HostCheck{UUID: resource.NewUUID(), HostUUID: hostUUID, Name: f.name, ResourceUUID: f.resource, Required: f.required,
				State: f.state, Reason: f.reason, SinceDate: resource.Now()}
			rows, err = append(rows, row), store.Insert(ctx, tx, HostCheckType, row)
		} else if row := rows[i]; !f.same(row) {
			if row.State != f.state {
				row.SinceDate = resource.Now()
			}
			row.State, row.Reason, row.Required = f.state, f.reason, f.required
			err = store.Save(ctx, tx, HostCheckType, row, "state", "reason", "required", "sinceDate")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ages are the last looks that the rows do not have yet. Its zero value is ready.
type ages struct {
	mu sync.Mutex
	at map[string]int64 // by row, in seconds since 1970
}

// seen notes that what was found is what the rows say.
func (a *ages) seen(rows []*HostCheck, all []finding) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at == nil {
		a.at = map[string]int64{}
	}
	now := time.Now().Unix()
	for _, f := range all {
		if i := slices.IndexFunc(rows, f.of); i >= 0 {
			a.at[rows[i].UUID] = now
		}
	}
}

// take returns the rows by when they were seen, and forgets them.
func (a *ages) take() map[int64][]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	by := map[int64][]string{}
	for uuid, at := range a.at {
		by[at] = append(by[at], uuid)
	}
	a.at = nil
	return by
}

// keepAges writes the ages until ctx ends.
func (s *Service) keepAges(ctx context.Context) {
	ticker := time.NewTicker(agesInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := s.saveAges(ctx); err != nil && ctx.Err() == nil {
				s.Log.Error("ages of hosts' checks not saved", "error", err)
			}
		}
	}
}

// saveAges writes when checks were seen last, in one transaction.
func (s *Service) saveAges(ctx context.Context) error {
	const page = 500
	by := s.ages.take()
	if len(by) == 0 {
		return nil
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		for at, uuids := range by {
			for some := range slices.Chunk(uuids, page) {
				_, err := tx.Exec(ctx, "UPDATE `HostCheck` SET `lastOpDate` = ? WHERE `uuid` IN (?)", at*1000, some)
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}

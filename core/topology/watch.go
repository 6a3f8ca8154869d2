package topology

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/contract"
	"github.com/kumo-cloud/kumo/core/hook"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/watch"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	// checkTimeout bounds one check of a host (spec: section 1.2).
	checkTimeout = 10 * time.Second
	// maxPause is the longest pause between two tries to connect a lost host.
	maxPause = 30 * time.Second
	// connectParallel bounds how many hosts are connected at once at start.
	connectParallel = 100
	// lookPause is the pause between two looks at a host that says that it has changed.
	lookPause = time.Second
)

// atRest are the states in which a host is neither connected nor pinged (spec:
// section 1.2).
var atRest = []string{PreMaintenance, Maintenance}

// Start connects this node's hosts in the background, and checks and watches them
// until ctx ends. Stop waits for what it began.
func (s *Service) Start(ctx context.Context) error {
	hosts, err := s.startConnecting(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.root = ctx
	s.mu.Unlock()
	slots := make(chan struct{}, connectParallel)
	for _, uuid := range hosts {
		s.watching.Go(func() {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
			case <-ctx.Done():
				return
			}
			if err := s.reconnect(ctx, uuid); err != nil {
				s.reconnectSoon(ctx, uuid)
			}
		})
	}
	s.watching.Go(func() { s.keepAges(ctx) })
	s.watching.Go(func() { s.pings().Run(ctx, s.Config.Every(ctx, catHost, "ping.interval")) })
	return nil
}

// startConnecting marks this node's hosts as Connecting: what they were when the
// core ended says nothing of now.
func (s *Service) startConnecting(ctx context.Context) (uuids []string, err error) {
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		uuids, err = store.Texts(ctx, tx, "SELECT `uuid` FROM `Host` WHERE `state` NOT IN (?)", atRest)
		if err != nil {
			return err
		}
		uuids = slices.DeleteFunc(uuids, func(uuid string) bool { return !s.Node.Owns(uuid) })
		for some := range slices.Chunk(uuids, 1000) {
			if _, err := tx.Exec(ctx, "UPDATE `Host` SET `status` = ? WHERE `uuid` IN (?)", Connecting, some); err != nil {
				return err
			}
		}
		return nil
	})
	return uuids, err
}

// Stop waits until the work that Start began has ended; cancel its context
// first.
func (s *Service) Stop() { s.watching.Wait() }

// reconnect connects a host in its queue, so that it does not meet an
// operation of a user on the same host. A host that is gone, or in
// maintenance, is a success.
func (s *Service) reconnect(ctx context.Context, uuid string) error {
	if !s.Node.Owns(uuid) {
		return nil
	}
	_, err := s.Actions.DoSystem(ctx, reconnectMessage, map[string]any{"uuid": uuid})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// reconnectMessage asks for reconnectNow.
const reconnectMessage = "ReconnectHostMsg"

func (s *Service) registerInner() {
	type params struct {
		UUID string `api:"uuid,required"`
	}
	action.Register(s.Actions, action.Action{Message: reconnectMessage, Access: action.Internal, Async: true, Queue: "uuid", Kind: "host",
		TakesUp: true, Timeout: connectTimeout, Doc: "Connects a host, or its broken watch, anew."},
		func(ctx context.Context, _ *action.Call, p *params) (action.Empty, error) {
			return action.Empty{}, s.reconnectNow(ctx, p.UUID)
		})
}

func (s *Service) reconnectNow(ctx context.Context, uuid string) error {
	h, err := store.Get(ctx, s.Store, HostType, uuid)
	if ctx.Err() != nil || errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err == nil && slices.Contains(atRest, h.State) {
		return nil
	}
	switch {
	case err == nil && h.Status == Connected:
		// Only its watch broke, as when its plugin was started anew: guests can be
		// placed on it as before.
		err = s.renew(ctx, uuid)
	case err == nil:
		err = s.connect(ctx, uuid)
	}
	if errs.ClassOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		s.Log.Warn("host not connected", "host", uuid, "error", err)
	}
	return err
}

// pings are the looks at hosts, which bring those that are Disconnected back.
func (s *Service) pings() *watch.Loop {
	return &watch.Loop{Parallel: connectParallel, Timeout: checkTimeout, Owns: s.Node.Owns,
		Failures: func() int64 { return s.Config.Int64(context.Background(), catHost, "ping.maxFailure", "") },
		List:     s.pinged, Check: s.check, Lost: s.pingLost,
		Broken: func(err error) { s.Log.Error("hosts not listed", "error", err) },
	}
}

// pinged are the hosts that pings look at.
func (s *Service) pinged(ctx context.Context) ([]watch.Target, error) {
	var targets []watch.Target
	err := s.Store.Each(ctx, "SELECT `uuid`, `status` FROM `Host` WHERE `state` NOT IN (?) AND `status` <> ?", []any{atRest, Connecting}, func(r *store.Row) error {
		targets = append(targets, watch.Target{Key: r.Text(0), Connected: r.Text(1) == Connected})
		return nil
	})
	return targets, err
}

// pingLost gives a host up that does not answer, until it is back.
func (s *Service) pingLost(ctx context.Context, uuid string, cause error) {
	s.stopWatch(uuid)
	s.lost(ctx, uuid, nil, cause)
	s.reconnectSoon(ctx, uuid)
}

// reconnectSoon connects a host in the background and keeps trying, with a
// growing pause, until it is back (spec: section 1.2). A host is tried by one
// at a time.
func (s *Service) reconnectSoon(ctx context.Context, uuid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trying[uuid] || ctx.Err() != nil {
		return
	}
	s.trying[uuid] = true
	s.watching.Go(func() {
		defer func() {
			s.mu.Lock()
			delete(s.trying, uuid)
			s.mu.Unlock()
		}()
		for pause := time.Second; s.reconnect(ctx, uuid) != nil; pause = min(2*pause, maxPause) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
		}
	})
}

// check pings a host and compares its guests. Their changes are told as they
// happen; what fell between a listing and the watch after it, or was never
// told, is found here. A host that was lost and answers is connected anew. One
// that is gone is a success.
func (s *Service) check(ctx context.Context, uuid string) error {
	h, found, err := store.First(ctx, s.Store, HostType, "`uuid` = ?", uuid)
	if err != nil || !found {
		return err
	}
	p, err := s.pluginHost(ctx, s.Store, h)
	if err != nil {
		return err
	}
	hv, err := s.Plugins.Hypervisor(h.HypervisorType)
	if err != nil {
		return err
	}
	answer, err := hv.CheckHost(ctx, &pluginv1.CheckHostRequest{Host: p})
	all, failed := answered(p, hv.Decl, answer.GetChecks())
	if err == nil {
		err = failed
	}
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return err // which says nothing of the host
	}
	if err != nil {
		s.notUsable(context.WithoutCancel(ctx), uuid, hv.Decl, all, err, false)
		return err
	}
	switch h.Status {
	case Connected:
		s.noteChecks(ctx, uuid, append(all, connected()), false)
		return s.tellGuests(ctx, hv, p)
	case Disconnected:
		s.reconnectSoon(s.root, uuid)
	}
	return nil
}

// startWatch follows the changes of a host's guests until stopWatch. A broken
// watch is a sign before the next ping: the host is connected anew, which
// lists its guests again, so that no change is missed.
func (s *Service) startWatch(h *pluginv1.Host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.root.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(s.root)
	if old := s.watches[h.GetUuid()]; old != nil {
		old()
	}
	s.watches[h.GetUuid()] = cancel
	s.watching.Go(func() { s.watch(ctx, h) })
}

func (s *Service) stopWatch(uuid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel := s.watches[uuid]; cancel != nil {
		cancel()
		delete(s.watches, uuid)
	}
}

func (s *Service) watch(ctx context.Context, h *pluginv1.Host) {
	hv, err := s.Plugins.Hypervisor(h.GetHypervisorType())
	changed, stop := s.looks(ctx, h.GetUuid())
	defer stop()
	if err == nil {
		err = hv.WatchHost(ctx, &pluginv1.WatchHostRequest{Host: h}, func(vm *pluginv1.VMStatus) error {
			if !s.Node.Owns(h.GetUuid()) {
				return errs.New(errs.Refused, "host "+h.GetName(), "another management node looks after it")
			}
			if vm == nil {
				changed()
				return nil
			}
			hook.Announce(ctx, s.Hooks, contract.HostReported, contract.HostReport{HostUUID: h.GetUuid(), Guests: []*pluginv1.VMStatus{vm}})
			return nil
		})
	}
	if ctx.Err() != nil {
		return
	}
	s.Log.Warn("watch of host ended", "host", h.GetUuid(), "error", err)
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
		s.reconnectSoon(s.root, h.GetUuid())
	}
}

// looks returns what has a host looked at in the background, until stop: at once, or
// lookPause after the last time. Changes that come meanwhile are looked at together.
func (s *Service) looks(ctx context.Context, uuid string) (changed, stop func()) {
	ctx, stop = context.WithCancel(ctx)
	waiting := make(chan struct{}, 1)
	s.watching.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-waiting:
				s.lookNow(ctx, uuid)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(lookPause):
			}
		}
	})
	return func() {
		select {
		case waiting <- struct{}{}:
		default:
		}
	}, stop
}

// lookNow looks at a host of which the hypervisor says that it has changed, as a ping
// does, and has the services do so; whether it is lost, pings decide.
func (s *Service) lookNow(ctx context.Context, uuid string) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() {
		if err := s.check(ctx, uuid); err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			s.Log.Warn("host that has changed not looked at", "host", uuid, "error", err)
		}
	})
	hook.Announce(ctx, s.Hooks, contract.HostChanged, uuid)
	all.Wait()
}

// registerHostState registers APIChangeHostStateMsg. Maintenance passes through
// PreMaintenance, in which the services stop the host's guests.
func (s *Service) registerHostState() error {
	type params struct {
		UUID  string `api:"uuid,required,path,resource=Host"`
		Event string `api:"stateEvent,required,values=enable|disable|maintain"`
	}
	action.Register(s.Actions, action.Action{
		Message: "APIChangeHostStateMsg", Method: "PUT", Path: "/hosts/{uuid}/actions", Key: "changeHostState", Async: true,
		Access: action.Admin, Queue: "uuid", Returns: "Host", Kind: "host", Doc: "Enables or disables a host, or puts it in maintenance.",
	}, func(ctx context.Context, _ *action.Call, p *params) (action.Ref, error) {
		ref := action.Ref{Type: "Host", UUID: p.UUID}
		if p.Event == "maintain" {
			return ref, s.maintain(ctx, p.UUID)
		}
		before, err := store.Get(ctx, s.Store, HostType, p.UUID)
		if err != nil {
			return ref, err
		}
		_, err = s.generic.ChangeState(ctx, HostType.Type, p.UUID, p.Event)
		if err != nil || !slices.Contains(atRest, before.State) {
			return ref, err
		}
		// It was not looked at meanwhile.
		err = s.setStatus(ctx, p.UUID, Connecting)
		s.reconnectSoon(s.root, p.UUID)
		return ref, err
	})
	return nil
}

// maintain empties a host. On failure it returns to its earlier state.
func (s *Service) maintain(ctx context.Context, uuid string) error {
	h, err := store.Get(ctx, s.Store, HostType, uuid)
	if err != nil {
		return err
	}
	if h.Status != Connected {
		return errs.New(errs.Refused, "host "+h.Name, "is %s; only a Connected host can be put in maintenance", h.Status)
	}
	if _, err := s.generic.ChangeState(ctx, HostType.Type, uuid, "preMaintain"); err != nil {
		return err
	}
	if err := hook.Tell(ctx, s.Hooks, contract.HostEmptying, uuid); err != nil {
		back := map[string]string{Enabled: "enable", Disabled: "disable"}[h.State]
		if _, e := s.generic.ChangeState(context.WithoutCancel(ctx), HostType.Type, uuid, back); e != nil {
			s.Log.Error("host not returned to its state", "host", uuid, "error", e)
		}
		return err
	}
	_, err = s.generic.ChangeState(ctx, HostType.Type, uuid, "maintain")
	return err
}

// HostCall carries a typed operation to the agent on a host, for plugins (it
// implements part of plugin.CoreHandler). Errors: Unsupported when the host's
// hypervisor has no agent.
func (s *Service) HostCall(ctx context.Context, hostUUID, method string, payload []byte, emit func([]byte) error) error {
	h, err := s.PluginHost(ctx, s.Store, hostUUID)
	if err != nil {
		return err
	}
	hv, err := s.Plugins.Hypervisor(h.GetHypervisorType())
	if err != nil {
		return err
	}
	gw, err := hv.Gateway()
	if err != nil {
		return err
	}
	return gw.CallAgent(ctx, &pluginv1.CallAgentRequest{Host: h, Method: method, Payload: payload}, emit)
}

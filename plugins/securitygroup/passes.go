package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// passTimeout bounds what a pass may take to read the rows.
const passTimeout = time.Minute

// passes bring hosts to what the rows say. Those who ask while a pass reads share the
// next one, which begins after they have asked and so sees what they have changed.
type passes struct {
	graph graph
	log   hclog.Logger

	mu    sync.Mutex
	hosts map[string]*host
	// moving are the hosts of NICs of guests that start or have ended, "" for none: the
	// rows do not say so yet.
	moving map[string]string
	// arriving are the hosts to which NICs move of guests that go on where they are.
	arriving map[string]string
	running  bool
	next     *pass
	number   int64
	// met: hosts that an earlier process may have told something are among hosts.
	met bool
}

// pass is one that is to come, or has been.
type pass struct {
	read chan struct{} // closed when the rows have been read and hosts are being told
	err  error
	told map[string]*outcome
	// all are the hosts that are told everything.
	all map[string]bool
}

func newPasses(g graph, log hclog.Logger) *passes {
	return &passes{graph: g, log: log, hosts: map[string]*host{}, moving: map[string]string{}, arriving: map[string]string{}}
}

// run has a pass that begins from now on, and returns it when the rows have been read.
// all names hosts that are told everything.
func (s *passes) run(ctx context.Context, all ...string) (*pass, error) {
	s.mu.Lock()
	p := s.next
	if p == nil {
		p = &pass{read: make(chan struct{}), told: map[string]*outcome{}, all: map[string]bool{}}
		s.next = p
		if !s.running {
			s.running = true
			go s.loop()
		}
	}
	for _, uuid := range all {
		p.all[uuid] = true
	}
	s.mu.Unlock()
	select {
	case <-p.read:
		return p, p.err
	case <-ctx.Done():
		return nil, errs.Wrap(errs.Timeout, "security groups", ctx.Err(), "an earlier pass has not ended")
	}
}

func (s *passes) loop() {
	for {
		s.mu.Lock()
		p := s.next
		s.next = nil
		if p == nil {
			s.running = false
			s.mu.Unlock()
			return
		}
		s.number++
		number, moving, arriving := s.number, maps.Clone(s.moving), maps.Clone(s.arriving)
		s.mu.Unlock()
		s.one(p, number, moving, arriving)
		close(p.read)
	}
}

// one reads the rows and tells the hosts.
func (s *passes) one(p *pass, number int64, moving, arriving map[string]string) {
	ctx, cancel := context.WithTimeout(context.Background(), passTimeout)
	defer cancel()
	rows, err := s.graph.read(ctx)
	if err != nil {
		p.err = errs.Wrap(errs.ClassOf(err), "security groups", err, "their rows cannot be read")
		return
	}
	want := rows.desired(moving, arriving)
	met, err := s.meet(ctx)
	if err != nil {
		p.err = err
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.met = true
	for _, uuid := range slices.Concat(met, slices.Collect(maps.Keys(p.all)), slices.Collect(maps.Keys(s.hosts))) {
		if want[uuid] == nil {
			want[uuid] = fragments{}
		}
	}
	for nic, host := range moving {
		if rows.settled(nic, host) && s.moving[nic] == host {
			delete(s.moving, nic)
		}
	}
	for uuid, f := range want {
		h := s.hosts[uuid]
		if h == nil {
			h = &host{core: s.graph.core, uuid: uuid}
			s.hosts[uuid] = h
		}
		if done := h.tell(f, number, p.all[uuid]); done != nil {
			p.told[uuid] = done
		}
	}
}

// meet returns, in the first pass, the hosts that are connected: they may have
// something of an earlier process, although they should have nothing.
func (s *passes) meet(ctx context.Context) ([]string, error) {
	s.mu.Lock()
	met := s.met
	s.mu.Unlock()
	if met {
		return nil, nil
	}
	connected, err := find[group](ctx, s.graph, "Host", []string{"uuid"}, "status=Connected", "hypervisorType=KVM")
	var uuids []string
	for _, h := range connected {
		uuids = append(uuids, h.UUID)
	}
	return uuids, err
}

// sweep tells all hosts everything, and waits until they have taken it.
func (s *passes) sweep(ctx context.Context) error {
	s.mu.Lock()
	s.met = false
	hosts := slices.Collect(maps.Keys(s.hosts))
	s.mu.Unlock()
	p, err := s.run(ctx, hosts...)
	if err != nil {
		return err
	}
	return s.wait(ctx, p, "")
}

// wait waits until the hosts of a pass have been told, or one of them when it is named.
// Hosts that cannot be reached are told when they connect again; those that have no
// agent never.
func (s *passes) wait(ctx context.Context, p *pass, only string) error {
	var all []error
	for uuid, o := range p.told {
		if only != "" && uuid != only {
			continue
		}
		select {
		case <-o.done:
			err := o.err
			if c := errs.ClassOf(err); err != nil && (only != "" || c != errs.Unavailable && c != errs.NotFound && c != errs.Unsupported) {
				all = append(all, errs.Wrap(c, "host "+uuid, err, "tell it the rules of security groups"))
			}
		case <-ctx.Done():
			return errs.Wrap(errs.Timeout, "host "+uuid, ctx.Err(), "it has not taken the rules of security groups yet")
		}
	}
	return errors.Join(all...)
}

// moves notes that NICs are about to be on a host, or on none, "".
func (s *passes) moves(nics []string, hostUUID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range nics {
		s.moving[n] = hostUUID
	}
}

// arrive notes that NICs are about to be on a host, too.
func (s *passes) arrive(nics []string, hostUUID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range nics {
		s.arriving[n] = hostUUID
	}
}

// settle notes that NICs are where the rows say.
func (s *passes) settle(nics []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range nics {
		delete(s.moving, n)
		delete(s.arriving, n)
	}
}

// leaves forgets a host.
func (s *passes) leaves(hostUUID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.hosts, hostUUID)
}

package plugin

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

const (
	// restartWait is how long a call waits for a plugin that is down. A restart
	// takes far less than a second; a plugin that is down for longer is in its
	// back-off and will not come in time for anyone.
	restartWait = 3 * time.Second
	// noticeWait is how long a call whose connection broke waits for the
	// supervisor to notice before it tries the same process again.
	noticeWait = 250 * time.Millisecond
	// maxCall bounds calls whose context has no deadline. Image downloads are
	// the longest.
	maxCall = 2 * time.Hour
)

// handle is a connection to whatever process a plugin has at the time of the
// call. A call that lost its connection is made once more, which is right as
// all calls can be repeated.
type handle struct{ s *supervised }

var _ grpc.ClientConnInterface = handle{}

// Invoke makes a unary call.
func (h handle) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) (err error) {
	began, tries := time.Now(), 1
	defer func() { h.s.called(ctx, method, began, tries, err) }()
	h.s.m.beforeHost(ctx, args)
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, maxCall)
		defer cancel()
	}
	ctx = h.s.open.begin(ctx)
	defer h.s.open.end(ctx)
	zone := zoneOf(args)
	p, err := h.s.processFor(ctx, zone, nil)
	if err != nil {
		return err
	}
	err = p.invoke(ctx, method, args, reply, opts...)
	if err == nil || !lost(ctx, err) {
		return err
	}
	tries++
	if p, err = h.s.processFor(ctx, zone, p); err != nil {
		return err
	}
	if err = p.invoke(ctx, method, args, reply, opts...); err != nil && lost(ctx, err) {
		return h.s.unavailable(err)
	}
	return err
}

// called tells of a call that has ended.
func (s *supervised) called(ctx context.Context, method string, began time.Time, tries int, err error) {
	if f := s.m.cfg.Called; f != nil {
		f(ctx, s.name, method[strings.LastIndexByte(method, '/')+1:], time.Since(began), tries, err)
	}
}

// beforeHost tells of a call for a host: its request says so by a field.
func (m *Manager) beforeHost(ctx context.Context, request any) {
	r, is := request.(interface{ GetHost() *pluginv1.Host })
	if f := m.onHost.Load(); f != nil && is && r.GetHost().GetUuid() != "" {
		(*f)(ctx, r.GetHost().GetUuid())
	}
}

func (p *process) invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	p.begin()
	defer p.end()
	return p.conn.Invoke(ctx, method, args, reply, opts...)
}

// NewStream makes a stream of the server's messages. It is opened with the request,
// which says for which host it is.
func (h handle) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if desc.ClientStreams {
		return nil, errs.New(errs.Unsupported, "plugin "+h.s.name, "%s streams to the plugin, which the contract does not have", method)
	}
	ctx = h.s.open.begin(ctx)
	context.AfterFunc(ctx, func() { h.s.open.end(ctx) }) // as of open: whoever is done with a stream ends ctx
	return &handleStream{h: h, ctx: ctx, desc: desc, method: method, opts: opts, began: time.Now(), tries: 1}, nil
}

func lost(ctx context.Context, err error) bool {
	return ctx.Err() == nil && errors.Is(err, pluginsdk.ErrConnectionLost)
}

// opened is a stream on one process, in supervised.streams.
type opened struct {
	zone, method string
	end          context.CancelFunc
	// cut: it was ended for another process to take its place.
	cut atomic.Bool
}

// handleStream is a stream that starts over on another process when it breaks
// before the first message.
type handleStream struct {
	grpc.ClientStream
	h       handle
	ctx     context.Context
	desc    *grpc.StreamDesc
	method  string
	opts    []grpc.CallOption
	proc    *process
	request any
	settled bool
	opened  *opened
	// release tells proc that it owes this stream nothing more.
	release func()
	// began, tries and told are for who is told of the call.
	began time.Time
	tries int
	told  bool
}

// ended tells of the end of the stream, once.
func (s *handleStream) ended(err error) {
	if s.told {
		return
	}
	s.told = true
	if errors.Is(err, io.EOF) {
		err = nil
	}
	s.h.s.called(s.ctx, s.method, s.began, s.tries, err)
}

func (s *handleStream) open(not *process) error {
	var err error
	o := &opened{zone: zoneOf(s.request), method: s.method}
	if s.proc, err = s.h.s.processFor(s.ctx, o.zone, not); err != nil {
		return err
	}
	p := s.proc
	p.begin()
	ctx, end := context.WithCancel(s.ctx)
	s.ClientStream, err = p.conn.NewStream(ctx, s.desc, s.method, s.opts...)
	if err != nil {
		end()
		p.end()
		return err
	}
	o.end, s.opened = end, o
	s.h.s.streams.Store(o, true)
	// The caller ends ctx when it is done with the stream (pluginsdk's clients
	// do), whether it has read all of it or not.
	stop := context.AfterFunc(s.ctx, func() { s.h.s.streams.Delete(o); p.end() })
	s.release = func() {
		if stop() {
			s.h.s.streams.Delete(o)
			p.end()
		}
		end()
	}
	return nil
}

// again opens the stream on the next process, once, and sends what was sent.
func (s *handleStream) again(cause error) error {
	if s.settled {
		return s.h.s.unavailable(cause)
	}
	s.settled = true
	s.tries++
	if s.release != nil {
		s.release()
	}
	err := s.open(s.proc)
	if err == nil {
		err = s.send()
	}
	if err != nil && lost(s.ctx, err) {
		return s.h.s.unavailable(err)
	}
	return err
}

func (s *handleStream) send() error {
	// io.EOF says that the stream has ended; RecvMsg tells why.
	if err := s.ClientStream.SendMsg(s.request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return s.ClientStream.CloseSend()
}

func (s *handleStream) SendMsg(m any) error {
	s.request = m
	s.h.s.m.beforeHost(s.ctx, m)
	err := s.open(nil)
	if err == nil {
		err = s.send()
	}
	if err != nil && lost(s.ctx, err) {
		err = s.again(err)
	}
	if err != nil {
		s.h.s.open.end(s.ctx)
		s.ended(err)
	}
	return err
}

// CloseSend has been done by SendMsg: there is one request.
func (s *handleStream) CloseSend() error { return nil }

func (s *handleStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil {
		s.settled = true
		return nil
	}
	if s.opened.cut.Load() && s.ctx.Err() == nil && !errors.Is(err, io.EOF) {
		err = pluginsdk.ErrConnectionLost
		if s.settled {
			err = errs.New(errs.Unavailable, "plugin "+s.h.s.name, "another process of it serves the host from now on")
		}
	}
	if lost(s.ctx, err) {
		if err = s.again(err); err == nil {
			return s.RecvMsg(m)
		}
	}
	s.ended(err)
	return err
}

// cut has the watches of hosts in some zones (nil: in all) begin again, on the process
// that is theirs now: by itself a watch stays with its process, and tells of nothing
// that the other one does. Other streams end where they are.
func (s *supervised) cut(which func(zone string) bool) {
	s.streams.Range(func(key, _ any) bool {
		if o := key.(*opened); o.method == pluginv1.HypervisorService_WatchHost_FullMethodName && (which == nil || which(o.zone)) {
			o.cut.Store(true)
			o.end()
		}
		return true
	})
}

// zoneOf is the zone of the host that a request is for, "" when it is for none.
func zoneOf(request any) string {
	switch r := request.(type) {
	case interface{ GetHost() *pluginv1.Host }:
		return r.GetHost().GetZoneUuid()
	case interface{ GetSource() *pluginv1.Host }: // of a guest that moves
		return r.GetSource().GetZoneUuid()
	case interface {
		GetTarget() *pluginv1.NetworkTarget
	}:
		return r.GetTarget().GetHost().GetZoneUuid()
	}
	return ""
}

// processFor is process for a call about a host in a zone.
func (s *supervised) processFor(ctx context.Context, zone string, not *process) (*process, error) {
	if c := s.canary.Load(); c != nil && c.process != not && slices.Contains(c.zones, zone) {
		return c.process, nil
	}
	return s.process(ctx, not)
}

// process returns the process that takes calls, but rather another one than
// not. It waits for a restart up to restartWait. Errors: Unavailable when there
// is none, the context's class when ctx ends.
func (s *supervised) process(ctx context.Context, not *process) (*process, error) {
	if p := s.current.Load(); p != nil && p != not {
		return p, nil
	}
	began := time.Now()
	notice, deadline := time.NewTimer(noticeWait), time.NewTimer(restartWait)
	defer notice.Stop()
	defer deadline.Stop()
	for {
		s.mu.Lock()
		changed, stopped := s.changed, s.stopped
		s.mu.Unlock()
		p := s.current.Load()
		switch {
		case stopped:
			return nil, s.unavailable(nil)
		case p != nil && (p != not || time.Since(began) >= noticeWait):
			return p, nil
		}
		select {
		case <-changed:
		case <-notice.C:
		case <-deadline.C:
			return nil, s.unavailable(nil)
		case <-ctx.Done():
			return nil, errs.Wrap(errs.ClassOf(ctx.Err()), "plugin "+s.name, ctx.Err(), "waiting for it to run")
		}
	}
}

// unavailable says that the plugin is down, and since what. Whatever is asked of it
// fails as well, so that is said as of a check.
func (s *supervised) unavailable(cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.off == Disabled:
		return errs.New(errs.Unavailable, "plugin "+s.name, "it is not enabled").OfCheck("plugin "+s.name).
			WithAdvice("enable it: kumo plugin enable %s", s.name)
	case s.off == NotGranted:
		return errs.New(errs.Unavailable, "plugin "+s.name, "it is off: %v", s.lastErr).OfCheck("plugin " + s.name)
	case s.stopped:
		return errs.New(errs.Unavailable, "plugin "+s.name, "it is stopped").OfCheck("plugin " + s.name).
			WithAdvice("the management node is starting or ending; repeat the call later")
	}
	if cause == nil {
		cause = s.lastErr
	}
	// The cause is told, not wrapped: ErrConnectionLost must not get out of a
	// handle, or a caller's caller would repeat what was repeated here.
	why := "it is not running"
	if cause != nil {
		why += ": " + cause.Error()
	}
	return errs.New(errs.Unavailable, "plugin "+s.name, "%s", why).OfCheck("plugin " + s.name).
		WithAdvice("it is being restarted: repeat the call; if this stays, see the plugin's lines in the log")
}

package hook

import (
	"context"

	"github.com/kumo-cloud/kumo/core/action"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Moment is a point of the core's work at which its services have a part, by On, and
// plugins as well when they are told what it is. T is what the services are told.
type Moment[T any] struct {
	Name string
	// Doc is what has happened, for plugins (Declare), and About makes their subject of
	// it. Without them the moment is the services' own.
	Doc   string
	About func(T) *pluginv1.PointSubject
}

// Asked is the moment at which a call of a message has passed its checks, and those of
// the plugins that are asked before it: a delete can so end the call that it would wait
// for. What is told must be done at once, and must not change what the call itself is to
// change.
func Asked(message string) Moment[action.Asked] {
	return Moment[action.Asked]{Name: "before " + message}
}

// On has a part of the core told at a moment, behind those that asked for it before. It
// is for the time before the moment can come.
func On[T any](s *Service, m Moment[T], f func(context.Context, T) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parts == nil {
		s.parts = map[string]any{}
	}
	all, _ := s.parts[m.Name].([]func(context.Context, T) error)
	s.parts[m.Name] = append(all[:len(all):len(all)], f)
}

// Open makes moments known to plugins.
func Open[T any](s *Service, moments ...Moment[T]) {
	for _, m := range moments {
		s.Declare(m.Name, m.Doc)
	}
}

// Tell has the core's parts and then plugins do what is theirs at a moment of what is
// repeated until it succeeds, such as the connection of a host: nothing is undone. The
// first error ends it.
func Tell[T any](ctx context.Context, s *Service, m Moment[T], about T) error {
	for _, f := range partsAt(s, m) {
		if err := f(ctx, about); err != nil {
			return err
		}
	}
	if m.About == nil {
		return nil
	}
	return s.tell(ctx, m.Name, m.About(about))
}

// Announce is Tell of what is so, whatever comes of it: an error stops nobody, and is
// logged.
func Announce[T any](ctx context.Context, s *Service, m Moment[T], about T) {
	failed := func(err error) {
		if err != nil {
			s.Log.Warn("not all is done at "+m.Name, "error", err)
		}
	}
	for _, f := range partsAt(s, m) {
		failed(f(ctx, about))
	}
	if m.About != nil {
		failed(s.tell(ctx, m.Name, m.About(about)))
	}
}

func partsAt[T any](s *Service, m Moment[T]) []func(context.Context, T) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, _ := s.parts[m.Name].([]func(context.Context, T) error)
	return all
}

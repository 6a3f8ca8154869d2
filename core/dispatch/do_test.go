package dispatch

import (
	"context"
	"errors"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

func TestDo(t *testing.T) {
	d, cause := New(Limits{}), errors.New("cause")
	if err := d.Do(t.Context(), "k", "x", func() error { return cause }); !errors.Is(err, cause) {
		t.Errorf("the error of the function is %v", err)
	}
	if err := d.Do(t.Context(), "k", "x", func() error { panic("defect") }); !errors.Is(err, errs.Internal) {
		t.Errorf("a panic gives %v", err)
	}

	// One that nobody waits for any more is not begun.
	begun, release := make(chan struct{}), make(chan struct{})
	if err := d.Submit("k", "x", func() { close(begun); <-release }); err != nil {
		t.Fatal(err)
	}
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	called := false
	if err := d.Do(ctx, "k", "x", func() error { called = true; return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
	close(release)
	if err := d.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if called {
		t.Error("the function was called although nobody waited")
	}
	if err := d.Do(t.Context(), "k", "x", func() error { return nil }); !errors.Is(err, errs.Unavailable) {
		t.Errorf("after Drain: %v", err)
	}
}

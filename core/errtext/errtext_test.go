package errtext

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

func TestRoundTrip(t *testing.T) {
	deep := error(errs.New(errs.NotFound, "host h1", "no such host"))
	for range 20 {
		deep = errs.Wrap(errs.Unavailable, "volume v1", deep, "cannot read")
	}
	for name, err := range map[string]error{
		"plain":    errors.New("disk full"),
		"class":    errs.Exhausted,
		"error":    errs.New(errs.Refused, "vm v1", "it is running").WithAdvice("stop it first"),
		"cause":    errs.Wrap(errs.Unavailable, "host h1", errors.New("connection refused"), "cannot connect"),
		"wrapped":  fmt.Errorf("start vm v1: %w", errs.New(errs.Exhausted, "cluster c1", "no capacity")),
		"context":  fmt.Errorf("ask host: %w", context.DeadlineExceeded),
		"deep":     deep,
		"quotes":   errs.New(errs.Invalid, `name "x"`, "it's <bad> & 雲"),
		"no words": &errs.Error{Class: errs.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			back := Decode(Encode(err))
			if back.Error() != err.Error() {
				t.Errorf("text: got %q, want %q", back, err)
			}
			if got, want := errs.ClassOf(back), errs.ClassOf(err); got != want {
				t.Errorf("class: got %s, want %s", got, want)
			}
		})
	}
	if Encode(nil) != "" || Decode("") != nil {
		t.Error("no error does not stay no error")
	}
	if err := Decode("not json"); err.Error() != "not json" || errs.ClassOf(err) != errs.Internal {
		t.Errorf("foreign text: %v", err)
	}
}

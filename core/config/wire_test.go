package config

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// A global setting is set and reset by its messages; a value that is missing or wrong
// changes nothing.
func TestUpdateAndReset(t *testing.T) {
	s, _, r := setup(t)
	ping := func(value any) error {
		p := map[string]any{"category": "host", "name": "ping.interval"}
		if value != nil {
			p["value"] = value
		}
		_, err := r.Do(t.Context(), admin, "APIUpdateGlobalConfigMsg", p)
		return err
	}
	for _, x := range []struct {
		value any
		class errs.Class
		want  int64
	}{{"5", "", 5}, {nil, errs.Invalid, 5}, {"0", errs.Invalid, 5}, {"3601", errs.Invalid, 5}, {"3600", "", 3600}} {
		if err := ping(x.value); errs.ClassOf(err) != x.class {
			t.Errorf("%v: %v", x.value, err)
		}
		if got := s.Int64(t.Context(), "host", "ping.interval", ""); got != x.want {
			t.Errorf("after %v it is %d", x.value, got)
		}
	}
	if _, err := r.Do(t.Context(), bob, "APIResetGlobalConfigMsg", nil); errs.ClassOf(err) != errs.Denied {
		t.Errorf("an ordinary account resets: %v", err)
	}
	if _, err := r.Do(t.Context(), admin, "APIResetGlobalConfigMsg", nil); err != nil {
		t.Error(err)
	}
	if got := s.Int64(t.Context(), "host", "ping.interval", ""); got != 60 {
		t.Errorf("after the reset it is %d", got)
	}
}

// The plan of taking a resource's own value away names the row that would go, and only
// while there is one; what has none says so.
func TestPlanOfAnOverride(t *testing.T) {
	s, _, _ := setup(t)
	c := &action.Call{Caller: admin}
	p := &onResource{named: named{Category: "kvm", Name: "reservedMemory"}, ResourceUUID: host1}
	if r, err := s.goneOverride(t.Context(), c, p); err != nil || len(r.Rows) != 0 || r.Subject != (action.Row{Type: "Host", UUID: host1}) {
		t.Errorf("without one: %+v, %v", r, err)
	}
	uuid, err := s.SetFor(t.Context(), "kvm", "reservedMemory", host1, "2G")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(s.Overrides("kvm", "reservedMemory")); got != "map["+host1+":2147483648]" || s.Overrides("host", "ratio") != nil {
		t.Errorf("overrides: %s", got)
	}
	if r, err := s.goneOverride(t.Context(), c, p); err != nil || len(r.Rows) != 1 || r.Rows[0].UUID != uuid {
		t.Errorf("with one: %+v, %v", r, err)
	}
	for _, x := range []struct {
		caller action.Caller
		name   string
		on     string
		class  errs.Class
	}{{bob, "reservedMemory", host1, errs.Denied}, {admin, "reservedMemory", nobody, errs.NotFound}, {admin, "none", host1, errs.NotFound}} {
		p := &onResource{named: named{Category: "kvm", Name: x.name}, ResourceUUID: x.on}
		if _, err := s.goneOverride(t.Context(), &action.Call{Caller: x.caller}, p); errs.ClassOf(err) != x.class {
			t.Errorf("%s of %s: %v", x.name, x.on, err)
		}
	}
}

// A resource is made with its own value by a tag, which is checked as the setting's
// own message checks it.
func TestSettingByTag(t *testing.T) {
	s, st, _ := setup(t)
	tags := tag.New(st, st.Registry())
	for range 2 {
		if err := s.DefineTags(tags); err != nil {
			t.Fatal(err)
		}
	}
	const memory = "resourceConfig::kvm::reservedMemory::"
	for text, class := range map[string]errs.Class{memory + "3G": "", memory + "much": errs.Invalid, "resourceConfig::kvm::none::1": errs.Invalid,
		"resourceConfig::host::ratio::2": errs.Invalid} {
		if err := tags.CheckCreate(t.Context(), "Host", []string{text}, nil); errs.ClassOf(err) != class {
			t.Errorf("%s: %v", text, err)
		}
	}
	err := st.Update(t.Context(), func(tx *store.Tx) error {
		return s.takeTag(t.Context(), tx, host1, map[string]string{"category": "kvm", "name": "reservedMemory", "value": "3G"})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.checkTag("Zone", map[string]string{"category": "kvm", "name": "reservedMemory", "value": "3G"}); errs.ClassOf(err) != errs.Invalid {
		t.Errorf("of a type that has none: %v", err)
	}
	if got := s.Int64(t.Context(), "kvm", "reservedMemory", host1); got != 3<<30 {
		t.Errorf("the host has %d", got)
	}
	if got := s.Int64(t.Context(), "kvm", "reservedMemory", cluster1); got != 1<<30 {
		t.Errorf("its cluster has %d", got)
	}
}

// Networks are read in one spelling; what is wrong is refused and lists nothing.
func TestNetworks(t *testing.T) {
	s, _, _ := setup(t)
	if err := s.DefineNetworks(); err != nil {
		t.Fatal(err)
	}
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Set(t.Context(), "outbound", "allowedNetworks", "10.0.0.0/8, 2001:DB8::1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Set(t.Context(), "rest", "trustedProxies", "everybody"); errs.ClassOf(err) != errs.Invalid {
		t.Errorf("a proxy that is none: %v", err)
	}
	if got := fmt.Sprint(s.AllowedNetworks(t.Context()), s.TrustedProxies(t.Context())); got != "[10.0.0.0/8 2001:db8::1/128] []" {
		t.Errorf("networks: %s", got)
	}
}

// A change of an interval counts for the wait that goes on; the wait ends with its
// context.
func TestEvery(t *testing.T) {
	s, _, _ := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	yielded, ended := make(chan time.Duration), make(chan struct{})
	go func() {
		defer close(ended)
		for every := range s.Every(ctx, "host", "ping.interval") { // a minute
			select {
			case yielded <- every:
			case <-ctx.Done():
			}
		}
	}()
	if _, err := s.Set(t.Context(), "host", "ping.interval", "1"); err != nil {
		t.Fatal(err)
	}
	select {
	case every := <-yielded:
		if every != time.Second {
			t.Errorf("it waited for %s", every)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the change did not count")
	}
	cancel()
	<-ended
}

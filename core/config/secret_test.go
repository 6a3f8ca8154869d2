package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// A setting that holds a kind is checked by it, and kept in its one spelling.
func TestHolds(t *testing.T) {
	s, st, r := setup(t)
	servers := Setting{Category: "net", Name: "mirror", Type: "string", Default: "Mirror.example.", Holds: "host", Resources: []string{"Host"}}
	if err := s.Define(servers); err != nil {
		t.Fatal(err)
	}
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	row := func() string {
		g, _, err := store.First(t.Context(), st, GlobalConfigType, "`name` = 'mirror'")
		if err != nil {
			t.Fatal(err)
		}
		return g.DefaultValue + " " + g.Value
	}
	if got := row(); got != "Mirror.example Mirror.example" {
		t.Errorf("the default is kept as %q", got)
	}
	for value, want := range map[string]string{" 2001:DB8:0::1\n": "2001:db8::1", "": "", "  ": "", "a_b.example": "error", "0.0.0.0": "error", "a\x1bb": "error", strings.Repeat("a.", 200): "error"} {
		_, err := s.Set(t.Context(), "net", "mirror", value)
		if want == "error" {
			if errs.ClassOf(err) != errs.Invalid || !strings.Contains(err.Error(), "setting net/mirror") || !strings.Contains(err.Error(), "RFC 1123") && !strings.Contains(err.Error(), "255 characters") {
				t.Errorf("%q: %v", value, err)
			}
			continue
		}
		if got := s.String(t.Context(), "net", "mirror", ""); err != nil || got != want || row() != "Mirror.example "+want {
			t.Errorf("%q: %v, read as %q, kept as %q", value, err, got, row())
		}
	}
	set := func(value string) error {
		_, err := r.Do(t.Context(), admin, "APIUpdateResourceConfigMsg", map[string]any{"category": "net", "name": "mirror", "resourceUuid": host1, "value": value})
		return err
	}
	if err := set("::FFFF:192.0.2.9"); err != nil || s.String(t.Context(), "net", "mirror", host1) != "192.0.2.9" {
		t.Errorf("of a host: %v, %q", err, s.String(t.Context(), "net", "mirror", host1))
	}
	if err := set("224.0.0.1"); errs.ClassOf(err) != errs.Invalid {
		t.Errorf("of a host: %v", err)
	}
	for name, wrong := range map[string]Setting{
		"no kind": {Holds: "colour", Type: "string"}, "a number": {Holds: "host", Type: "int", Default: "1"}, "its default": {Holds: "mac", Type: "string", Default: "x"},
		"a secret's default": {Secret: true, Type: "string", Default: "x"}, "a secret number": {Secret: true, Type: "int"}, "a secret choice": {Secret: true, Type: "string", Values: []string{"", "a"}},
	} {
		if err := s.Define(wrong); errs.ClassOf(err) != errs.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A secret is told to who reads the setting, and to nobody else: not in answers,
// rows, errors; sealed in the database; not found by queries.
func TestSecret(t *testing.T) {
	s, st, r := setup(t)
	ctx := t.Context()
	token := Setting{Category: "dns", Name: "token", Type: "string", Holds: "label", Secret: true, Resources: []string{"Host", "Cluster"}}
	if err := s.Define(token); err != nil {
		t.Fatal(err)
	}
	if err := s.Load(ctx); err != nil {
		t.Fatal(err)
	}
	const first, second = "t0ps3cret", "an0ther-one"
	if _, err := s.Set(ctx, "dns", "token", first); err != nil {
		t.Fatal(err)
	}
	do := func(msg string, p map[string]any) string {
		res, err := r.Do(ctx, admin, msg, p)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(res)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	on := map[string]any{"category": "dns", "name": "token", "resourceUuid": host1}
	shown := do("APIGetResourceConfigMsg", on)
	shown += do("APIUpdateResourceConfigMsg", map[string]any{"category": "dns", "name": "token", "resourceUuid": cluster1, "value": second})
	shown += do("APIGetResourceConfigMsg", on)
	shown += do("APIUpdateResourceConfigsMsg", map[string]any{"resourceUuid": cluster1, "resourceConfigs": []map[string]any{{"category": "dns", "name": "token", "value": second}}})
	shown += do("APIGetResourceConfigsMsg", map[string]any{"category": "dns", "names": []string{"token"}, "resourceUuid": cluster1})
	if strings.Contains(shown, first) || strings.Contains(shown, second) || strings.Count(shown, masked) < 5 {
		t.Errorf("the answers: %s", shown)
	}
	for _, table := range []string{"GlobalConfig", "ResourceConfig"} {
		if err := st.Each(ctx, "SELECT `value`, `sealed` FROM `"+table+"` WHERE `name` = 'token'", nil, func(row *store.Row) error {
			if row.Text(0) != masked || !strings.HasPrefix(row.Text(1), "kumo-sealed:") {
				t.Errorf("%s has %q, %q", table, row.Text(0), row.Text(1))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Set(ctx, "dns", "token", "not a_label"); errs.ClassOf(err) != errs.Invalid || strings.Contains(fmt.Sprint(err), "not a_label") {
		t.Errorf("a wrong one: %v", err)
	}
	again := New(st, storetest.Logger(t)) // as after a restart
	if err := again.Define(token); err != nil {
		t.Fatal(err)
	}
	if err := again.Load(ctx); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*Service{s, again} {
		if got := []string{x.String(ctx, "dns", "token", ""), x.String(ctx, "dns", "token", host1), x.String(ctx, "dns", "token", cluster1)}; !slices.Equal(got, []string{first, second, second}) {
			t.Errorf("read as %q", got)
		}
	}
	if err := s.Reset(ctx); err != nil || s.String(ctx, "dns", "token", "") != "" {
		t.Errorf("reset: %v, %q", err, s.String(ctx, "dns", "token", ""))
	}
	if n, err := store.Count(ctx, st, GlobalConfigType.Type, "`name` = 'token' AND (`sealed` IS NOT NULL OR `value` <> '')"); err != nil || n != 0 {
		t.Errorf("after the reset: %d, %v", n, err)
	}
}

// A setting that becomes a secret with a later version hides what was set before.
func TestBecomesSecret(t *testing.T) {
	_, st, _ := setup(t)
	ctx := t.Context()
	plain := Setting{Category: "dns", Name: "token", Type: "string", Resources: []string{"Host"}}
	load := func(d Setting) *Service {
		x := New(st, storetest.Logger(t))
		define(t, x)
		if err := x.Define(d); err != nil {
			t.Fatal(err)
		}
		if err := x.Load(ctx); err != nil {
			t.Fatal(err)
		}
		return x
	}
	s := load(plain)
	if _, err := s.Set(ctx, "dns", "token", "global"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SetFor(ctx, "dns", "token", host1, "own"); err != nil {
		t.Fatal(err)
	}
	secret := plain
	secret.Secret = true
	for _, d := range []Setting{secret, plain} {
		s = load(d)
		if s.String(ctx, "dns", "token", "") != "global" || s.String(ctx, "dns", "token", host1) != "own" {
			t.Errorf("secret %t: %q, %q", d.Secret, s.String(ctx, "dns", "token", ""), s.String(ctx, "dns", "token", host1))
		}
		want := 2
		if d.Secret {
			want = 0
		}
		n, err := store.Count(ctx, st, GlobalConfigType.Type, "`value` = 'global'")
		m, err2 := store.Count(ctx, st, ResourceConfigType.Type, "`value` = 'own'")
		if err != nil || err2 != nil || int(n+m) != want {
			t.Errorf("secret %t: %d and %d rows show it, %v, %v", d.Secret, n, m, err, err2)
		}
	}
}

// Values of before there was a rule are found, without secrets; all others are not,
// and what they do not fit is the default.
func TestLook(t *testing.T) {
	_, st, _ := setup(t)
	ctx := t.Context()
	load := func(holds string, secret bool) *Service {
		x := New(st, storetest.Logger(t))
		define(t, x)
		for _, name := range []string{"mirror", "other"} {
			if err := x.Define(Setting{Category: "net", Name: name, Type: "string", Holds: holds, Resources: []string{"Host"}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := x.Define(Setting{Category: "net", Name: "token", Type: "string", Holds: holds, Secret: secret}); err != nil {
			t.Fatal(err)
		}
		if err := x.Load(ctx); err != nil {
			t.Fatal(err)
		}
		return x
	}
	s := load("", false)
	for name, value := range map[string]string{"mirror": "224.0.0.1", "other": "Mirror.example", "token": "s3 cret"} {
		if _, err := s.Set(ctx, "net", name, value); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.SetFor(ctx, "net", "other", host1, "2001:DB8::1"); err != nil {
		t.Fatal(err)
	}
	var got []string
	look := func(s *Service) string {
		got = nil
		if err := s.Look(ctx, st, func(typeName, _, value, why string) error {
			got = append(got, typeName+" "+value+" "+why)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return strings.Join(got, "\n")
	}
	if text := look(s); text != "" {
		t.Errorf("without a rule: %s", text)
	}
	s = load("host", true)
	text := look(s)
	for _, want := range []string{`GlobalConfig 224.0.0.1 setting net/mirror: "224.0.0.1" is not an IP address`, "GlobalConfig ***** setting net/token: it is not an IP address", `ResourceConfig 2001:DB8::1 setting net/other: "2001:DB8::1" is spelled "2001:db8::1" today`} {
		if len(got) != 3 || !strings.Contains(text, want) || strings.Contains(text, "s3 cret") {
			t.Errorf("found %q, want %q", got, want)
		}
	}
	if s.String(ctx, "net", "mirror", "") != "" || s.String(ctx, "net", "other", "") != "Mirror.example" || s.String(ctx, "net", "other", host1) != "2001:db8::1" {
		t.Error("what is read is not the default, or the one spelling")
	}
}

package identity

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

func TestOperatorResetsPassword(t *testing.T) {
	f := setup(t)
	f.create("bob", "b")
	admin, bob := f.mustLogin("admin", "password"), f.mustLogin("bob", "b")
	for range int(guessBurst) + 1 {
		_, _ = f.login("admin", "wrong")
	}
	account, err := f.Named(t.Context(), "")
	if err != nil || account.Name != "admin" {
		t.Fatalf("%+v %v", account, err)
	}
	if _, err := f.ResetPassword(t.Context(), account, ""); errs.ClassOf(err) != errs.Invalid {
		t.Errorf("an empty password: %v", err)
	}
	if ended, err := f.ResetPassword(t.Context(), account, "new"); err != nil || ended != 1 {
		t.Fatalf("%d sessions ended, %v", ended, err)
	}
	if f.alive(admin) || !f.alive(bob) {
		t.Error("the sessions of the account end, and no others")
	}
	if _, err := f.login("admin", "password"); code(err) != "ID.1000" {
		t.Errorf("the old password: %v", err)
	}
	f.mustLogin("admin", "new")
	if _, err := f.Named(t.Context(), "nobody"); errs.ClassOf(err) != errs.NotFound {
		t.Errorf("an unknown account: %v", err)
	}
}

func TestOperatorEndsSessions(t *testing.T) {
	f := setup(t)
	uuid := f.create("bob", "b")
	admin, bob := f.mustLogin("admin", "password"), f.mustLogin("bob", "b")
	f.mustLogin("bob", "b")
	all, err := f.OpenSessions(t.Context(), "")
	if err != nil || len(all) != 3 {
		t.Fatalf("%+v %v", all, err)
	}
	of, err := f.OpenSessions(t.Context(), uuid)
	if err != nil || len(of) != 2 || of[0].Account != "bob" || of[0].Session == bob || len(of[0].Session) != 16 || of[0].LastUseDate == "" {
		t.Fatalf("%+v %v", of, err)
	}
	if n, err := f.EndSessions(t.Context(), uuid); err != nil || n != 2 || f.alive(bob) || !f.alive(admin) {
		t.Errorf("%d sessions of bob ended, %v", n, err)
	}
	if n, err := f.EndSessions(t.Context(), ""); err != nil || n != 1 || f.alive(admin) {
		t.Errorf("%d sessions of all ended, %v", n, err)
	}
	if n, _ := store.Count(t.Context(), f.st, SessionType.Type, ""); n != 0 {
		t.Errorf("%d sessions left", n)
	}
}

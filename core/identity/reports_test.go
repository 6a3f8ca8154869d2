package identity

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/action"
)

// TestReportedLockouts tries what kept people out of servers like this one.
func TestReportedLockouts(t *testing.T) {
	f := setup(t)
	bob := f.create("bob", "b")
	// Log-ins without a log-out, of one device after the other: the new one works,
	// also for administrators and where the setting refuses, and ends the one that is
	// idle for longest alone: https://github.com/QuantumNous/new-api/issues/6952,
	// https://github.com/pi-hole/pi-hole/issues/6102
	f.set("session.maxConcurrent", "3")
	f.set("session.whenFull", "Refuse")
	var admin []string
	for range 5 {
		admin = append(admin, f.mustLogin("admin", "password"))
		f.clock.add(2e9)
	}
	for i, s := range admin {
		if f.alive(s) != (i >= 2) {
			t.Errorf("new-api/6952: session %d of 5 is alive: %t", i, f.alive(s))
		}
	}
	f.set("session.whenFull", "EndIdle")
	// One client's log-out ends nobody else's session:
	// https://github.com/dev-fYnn/Winget-Repo/issues/14
	one, two := f.mustLogin("bob", "b"), f.mustLogin("bob", "b")
	if _, err := f.do(action.Caller{}, "APILogOutMsg", "sessionUuid", one); err != nil || one == two || f.alive(one) || !f.alive(two) {
		t.Errorf("Winget-Repo/14: %v", err)
	}
	// Whoever guesses keeps the user out who knows the password from nowhere else:
	// https://github.com/convissor/login-security-solution/issues/11
	for range 3 * int(guessBurst) {
		_ = f.loginFrom(t.Context(), "198.51.100.9", "bob", "wrong")
	}
	if err := f.loginFrom(t.Context(), "203.0.113.1", "bob", "b"); err != nil {
		t.Errorf("login-security-solution/11: %v", err)
	}
	// An administrator's new password for a user, and the operator's for an
	// administrator, let them in at once, wherever wrong ones came from:
	// https://github.com/idenplane/idenplane/pull/207,
	// https://github.com/zitadel/zitadel/issues/7059
	if _, err := f.do(action.Caller{AccountUUID: AdminUUID, Admin: true}, "APIUpdateAccountMsg", "uuid", bob, "password", wirePassword("new")); err != nil {
		t.Fatal(err)
	}
	if err := f.loginFrom(t.Context(), "198.51.100.9", "bob", "new"); err != nil {
		t.Errorf("idenplane/207: %v", err)
	}
	for range 3 * int(guessBurst) {
		_ = f.loginFrom(t.Context(), "198.51.100.9", "admin", "wrong")
	}
	account, err := f.Named(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.ResetPassword(t.Context(), account, "other"); err != nil {
		t.Fatal(err)
	}
	if err := f.loginFrom(t.Context(), "198.51.100.9", "admin", "other"); err != nil {
		t.Errorf("zitadel/7059: %v", err)
	}
}

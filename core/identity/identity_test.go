package identity

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/action/catalogue"
	"github.com/kumo-cloud/kumo/core/config"
	"github.com/kumo-cloud/kumo/core/mgmt"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/store/storetest"
	"github.com/kumo-cloud/kumo/core/tag"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

type vm struct {
	resource.Base
	resource.Owned
}

var vmType = resource.Define[vm](resource.Type{Name: "VmInstance"})

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

type fixture struct {
	*Service
	t     *testing.T
	st    *store.Store
	cfg   *config.Service
	r     *action.Registry
	clock *clock
}

func setup(t *testing.T) *fixture {
	t.Helper()
	types := append(Types(), vmType.Type)
	st := storetest.Open(t, append(append(types, config.Types()...), tag.Types()...)...)
	f := &fixture{t: t, st: st, clock: &clock{t: time.Now()}}
	f.restart()
	if err := st.Registry().Check(); err != nil {
		t.Fatal(err)
	}
	if err := f.Bootstrap(t.Context(), "password"); err != nil {
		t.Fatal(err)
	}
	return f
}

// restart makes the service anew over the same database.
func (f *fixture) restart() {
	f.cfg = config.New(f.st, storetest.Logger(f.t))
	tags := tag.New(f.st, f.st.Registry())
	f.Service = newService(f.st, f.cfg, tags, storetest.Logger(f.t), f.clock.now)
	f.r = action.NewRegistry(hclog.NewNullLogger())
	f.r.Wire(action.Ports{Auth: f.Service, Lookup: action.NewLookup(f.st, f.st.Registry()), Tags: tags})
	if err := f.Register(f.r); err != nil {
		f.t.Fatal(err)
	}
	if err := f.cfg.Load(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) do(c action.Caller, msg string, kv ...string) (any, error) {
	f.t.Helper()
	p := map[string]any{}
	for i := 0; i+1 < len(kv); i += 2 {
		p[kv[i]] = kv[i+1]
	}
	return f.r.Do(f.t.Context(), c, msg, p)
}

func (f *fixture) login(name, password string) (string, error) {
	f.t.Helper()
	res, err := f.do(action.Caller{}, "APILogInByAccountMsg", "accountName", name, "password", wirePassword(password))
	if err != nil {
		return "", err
	}
	return res.(sessionReply).Inventory.UUID, nil
}

func (f *fixture) mustLogin(name, password string) string {
	f.t.Helper()
	s, err := f.login(name, password)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

func (f *fixture) auth(session string) (action.Caller, error) {
	return f.Authenticate(f.t.Context(), action.Credentials{SessionUUID: session})
}

func (f *fixture) alive(session string) bool {
	f.t.Helper()
	_, err := f.auth(session)
	if err != nil && errs.ClassOf(err) != errs.Unauthenticated {
		f.t.Fatal(err)
	}
	return err == nil
}

func (f *fixture) create(name, password string) string {
	f.t.Helper()
	res, err := f.do(action.System(AdminUUID), "APICreateAccountMsg", "name", name, "password", wirePassword(password))
	if err != nil {
		f.t.Fatal(err)
	}
	return res.(action.Ref).UUID
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return action.Wire(err).Code
}

func TestLogin(t *testing.T) {
	f := setup(t)
	if err := f.Bootstrap(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	res, err := f.do(action.Caller{}, "APILogInByAccountMsg", "accountName", "admin", "password", wirePassword("password"))
	if err != nil {
		t.Fatal(err)
	}
	v := res.(sessionReply).Inventory
	if v.AccountUUID != AdminUUID || v.UserUUID != AdminUUID || v.UserType != "AccountVO" || v.ExpiredDate != action.FormatTime(f.clock.now().Add(2*time.Hour)) {
		t.Errorf("%+v", v)
	}
	c, err := f.auth(v.UUID)
	if err != nil || !c.Admin || c.AccountUUID != AdminUUID || c.SessionUUID != keyOf(v.UUID) {
		t.Errorf("%+v %v", c, err)
	}
	for _, x := range [][2]string{{"admin", "wrong"}, {"nobody", "password"}} {
		if _, err := f.login(x[0], x[1]); code(err) != "ID.1000" {
			t.Errorf("%v: %v", x, err)
		}
	}
	if _, err := f.do(action.Caller{}, "APILogInByAccountMsg", "accountName", "admin", "password", "password"); code(err) != "ID.1000" {
		t.Errorf("plain text was taken: %v", err)
	}
	row, err := store.Get(t.Context(), f.st, AccountType, AdminUUID)
	if err != nil || !strings.HasPrefix(row.Password, "$argon2id$v=19$m=19456,t=2,p=1$") || strings.Contains(row.Password, wirePassword("password")) {
		t.Errorf("stored %q %v", row.Password, err)
	}
	for _, bad := range []string{"", "x", "36c27e8ff05c4780bf6d2fa65700f22", resource.NewUUID()} {
		if _, err := f.auth(bad); code(err) != "ID.1001" && bad != "" {
			t.Errorf("session %q: %v", bad, err)
		}
	}
}

// TestStoredSessionIsNoToken proves that what the database has of a session is
// not what a client proves itself by.
func TestStoredSessionIsNoToken(t *testing.T) {
	f := setup(t)
	token := f.mustLogin("admin", "password")
	rows, err := store.Find(t.Context(), f.st, SessionType, "")
	if err != nil || len(rows) != 1 {
		t.Fatalf("%d sessions, %v", len(rows), err)
	}
	if rows[0].UUID == token || f.alive(rows[0].UUID) {
		t.Errorf("with %s of the database one is signed in", rows[0].UUID)
	}
	c, err := f.auth(token)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.do(c, "APIRenewSessionMsg", "sessionUuid", rows[0].UUID); errs.ClassOf(err) != errs.NotFound {
		t.Errorf("renewed by its row: %v", err)
	}
	if _, err := f.do(action.Caller{}, "APILogOutMsg", "sessionUuid", rows[0].UUID); err != nil || !f.alive(token) {
		t.Errorf("ended by its row, %v", err)
	}
}

func TestSessionLife(t *testing.T) {
	f := setup(t)
	s := f.mustLogin("admin", "password")
	for range 3 {
		f.clock.add(119 * time.Minute)
		if !f.alive(s) {
			t.Fatal("a used session ended")
		}
	}
	valid := func(s string) bool {
		res, err := f.do(action.Caller{}, "APIValidateSessionMsg", "sessionUuid", s)
		if err != nil {
			t.Fatal(err)
		}
		return res.(validReply).Valid
	}
	f.clock.add(119 * time.Minute)
	if !valid(s) || valid(resource.NewUUID()) || valid("x") {
		t.Error("validity is wrong")
	}
	f.clock.add(2 * time.Minute)
	if f.alive(s) || valid(s) {
		t.Fatal("an unused session lives on; validity must not use it")
	}
	s = f.mustLogin("admin", "password")
	for range 2 {
		if _, err := f.do(action.Caller{}, "APILogOutMsg", "sessionUuid", s); err != nil {
			t.Fatal(err)
		}
		if f.alive(s) {
			t.Fatal("a session outlived its log-out")
		}
	}
	if _, err := f.do(action.Caller{}, "APILogOutMsg", "sessionUuid", "nonsense"); err != nil {
		t.Fatal(err)
	}
	s = f.mustLogin("admin", "password")
	c, _ := f.auth(s)
	res, err := f.do(c, "APIRenewSessionMsg", "sessionUuid", s, "duration", "86400")
	if err != nil || res.(sessionReply).Inventory.ExpiredDate != action.FormatTime(f.clock.now().Add(24*time.Hour)) {
		t.Fatalf("%v %v", res, err)
	}
	f.clock.add(20 * time.Hour)
	if !f.alive(s) {
		t.Fatal("a renewed session ended")
	}
	bob := f.create("bob", "b")
	if _, err := f.do(action.Caller{AccountUUID: bob}, "APIRenewSessionMsg", "sessionUuid", s); errs.ClassOf(err) != errs.Refused {
		t.Errorf("another account's session: %v", err)
	}
	if _, err := f.do(c, "APIRenewSessionMsg", "sessionUuid", s, "duration", "59"); errs.ClassOf(err) != errs.Invalid {
		t.Errorf("too short: %v", err)
	}
}

// TestRestart checks what is left of sliding after a clean stop and after a
// crash, when the flush loop had run before it.
func TestRestart(t *testing.T) {
	f := setup(t)
	s := f.mustLogin("admin", "password")
	f.clock.add(100 * time.Minute)
	if !f.alive(s) {
		t.Fatal("ended")
	}
	if err := f.sessions.flush(t.Context(), f.writeStep(t.Context())); err != nil {
		t.Fatal(err)
	}
	f.restart() // a crash
	f.clock.add(119 * time.Minute)
	if !f.alive(s) {
		t.Fatal("sliding was lost by a crash")
	}
	f.clock.add(30 * time.Second) // less than the flush loop writes
	f.alive(s)
	f.Start(t.Context())
	if err := f.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.restart()
	f.clock.add(2*time.Hour - time.Second)
	if !f.alive(s) {
		t.Fatal("sliding was lost by a clean stop")
	}
	f.restart()
	f.clock.add(3 * time.Hour)
	if f.alive(s) {
		t.Fatal("an ended session came back")
	}
	if err := f.sessions.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, _ := store.Count(t.Context(), f.st, SessionType.Type, ""); n != 0 {
		t.Errorf("%d sessions left", n)
	}
}

func TestFlushWritesSeldom(t *testing.T) {
	f := setup(t)
	s := f.mustLogin("admin", "password")
	written := func() resource.Time {
		row, err := store.Get(t.Context(), f.st, SessionType, keyOf(s))
		if err != nil {
			t.Fatal(err)
		}
		return row.ExpiredDate
	}
	first := written()
	f.clock.add(30 * time.Second)
	f.alive(s)
	if err := f.sessions.flush(t.Context(), f.writeStep(t.Context())); err != nil || written() != first {
		t.Errorf("half a minute of sliding was written: %v", err)
	}
	f.clock.add(31 * time.Second)
	f.alive(s)
	if err := f.sessions.flush(t.Context(), f.writeStep(t.Context())); err != nil || written().Sub(first.Time) != 61*time.Second {
		t.Errorf("%v, written %v after %v", err, written(), first)
	}
	if _, err := f.do(action.Caller{}, "APILogOutMsg", "sessionUuid", s); err != nil {
		t.Fatal(err)
	}
	if err := f.sessions.flush(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if n, _ := store.Count(t.Context(), f.st, SessionType.Type, ""); n != 0 {
		t.Error("a flush brought a session back")
	}
}

// set sets a setting of log-ins.
func (f *fixture) set(name, value string) {
	f.t.Helper()
	if _, err := f.cfg.Set(f.t.Context(), category, name, value); err != nil {
		f.t.Fatal(err)
	}
}

// Beyond the limit a log-in ends the session that was not used for longest: by
// what memory knows, and after a restart by what the database does.
func TestLongestIdleSessionEnds(t *testing.T) {
	f := setup(t)
	f.create("bob", "b")
	f.set("session.maxConcurrent", "3")
	for _, name := range []string{"admin", "bob"} {
		password := map[string]string{"admin": "password", "bob": "b"}[name]
		var s []string
		for range 3 {
			s = append(s, f.mustLogin(name, password))
			f.clock.add(time.Second)
		}
		first, second, third := s[0], s[1], s[2]
		if !f.alive(first) { // a second's use, which the database does not know
			t.Fatal("ended")
		}
		f.clock.add(time.Second)
		fourth := f.mustLogin(name, password)
		if f.alive(second) {
			t.Errorf("%s: the session that was idle for longest lives on", name)
		}
		f.clock.add(2 * time.Minute)
		for _, used := range []string{fourth, third, first} {
			if !f.alive(used) {
				t.Errorf("%s: a session ended that was used since", name)
			}
			f.clock.add(time.Second)
		}
		if err := f.sessions.flush(t.Context(), f.writeStep(t.Context())); err != nil {
			t.Fatal(err)
		}
		f.restart()
		f.mustLogin(name, password)
		if f.alive(fourth) || !f.alive(third) || !f.alive(first) {
			t.Errorf("%s: after a restart another session ended than the one that was idle for longest", name)
		}
	}
	// A renewed session is idle, however far away its end is.
	f.set("session.maxConcurrent", "1")
	s := f.mustLogin("bob", "b")
	c, _ := f.auth(s)
	if n, _ := store.Count(t.Context(), f.st, SessionType.Type, "`userUuid` = ?", c.UserUUID); n != 1 {
		t.Errorf("%d sessions after the limit was lowered to 1", n)
	}
	f.set("session.maxConcurrent", "2")
	if _, err := f.do(c, "APIRenewSessionMsg", "sessionUuid", s, "duration", "864000"); err != nil {
		t.Fatal(err)
	}
	f.clock.add(time.Minute)
	other := f.mustLogin("bob", "b")
	f.clock.add(time.Minute)
	f.mustLogin("bob", "b")
	if f.alive(s) || !f.alive(other) {
		t.Error("a renewed session that nobody uses outlived one that was used later")
	}
}

// The setting brings the refusal back, for all but the administrator.
func TestSessionLimitRefuses(t *testing.T) {
	f := setup(t)
	f.create("bob", "b")
	f.set("session.maxConcurrent", "2")
	f.set("session.whenFull", refuse)
	for range 2 {
		f.mustLogin("admin", "password")
		f.mustLogin("bob", "b")
	}
	if _, err := f.login("bob", "b"); code(err) != "ID.1006" {
		t.Errorf("a third session: %v", err)
	}
	f.mustLogin("admin", "password")
	f.clock.add(3 * time.Hour)
	s := f.mustLogin("bob", "b")
	f.set("enable.unique.session", "true")
	f.mustLogin("bob", "b")
	if f.alive(s) {
		t.Error("a unique session left another alive")
	}
}

// A renewed session does not slide, but its use is written all the same.
func TestUseOfRenewedSessionIsWritten(t *testing.T) {
	f := setup(t)
	s := f.mustLogin("admin", "password")
	c, _ := f.auth(s)
	if _, err := f.do(c, "APIRenewSessionMsg", "sessionUuid", s, "duration", "864000"); err != nil {
		t.Fatal(err)
	}
	f.clock.add(2 * time.Minute)
	f.alive(s)
	if err := f.sessions.flush(t.Context(), f.writeStep(t.Context())); err != nil {
		t.Fatal(err)
	}
	row, err := store.Get(t.Context(), f.st, SessionType, keyOf(s))
	if err != nil || row.LastUseDate.UnixMilli() != f.clock.now().UnixMilli() {
		t.Errorf("last use is %v, want %v (%v)", row.LastUseDate, f.clock.now(), err)
	}
}

func TestGuessing(t *testing.T) {
	f := setup(t)
	var last error
	for range int(guessBurst) + 1 {
		_, last = f.login("admin", "wrong")
	}
	if errs.ClassOf(last) != errs.Unavailable {
		t.Fatalf("the last guess: %v", last)
	}
	if _, err := f.login("other", "wrong"); code(err) != "ID.1000" {
		t.Errorf("another name is refused too: %v", err)
	}
	for _, spelling := range []string{"ADMIN", "Admin", " admin"} {
		if _, err := f.login(spelling, "wrong"); errs.ClassOf(err) != errs.Unavailable {
			t.Errorf("guesses as %q are counted apart: %v", spelling, err)
		}
	}
	f.clock.add(guessRefill)
	f.mustLogin("admin", "password")
	var wg sync.WaitGroup
	var looked atomic.Int32
	for range 5 * int(guessBurst) {
		wg.Go(func() {
			if _, err := f.login("other", "wrong"); errs.ClassOf(err) == errs.Unauthenticated {
				looked.Add(1)
			}
		})
	}
	if wg.Wait(); looked.Load() > int32(guessBurst) {
		t.Errorf("%d guesses at once were looked at, %v may be", looked.Load(), guessBurst)
	}
	failed := make(chan error, 50)
	for range cap(failed) {
		wg.Go(func() {
			_, err := f.login("admin", "password")
			failed <- err
		})
	}
	wg.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			t.Errorf("one of many right sign-ins at once: %v", err)
		}
	}
	for i := range 3 * maxBuckets {
		f.guesses.begin(t.Context(), string(rune(i)))
		f.guesses.end(string(rune(i)), wrong)
	}
	if len(f.guesses.seen) > maxBuckets {
		t.Errorf("%d buckets", len(f.guesses.seen))
	}
	for range maxKnown + 10 {
		f.hasher.remember(f.hasher.proof(resource.NewUUID(), "x"))
	}
	if len(f.hasher.known) > maxKnown {
		t.Errorf("%d proofs", len(f.hasher.known))
	}
}

func TestGuessedUserStillLogsIn(t *testing.T) {
	f := setup(t)
	f.mustLogin("admin", "password")
	for range int(guessBurst) + 1 {
		_, _ = f.login("admin", "wrong")
	}
	if _, err := f.login("admin", "password"); err != nil {
		t.Errorf("a password known to be right: %v", err)
	}
}

func TestAccounts(t *testing.T) {
	f := setup(t)
	admin := action.System(AdminUUID)
	bob := f.create("bob", "secret")
	s := f.mustLogin("Bob", "secret")
	c, err := f.auth(s)
	if err != nil || c.Admin || c.AccountUUID != bob {
		t.Fatalf("%+v %v", c, err)
	}
	eve := action.Caller{AccountUUID: f.create("eve", "e")}
	other := f.mustLogin("bob", "secret")
	for name, x := range map[string]struct {
		err  error
		want string
	}{
		"name taken":       {second(f.do(admin, "APICreateAccountMsg", "name", "BOB", "password", "x")), "SYS.1006"},
		"by a user":        {second(f.do(c, "APICreateAccountMsg", "name", "x", "password", "x")), "ID.1002"},
		"another's":        {second(f.do(eve, "APIUpdateAccountMsg", "uuid", bob, "name", "x")), "SYS.1006"},
		"wrong old":        {second(f.do(c, "APIUpdateAccountMsg", "uuid", bob, "password", wirePassword("new"), "oldPassword", "x")), "ID.1000"},
		"delete admin":     {second(f.do(admin, "APIDeleteAccountMsg", "uuid", AdminUUID)), "SYS.1006"},
		"delete by others": {second(f.do(eve, "APIDeleteAccountMsg", "uuid", bob)), "SYS.1006"},
		"delete gone":      {second(f.do(admin, "APIDeleteAccountMsg", "uuid", resource.NewUUID())), ""},
		"rename":           {second(f.do(c, "APIUpdateAccountMsg", "uuid", bob, "name", "bobby", "description", "")), ""},
	} {
		if code(x.err) != x.want {
			t.Errorf("%s: %v, want %q", name, x.err, x.want)
		}
	}
	if _, err := f.do(c, "APIUpdateAccountMsg", "uuid", bob, "password", wirePassword("new"), "oldPassword", wirePassword("secret")); err != nil {
		t.Fatal(err)
	}
	if !f.alive(s) || f.alive(other) {
		t.Error("a new password must end the other sessions and keep the caller's")
	}
	if _, err := f.login("bobby", "secret"); code(err) != "ID.1000" {
		t.Errorf("the old password still works: %v", err)
	}
	f.mustLogin("bobby", "new")
	err = f.st.Update(t.Context(), func(tx *store.Tx) error {
		v := &vm{}
		v.UUID, v.AccountUUID = resource.NewUUID(), bob
		return store.Insert(t.Context(), tx, vmType, v)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.do(admin, "APIDeleteAccountMsg", "uuid", bob); errs.ClassOf(err) != errs.Refused || !strings.Contains(err.Error(), "VmInstance") {
		t.Errorf("an account that owns something was deleted: %v", err)
	}
	if err := f.st.Update(t.Context(), func(tx *store.Tx) error { _, err := tx.Exec(t.Context(), "DELETE FROM `VmInstance`"); return err }); err != nil {
		t.Fatal(err)
	}
	if _, err := f.do(admin, "APIDeleteAccountMsg", "uuid", bob); err != nil || f.alive(s) {
		t.Errorf("%v, session alive %v", err, f.alive(s))
	}
}

func TestAccessKeys(t *testing.T) {
	f := setup(t)
	bob := f.create("bob", "b")
	caller := action.Caller{AccountUUID: bob}
	res, err := f.do(caller, "APICreateAccessKeyMsg", "accountUuid", bob, "userUuid", bob)
	if err != nil {
		t.Fatal(err)
	}
	k := res.(keyReply).Inventory
	if len(k.KeyID) != 20 || len(k.Secret) != 40 || k.State != "Enabled" || k.CreateDate == "" {
		t.Fatalf("%+v", k)
	}
	cred := action.Credentials{AccessKeyID: k.KeyID, Method: http.MethodGet, Date: "Sun, 01 Mar 2026 12:10:00 GMT", URI: "/v1/zones"}
	cred.Signature = signature([]byte(k.Secret), &cred)
	auth := func(edit func(c *action.Credentials)) error {
		c := cred
		edit(&c)
		_, err := f.Authenticate(t.Context(), c)
		return err
	}
	if c, err := f.Authenticate(t.Context(), cred); err != nil || c.AccountUUID != bob || c.Admin {
		t.Fatalf("%+v %v", c, err)
	}
	for name, x := range map[string]struct {
		edit func(c *action.Credentials)
		want string
	}{
		"uri":       {func(c *action.Credentials) { c.URI = "/v1/hosts" }, "wrong accessKey signature"},
		"method":    {func(c *action.Credentials) { c.Method = "DELETE" }, "wrong accessKey signature"},
		"date":      {func(c *action.Credentials) { c.Date = "x" }, "wrong accessKey signature"},
		"signature": {func(c *action.Credentials) { c.Signature = "" }, "wrong accessKey signature"},
		"id":        {func(c *action.Credentials) { c.AccessKeyID = "nothere" }, "access key id"},
		"id's case": {func(c *action.Credentials) { c.AccessKeyID = swapCase(c.AccessKeyID) }, "access key id"},
	} {
		if err := auth(x.edit); errs.ClassOf(err) != errs.Unauthenticated || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
	same := func(*action.Credentials) {}
	state := func(ev string) {
		if _, err := f.do(caller, "APIChangeAccessKeyStateMsg", "uuid", k.UUID, "stateEvent", ev); err != nil {
			t.Fatal(err)
		}
	}
	state("disable")
	if err := auth(same); errs.ClassOf(err) != errs.Unauthenticated || !strings.Contains(err.Error(), "disabled") {
		t.Errorf("disabled: %v", err)
	}
	state("enable")
	if err := auth(same); err != nil {
		t.Errorf("enabled: %v", err)
	}
	eve := action.Caller{AccountUUID: f.create("eve", "e")}
	for name, x := range map[string]struct {
		err  error
		want string
	}{
		"another's key":     {second(f.do(eve, "APIDeleteAccessKeyMsg", "uuid", k.UUID)), "SYS.1006"},
		"for another":       {second(f.do(eve, "APICreateAccessKeyMsg", "accountUuid", bob, "userUuid", bob)), "SYS.1006"},
		"unknown user":      {second(f.do(caller, "APICreateAccessKeyMsg", "accountUuid", bob, "userUuid", AdminUUID)), "SYS.1003"},
		"id taken":          {second(f.do(caller, "APICreateAccessKeyMsg", "accountUuid", bob, "userUuid", bob, "AccessKeyID", k.KeyID)), "SYS.1006"},
		"id too short":      {second(f.do(caller, "APICreateAccessKeyMsg", "accountUuid", bob, "userUuid", bob, "AccessKeyID", "short")), "SYS.1007"},
		"delete":            {second(f.do(caller, "APIDeleteAccessKeyMsg", "uuid", k.UUID)), ""},
		"delete once again": {second(f.do(caller, "APIDeleteAccessKeyMsg", "uuid", resource.NewUUID())), ""},
	} {
		if code(x.err) != x.want {
			t.Errorf("%s: %v, want %q", name, x.err, x.want)
		}
	}
	if err := auth(same); errs.ClassOf(err) != errs.Unauthenticated {
		t.Errorf("a deleted key works: %v", err)
	}
}

func swapCase(s string) string {
	if up := strings.ToUpper(s); up != s {
		return up
	}
	return strings.ToLower(s)
}

// TestKnownSignature is the example of a client: the values were computed with
// openssl.
func TestKnownSignature(t *testing.T) {
	c := &action.Credentials{Method: "GET", Date: "Sun, 01 Mar 2026 12:10:00 GMT", URI: "/v1/zones"}
	if got := signature([]byte("secretsecret"), c); got != knownSignature {
		t.Errorf("%s", got)
	}
}

func TestParallelLoginsHashOnce(t *testing.T) {
	f := setup(t)
	start := time.Now()
	var wg sync.WaitGroup
	for range 100 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if _, err := f.login("admin", "password"); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	t.Logf("100 log-ins at once took %v", time.Since(start))
	n, err := store.Count(context.Background(), f.st, SessionType.Type, "")
	if err != nil || n != 100 {
		t.Errorf("%d sessions %v", n, err)
	}
}

func TestCatalogue(t *testing.T) {
	f := setup(t)
	tag.New(f.st, f.st.Registry()).Register(f.r)
	f.cfg.Register(f.r)
	if err := mgmt.New(nil, f.cfg, hclog.NewNullLogger(), "1").Register(f.r); err != nil {
		t.Fatal(err)
	}
	types := append(append(append(Types(), config.Types()...), tag.Types()...), mgmt.Types()...)
	for _, typ := range types {
		access := action.Normal
		if typ.Name == "ManagementNode" {
			access = action.Admin
		}
		if typ.Internal {
			continue
		}
		if err := f.r.RegisterQuery(typ.Name, typ.Path, access, typ.QueryMessage); err != nil {
			t.Fatal(err)
		}
	}
	catalogue.Check(t, f.r)
}

func second(_ any, err error) error { return err }

func BenchmarkAuthenticate(b *testing.B) {
	st := storetest.Open(b, append(Types(), config.Types()...)...)
	cfg := config.New(st, nil)
	s := New(st, cfg, nil, hclog.NewNullLogger())
	if err := s.settings(); err != nil {
		b.Fatal(err)
	}
	a := &Account{UUID: AdminUUID, Type: SystemAdmin}
	row := &Session{UUID: resource.NewUUID(), UserUUID: AdminUUID, ExpiredDate: resource.Time{Time: time.Now().Add(time.Hour)}}
	s.sessions.put(newSession(row, a))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Authenticate(context.Background(), action.Credentials{SessionUUID: row.UUID}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	h := newHasher(time.Now)
	for b.Loop() {
		if _, err := h.hash(context.Background(), "", "x"); err != nil {
			b.Fatal(err)
		}
	}
}

const knownSignature = "FDF7ghwxUkjKTC38nKTetKdqXSg="

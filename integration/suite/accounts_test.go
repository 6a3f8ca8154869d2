package suite

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

const adminUUID = "36c27e8ff05c4780bf6d2fa65700f22e"

// login opens another session.
func (l *lab) login(account, password string) *wire.Client {
	l.Helper()
	c := wire.New(l.s.URL)
	if err := c.Login(l.Context(), account, password); err != nil {
		l.Fatal(err)
	}
	return c
}

// valid asks whether a session is.
func (l *lab) valid(session string) bool {
	l.Helper()
	body, err := l.c.Call(l.Context(), http.MethodGet, "/accounts/sessions/"+session+"/valid", nil)
	var a struct{ Valid bool }
	if err == nil {
		err = json.Unmarshal(body, &a)
	}
	if err != nil {
		l.Fatal(err)
	}
	return a.Valid
}

func TestSessions(t *testing.T) {
	each(t, true, func(l *lab) {
		c := l.login(server.Account, server.Password)
		l.want("validity", l.valid(c.Session()), true)
		l.inventory(http.MethodPut, "/accounts/sessions/"+c.Session()+"/renew", map[string]any{"renewSession": wire.Params{"duration": 3600}})
		if err := c.Delete(l.Context(), "/accounts/sessions/"+c.Session()); err != nil {
			l.Error(err)
		}
		l.want("validity after logout", l.valid(c.Session()), false)
		if _, err := c.Query(l.Context(), wire.Zones); wire.Code(err) != "ID.1001" {
			l.Errorf("a query after logout: %v", err)
		}
		if err := c.Delete(l.Context(), "/accounts/sessions/"+c.Session()); err != nil {
			l.Errorf("a second logout: %v", err)
		}
		l.inventory(http.MethodPut, "/global-configurations/identity/session.timeout/actions", map[string]any{"updateGlobalConfig": wire.Params{"value": "1"}})
		short := l.login(server.Account, server.Password)
		time.Sleep(1500 * time.Millisecond)
		if _, err := short.Query(l.Context(), wire.Zones); wire.Code(err) != "ID.1001" {
			l.Errorf("a query after the session's end: %v", err)
		}
	})
}

func TestAccessKeys(t *testing.T) {
	each(t, true, func(l *lab) {
		key := l.create("/accesskeys", wire.Params{"accountUuid": adminUUID, "userUuid": adminUUID})
		path := "/accesskeys/" + key.text("uuid")
		signed := func(secret string) (int, []byte) {
			l.Helper()
			date := time.Now().Format("Mon, 02 Jan 2006 15:04:05 MST")
			mac := hmac.New(sha1.New, []byte(secret))
			mac.Write([]byte("GET\n" + date + "\n/v1/zones")) // hashes never fail
			status, answer, err := wire.New(l.s.URL).Raw(l.Context(), http.MethodGet, wire.Zones, http.Header{"Date": {date},
				"Authorization": {"ZStack " + key.text("AccessKeyID") + ":" + base64.StdEncoding.EncodeToString(mac.Sum(nil))}}, nil)
			if err != nil {
				l.Fatal(err)
			}
			return status, answer
		}
		if status, answer := signed(key.text("AccessKeySecret")); status != http.StatusOK {
			l.Errorf("a signed call: status %d: %s", status, answer)
		}
		if status, answer := signed("0123456789"); status == http.StatusOK {
			l.Errorf("a call signed with another secret: %s", answer)
		}
		l.want("secret in a query", l.get("/accesskeys", key.text("uuid")).text("AccessKeySecret"), "")
		l.want("state", l.act(path, "changeAccessKeyState", wire.Params{"stateEvent": "disable"}).text("state"), "Disabled")
		if status, answer := signed(key.text("AccessKeySecret")); status == http.StatusOK {
			l.Errorf("a call by a disabled key: %s", answer)
		}
		l.remove(path)
		l.gone("/accesskeys", key.text("uuid"))
	})
}

// A normal account sees and touches only its own.
func TestAccounts(t *testing.T) {
	each(t, false, func(l *lab) {
		for _, name := range []string{"ann", "bob"} {
			l.create("/accounts", wire.Params{"name": name, "password": wire.HashPassword("pw-" + name)})
		}
		ann, bob := l.login("ann", "pw-ann"), l.login("bob", "pw-bob")
		if _, err := ann.Create(l.Context(), wire.Zones, wire.Params{"name": "z"}); wire.Code(err) != "ID.1002" {
			l.Errorf("a zone by a normal account: %v", err)
		}
		for _, path := range []string{wire.Images, wire.L3Networks} {
			if n, err := ann.Count(l.Context(), path); err != nil || n != 0 {
				l.Errorf("a normal account sees %d of the administrator's %s: %v", n, path, err)
			}
		}
		if _, err := ann.Create(l.Context(), wire.VMs, l.cloud.VM("hers")); wire.Code(err) != "SYS.1006" {
			l.Errorf("a guest from the administrator's image: %v", err)
		}
		disk, err := ann.Create(l.Context(), "/user-tags", wire.Params{"resourceType": "ImageVO", "resourceUuid": l.cloud.Image, "tag": "mine"})
		if err == nil {
			l.Errorf("a tag on another account's image: %s", disk)
		}
		net, err := ann.Create(l.Context(), wire.L3Networks, wire.Params{"name": "anns", "l2NetworkUuid": l.cloud.L2Network})
		if err != nil {
			l.Fatalf("a network of her own: %v", err)
		}
		for who, c := range map[string]*wire.Client{"ann": ann, "bob": bob, "admin": l.c} {
			n, err := c.Count(l.Context(), wire.L3Networks, "uuid="+net)
			if want := int64(1); err != nil || who == "bob" && n != 0 || who != "bob" && n != want {
				l.Errorf("%s sees %d of ann's network: %v", who, n, err)
			}
		}
		if err := bob.Delete(l.Context(), wire.L3Networks+"/"+net); wire.Code(err) != "SYS.1006" {
			l.Errorf("bob deletes ann's network: %v", err)
		}
		if _, err := bob.Act(l.Context(), wire.L3Networks+"/"+net, "updateL3Network", wire.Params{"name": "bobs"}); wire.Code(err) != "SYS.1006" {
			l.Errorf("bob renames ann's network: %v", err)
		}
		if err := ann.Delete(l.Context(), wire.L3Networks+"/"+net); err != nil {
			l.Error(err)
		}
		if n, err := ann.Count(l.Context(), "/accounts"); err == nil && n > 1 {
			l.Errorf("ann sees %d accounts", n)
		}
		bobs := l.query("/accounts", "name=bob")
		if len(bobs) != 1 || bobs[0].text("password") != "" {
			l.Fatalf("bob's account: %v", bobs)
		}
		l.remove("/accounts/" + bobs[0].text("uuid"))
		if err := wire.New(l.s.URL).Login(l.Context(), "bob", "pw-bob"); wire.Code(err) != "ID.1000" {
			l.Errorf("login to a deleted account: %v", err)
		}
		if _, err := bob.Query(l.Context(), wire.Zones); wire.Code(err) != "ID.1001" {
			l.Errorf("the session of a deleted account: %v", err)
		}
	})
}

package owntypes

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/integration/rig/mariadb"
	"github.com/kumo-cloud/kumo/integration/server"
	"github.com/kumo-cloud/kumo/integration/wire"
)

// tests is both rigs' Main in one.
type tests struct{ *testing.M }

// Run keeps the MariaDB server until all tests have run.
func (m tests) Run() int { return mariadb.Main(m.M) }

func TestMain(m *testing.M) { os.Exit(server.Main(tests{m})) }

const (
	sample = "keypair"
	pairs  = "/sample-key-pairs"
	rings  = "/sample-key-rings"
	key    = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE0QmTVs1zCqCsUO/DykGnbOaJ1bnEjXzB3bUQ4zuC6H someone"
	// weak is a DSA key, which the plugin refuses.
	weak = "ssh-dss AAAAB3NzaC1kc3MAAACBAP1/U4EddRIpUt9KnC7s5Of2EbdSPO9EAMMeP4C2USZpRV1AIlH7WT2NWPq/xfW6MPbLm1Vs14E7gB00b/JmYLdrmVClpJ+f6AR7ECLCT7up1/63xhv4O1fnxqimFQ8E+4P208UewwI1VBNaFpEy9nXzrith1yrv8iIDGZ3RSAHHAAAAFQCXYFCPFSMLzLKSuYKi64QL8Fgc9QAAAIEA9+GghdabPd7LvKtcNrhXuXmUr7v6OuqC+VdMCz0HgmdRWVeOutRZT+ZxBxCBgLRJFnEj6EwoFhO3zwkyjMim4TwWeotUfI0o4KOuHiuzpnWRbqN/C/ohNWLx+2J6ASQ7zKTxvqhRkImog9/hWuWfBpKLZl6Ae1UlZAFMO/7PSSoAAACBAP1/U4EddRIpUt9KnC7s5Of2EbdSPO9EAMMeP4C2USZpRV1AIlH7WT2NWPq/xfW6MPbLm1Vs14E7gB00b/JmYLdrmVClpJ+f6AR7ECLCT7up1/63xhv4O1fnxqimFQ8E+4P208UewwI1VBNaFpEy9nXzrith1yrv8iIDGZ3RSAHG someone"
)

// object is an inventory.
type object map[string]any

func (o object) text(field string) string { s, _ := o[field].(string); return s }

// place is a server with the sample.
type place struct {
	*testing.T
	s *server.Server
	c *wire.Client
}

// each runs a test on every kind of database.
func each(t *testing.T, test func(*place)) {
	t.Helper()
	t.Parallel()
	for _, kind := range []string{"sqlite", "mariadb"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := server.Options{Plugins: []string{sample}}
			if kind == "mariadb" {
				o.DB = mariadb.Start(t)
			}
			s := server.Start(t, o)
			test(&place{t, s, s.Client})
		})
	}
}

func (p *place) want(what string, got, want any) {
	p.Helper()
	if got != want {
		p.Errorf("%s is %v, want %v", what, got, want)
	}
}

// create makes a resource by a client and returns its inventory.
func (p *place) create(c *wire.Client, path string, params wire.Params, tags ...string) object {
	p.Helper()
	return p.call(c, http.MethodPost, path, map[string]any{"params": params, "systemTags": tags, "userTags": []string{"mine"}})
}

func (p *place) call(c *wire.Client, method, path string, body any) object {
	p.Helper()
	text, err := c.Call(p.Context(), method, path, body)
	if err != nil {
		p.Fatal(err)
	}
	var a struct{ Inventory object }
	if err := json.Unmarshal(text, &a); err != nil {
		p.Fatal(err)
	}
	return a.Inventory
}

func (p *place) act(path, action string, params wire.Params) object {
	p.Helper()
	return p.call(p.c, http.MethodPut, path+"/actions", map[string]any{action: params})
}

func (p *place) count(c *wire.Client, path string, conditions ...string) int64 {
	p.Helper()
	n, err := c.Count(p.Context(), path, conditions...)
	if err != nil {
		p.Fatal(err)
	}
	return n
}

// refused makes a call that must fail and say all the words.
func (p *place) refused(c *wire.Client, method, path string, body any, words ...string) {
	p.Helper()
	_, err := c.Call(p.Context(), method, path, body)
	if err == nil {
		p.Fatalf("%s %s was not refused", method, path)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			p.Errorf("%s %s: %q does not say %q", method, path, err, w)
		}
	}
}

// account makes an account and returns its UUID, and a session of it.
func (p *place) account(name string) (string, *wire.Client) {
	p.Helper()
	uuid := p.call(p.c, http.MethodPost, "/accounts", map[string]any{"params": wire.Params{"name": name, "password": wire.HashPassword("password")}}).text("uuid")
	c := wire.New(p.s.URL)
	if err := c.Login(p.Context(), name, "password"); err != nil {
		p.Fatal(err)
	}
	return uuid, c
}

// published are the files that the plugin has of key pairs.
func (p *place) published() []string {
	p.Helper()
	files, err := filepath.Glob(filepath.Join(p.s.Dir, "plugins", sample, "*.pub"))
	if err != nil {
		p.Fatal(err)
	}
	return files
}

// kumo runs a command line of words, which must succeed; KEY is a public key.
func (p *place) kumo(env []string, line string) string {
	p.Helper()
	binary, _ := server.Build(p, sample)
	words := strings.Fields(line)
	if i := slices.Index(words, "KEY"); i >= 0 {
		words[i] = key
	}
	cmd := exec.CommandContext(p.Context(), binary, words...)
	var out, text bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &text
	cmd.Stdin = strings.NewReader(server.Password + "\n")
	if err := cmd.Run(); err != nil {
		p.Fatalf("kumo %s: %v: %s", line, err, text.String())
	}
	return out.String()
}

func TestRows(t *testing.T) {
	each(t, func(p *place) {
		zone := p.create(p.c, wire.Zones, wire.Params{"name": "z"}).text("uuid")
		ring := p.create(p.c, rings, wire.Params{"name": "r"}).text("uuid")
		pair := p.create(p.c, pairs, wire.Params{"name": "k", "publicKey": key, "passphrase": "secret", "label": "one", "weight": 2.5, "expires": "2027-01-31 00:00:00",
			"zoneUuid": zone, "ringUuid": ring}, "rotation::30")
		uuid, path := pair.text("uuid"), pairs+"/"+pair.text("uuid")
		for field, want := range map[string]any{"state": "Enabled", "usage": "login", "logins": 10.0, "weight": 2.5, "zoneUuid": zone, "passphrase": nil,
			"fingerprint": "SHA256:" + strings.TrimPrefix(pair.text("fingerprint"), "SHA256:"), "expires": "Jan 31, 2027 12:00:00 AM"} {
			p.want(field, pair[field], want)
		}
		if len(pair.text("fingerprint")) < 40 || pair.text("published") == "" {
			p.Errorf("what the plugin fills in is %q, %q", pair.text("fingerprint"), pair.text("published"))
		}
		for _, c := range []struct {
			path, condition string
			want            int64
		}{
			{pairs, "label=one", 1}, {pairs, "label=two", 0}, {pairs, "weight>2", 1}, {pairs, "logins<5", 0}, {pairs, "expires>2027-01-01", 1}, {pairs, "expires>2028-01-01", 0},
			{pairs, "zone.name=z", 1}, {pairs, "ring.name~=r%", 1}, {wire.Zones, "sampleKeyPairs.label=one", 1}, {rings, "keyPairs.zone.name=z", 1},
			{pairs, "__userTag__=mine", 1}, {pairs, "__systemTag__=rotation::30", 1}, {pairs, "revoked is null", 1},
		} {
			p.want(c.path+" with "+c.condition, p.count(p.c, c.path, c.condition), c.want)
		}
		p.refused(p.c, http.MethodGet, pairs+"?q=passphrase%3Dsecret", nil)
		p.refused(p.c, http.MethodPost, pairs, map[string]any{"params": wire.Params{"name": "l", "publicKey": key, "label": "one"}}, "SampleKeyPair")
		p.refused(p.c, http.MethodPost, pairs, map[string]any{"params": wire.Params{"name": "l", "publicKey": "no key"}}, "publicKey")
		p.refused(p.c, http.MethodPost, pairs, map[string]any{"params": wire.Params{"name": "l", "publicKey": weak}}, "DSA keys are not safe", "ssh-keygen")
		p.want("rows after refusals", p.count(p.c, pairs), int64(1))
		p.want("files after refusals", len(p.published()), 1)
		p.want("the new label", p.act(path, "updateSampleKeyPair", wire.Params{"label": "two"}).text("label"), "two")
		p.want("the new state", p.act(path, "changeSampleKeyPairState", wire.Params{"stateEvent": "disable"}).text("state"), "Disabled")
		p.act(pairs, "revokeSampleKeyPairs", wire.Params{"uuids": []string{uuid}, "reason": "lost"})
		p.want("revoked pairs", p.count(p.c, pairs, "revoked=lost"), int64(1))
		p.want("rings that say so", p.count(p.c, rings, "__userTag__=has revoked keys"), int64(1))
		if err := p.c.Delete(p.Context(), rings+"/"+ring); err != nil {
			p.Fatal(err)
		}
		p.want("pairs without a ring", p.count(p.c, pairs, "ringUuid is null"), int64(1))
		if err := p.c.Delete(p.Context(), wire.Zones+"/"+zone); err != nil {
			p.Fatal(err)
		}
		p.want("rows after the zone", p.count(p.c, pairs), int64(0))
		p.want("files after the zone", len(p.published()), 0)
		p.want("tags after the zone", p.count(p.c, "/user-tags", "resourceUuid="+uuid)+p.count(p.c, "/system-tags", "resourceUuid="+uuid), int64(0))
	})
}

func TestAccounts(t *testing.T) {
	each(t, func(p *place) {
		_, me := p.account("me")
		otherUUID, other := p.account("other")
		path := pairs + "/" + p.create(me, pairs, wire.Params{"name": "k", "publicKey": key}).text("uuid")
		uuid := strings.TrimPrefix(path, pairs+"/")
		rename := map[string]any{"updateSampleKeyPair": wire.Params{"name": "mine"}}
		p.want("what its account sees", p.count(me, pairs), int64(1))
		p.want("what another account sees", p.count(other, pairs), int64(0))
		p.want("what the administrator sees", p.count(p.c, pairs), int64(1))
		p.refused(other, http.MethodPut, path+"/actions", rename, uuid)
		p.refused(other, http.MethodDelete, path, nil, uuid)
		if _, err := p.c.Call(p.Context(), http.MethodPut, "/accounts/resources/actions", map[string]any{
			"shareResource": wire.Params{"resourceUuids": []string{uuid}, "accountUuids": []string{otherUUID}}}); err != nil {
			p.Fatal(err)
		}
		p.want("what another account sees of what is shared", p.count(other, pairs), int64(1))
		p.refused(other, http.MethodPut, path+"/actions", rename, uuid)
		if err := me.Delete(p.Context(), path); err != nil {
			p.Fatal(err)
		}
	})
}

// What people and programs find types by has the sample's.
func TestEverywhere(t *testing.T) {
	s := server.Start(t, server.Options{Plugins: []string{sample}})
	p := &place{t, s, s.Client}
	p.everywhere(p.env())
}

// env is the environment of a command line that has logged in.
func (p *place) env() []string {
	p.Helper()
	env := append(server.Environ(), "KUMO_SERVER="+p.s.URL, "KUMO_CONFIG_DIR="+p.TempDir(), "KUMO_CACHE_DIR="+p.TempDir())
	p.kumo(env, "login --password-file -")
	return env
}

// schema is what a test reads of GET /schema.
type schema struct {
	Types map[string]struct {
		Plugin  *string
		Dormant bool
		Caption struct{ En, Zh string }
		Quotas  []string
		Actions []string
	}
	Actions map[string]struct{ Plugin *string }
	Plugins map[string]struct{ State string }
}

func (p *place) schema() (doc schema) {
	p.Helper()
	text, err := p.c.Call(p.Context(), http.MethodGet, "/schema", nil)
	if err == nil {
		err = json.Unmarshal(text, &doc)
	}
	if err != nil {
		p.Fatal(err)
	}
	return doc
}

// everywhere checks that the sample's types are in schema, OpenAPI and command line.
func (p *place) everywhere(env []string) {
	p.Helper()
	doc := p.schema()
	typ := doc.Types["SampleKeyPair"]
	if typ.Plugin == nil || *typ.Plugin != sample || typ.Dormant || typ.Caption.Zh != "示例密钥对" || len(typ.Quotas) != 1 || len(typ.Actions) != 2 {
		p.Errorf("the schema has %+v", typ)
	}
	if a := doc.Actions["APIRevokeSampleKeyPairsMsg"]; a.Plugin == nil || *a.Plugin != sample {
		p.Errorf("the schema has the action %+v", a)
	}
	text, err := p.c.Call(p.Context(), http.MethodGet, "/openapi.json", nil)
	if err != nil || !bytes.Contains(text, []byte("/sample-key-pairs/{uuid}/actions#revokeSampleKeyPairs")) && !bytes.Contains(text, []byte("/sample-key-pairs/actions#revokeSampleKeyPairs")) {
		p.Errorf("OpenAPI does not have the action (%v)", err)
	}
	p.kumo(env, "zone create z")
	p.kumo(env, "sample-key-ring create r")
	p.kumo(env, "sample-key-pair create k --public-key KEY --zone z --ring r --weight 1.5")
	p.kumo(env, "sample-key-pair update k --usage signing")
	p.want("the list", p.kumo(env, "sample-key-pair ls --where usage=signing --columns name,usage,zone"), "NAME   USAGE     ZONE\nk      signing   z\n")
	p.kumo(env, "sample-key-pair revoke k --reason lost")
	p.kumo(env, "sample-key-pair delete k --yes")
	p.want("how many", p.kumo(env, "sample-key-pair ls --count"), "0\n")
	p.kumo(env, "zone delete z --yes")
}

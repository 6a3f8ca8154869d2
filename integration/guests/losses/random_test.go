//go:build storm

package losses

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/kumo-cloud/kumo/integration/wire"
)

// schema is what random rows need of the published one.
type schema struct {
	Types map[string]struct {
		Path string
		Tags []pattern
	}
	Enums   map[string][]struct{ Value string }
	Actions map[string]message
	Setting []struct {
		Category, Name, Enum string
		On                   []string
		Min, Max             *int64
	} `json:"settings"`
}

// pattern is what a system tag looks like.
type pattern struct {
	Pattern string
	Params  []parameter
}

type message struct {
	Method, Path, Key, Effect, Access, Returns string
	Params                                     []parameter
}

type parameter struct {
	Name, Kind, Holds, Format, Ref, Enum, In string
	Required                                 bool
	MaxLength, Min, Max                      *int64
	Item                                     *parameter
}

// writer calls messages with random values that their declarations allow.
type writer struct {
	t       *testing.T
	r       *rand.Rand
	client  *wire.Client
	schema  schema
	has     map[string][]string // UUIDs that it may name, by type
	sources []string            // of images
	home    string              // a network that guests can be in
	tags    map[string]pattern  // that it has written, by UUID
	last    pattern             // of the tag that was made last
	net     netip.Prefix        // that the values of one call are about
}

func newWriter(t *testing.T, c *wire.Client, seed uint64) *writer {
	t.Helper()
	w := &writer{t: t, r: rand.New(rand.NewPCG(seed, 0)), client: c, has: map[string][]string{}, tags: map[string]pattern{}}
	text, err := c.Call(t.Context(), http.MethodGet, "/schema", nil)
	if err == nil {
		err = json.Unmarshal(text, &w.schema)
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// messages are those by which an account writes, in an order that does not change.
func (w *writer) messages() (names []string) {
	for name, m := range w.schema.Actions {
		if m.Access == "normal" && slices.Contains([]string{"create", "attach", "update"}, m.Effect) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// refresh looks at what the account may name now.
func (w *writer) refresh() {
	w.t.Helper()
	for name, typ := range w.schema.Types {
		if typ.Path == "" {
			continue
		}
		page, err := w.client.Query(w.t.Context(), typ.Path)
		if err != nil {
			continue // the administrator's
		}
		w.has[name] = w.has[name][:0]
		for _, row := range page.Inventories {
			var r struct{ UUID string }
			if json.Unmarshal(row, &r) == nil && r.UUID != "" {
				w.has[name] = append(w.has[name], r.UUID)
			}
		}
	}
}

var variable = regexp.MustCompile(`\{(\w+)\}`)

// write makes one call. It returns what it said, and an error when it was refused.
func (w *writer) write(name string) (string, error) {
	m := w.schema.Actions[name]
	w.net = netip.PrefixFrom(w.addr4(), 20+w.r.IntN(10)).Masked()
	values := map[string]any{}
	for _, p := range m.Params {
		if p.Required || w.r.IntN(1+len(m.Params)/2) == 0 || slices.Contains([]string{"imageUuid", "instanceOfferingUuid", "l3NetworkUuids"}, p.Name) {
			if v := w.value(p); v != nil {
				values[p.Name] = v
			}
		}
	}
	w.together(m, values)
	missing := false
	path := variable.ReplaceAllStringFunc(m.Path, func(v string) string {
		key := strings.Trim(v, "{}")
		text, _ := values[key].(string)
		missing = missing || text == ""
		delete(values, key)
		return text
	})
	if missing {
		return "", errors.New("there is nothing yet that it could be about")
	}
	body := map[string]any{m.Key: values}
	if m.Returns == "VmInstance" && m.Effect == "create" && w.r.IntN(2) == 0 {
		body["systemTags"] = []string{w.tag("VmInstance")}
	}
	text, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	answer, err := w.client.Call(w.t.Context(), m.Method, path, body)
	var made struct{ Inventory struct{ UUID string } }
	if err == nil && json.Unmarshal(answer, &made) == nil && made.Inventory.UUID != "" && m.Effect == "create" {
		w.has[m.Returns] = append(w.has[m.Returns], made.Inventory.UUID)
		if m.Returns == "SystemTag" {
			w.tags[made.Inventory.UUID] = w.last
		}
	}
	return name + " " + path + " " + string(text), err
}

// together makes values fit each other that by chance would hardly ever.
func (w *writer) together(m message, values map[string]any) {
	if _, ok := values["startIp"]; ok && w.r.IntN(4) > 0 {
		values["netmask"] = mask(w.net.Bits())
		values["gateway"], values["startIp"], values["endIp"] = nth(w.net, 1), nth(w.net, 2+w.r.IntN(2)), nth(w.net, 4+w.r.IntN(3))
	}
	if _, ok := values["networkCidr"]; ok && w.r.IntN(4) > 0 {
		values["networkCidr"] = w.net.String()
		delete(values, "gateway")
	}
	if _, ok := values["l3NetworkUuids"]; ok && w.r.IntN(4) > 0 {
		values["l3NetworkUuids"] = []string{w.home}
	}
	if _, ok := values["networkServices"]; ok {
		values["networkServices"] = map[string]any{w.one(w.has["NetworkServiceProvider"]): w.some("DHCP", "DNS", "Userdata", "HostRoute")}
	}
	if _, ok := values["resourceType"]; ok {
		system := strings.HasPrefix(m.Path, "/system")
		types := slices.DeleteFunc([]string{"VmInstance", "L3Network", "Volume", "Image", "IpRange", "SshKeyPair"}, func(t string) bool {
			return len(w.has[t]) == 0 || system && len(w.schema.Types[t].Tags) == 0
		})
		typ := w.one(types)
		values["resourceType"], values["resourceUuid"] = typ+"VO", w.one(w.has[typ])
		if _, ok := values["tag"]; ok && system {
			values["tag"] = w.tag(typ)
		}
		if _, ok := values["tags"]; ok {
			values["tags"] = []string{w.tag(typ), w.tag(typ)}
		}
	}
	if m.Returns == "SystemTag" && m.Effect == "update" { // it keeps its pattern
		for uuid, p := range w.tags {
			values["uuid"], values["tag"] = uuid, w.fill(p)
		}
	}
	category, named := values["category"], m.Path != "" && strings.Contains(m.Path, "{category}")
	if _, many := values["resourceConfigs"]; many || named && category != nil {
		s := w.schema.Setting[w.r.IntN(len(w.schema.Setting))]
		for range 50 { // of what the account may own
			if len(s.On) > 0 && len(w.has[s.On[0]]) > 0 && slices.Contains([]string{"VmInstance", "Volume"}, s.On[0]) {
				break
			}
			s = w.schema.Setting[w.r.IntN(len(w.schema.Setting))]
		}
		value := fmt.Sprint(w.value(parameter{Kind: "string", Enum: s.Enum, Min: s.Min, Max: s.Max}))
		if len(s.On) > 0 {
			values["resourceUuid"] = w.one(w.has[s.On[0]])
		}
		if many {
			values["resourceConfigs"] = []any{map[string]any{"category": s.Category, "name": s.Name, "value": value}}
		} else {
			values["category"], values["name"], values["value"] = s.Category, s.Name, value
		}
	}
}

// tag is a system tag by a pattern of the type, or an empty one.
func (w *writer) tag(typ string) string {
	patterns := w.schema.Types[typ].Tags
	if len(patterns) == 0 {
		return ""
	}
	w.last = patterns[w.r.IntN(len(patterns))]
	return w.fill(w.last)
}

// fill makes a tag of a pattern.
func (w *writer) fill(p pattern) string {
	return variable.ReplaceAllStringFunc(p.Pattern, func(v string) string {
		for _, param := range p.Params {
			if param.Name == strings.Trim(v, "{}") {
				return fmt.Sprint(w.value(param))
			}
		}
		return w.text(8)
	})
}

// value is one that a parameter may have; nil: there is none.
func (w *writer) value(p parameter) any {
	switch {
	case p.Kind == "list" && p.Item != nil:
		item := *p.Item
		item.Name, item.Ref = p.Name, p.Ref
		if v := w.value(item); v != nil {
			return []any{v}
		}
		return nil
	case p.Ref != "":
		if len(w.has[p.Ref]) == 0 {
			return nil
		}
		return w.one(w.has[p.Ref])
	case p.Enum != "":
		values := w.schema.Enums[p.Enum]
		if len(values) == 0 {
			return nil
		}
		return values[w.r.IntN(len(values))].Value
	}
	switch p.Kind {
	case "bool":
		return w.r.IntN(2) == 0
	case "int", "long":
		return w.number(p)
	case "map", "object":
		return map[string]any{}
	}
	switch {
	case p.Name == "url":
		return w.one(w.sources)
	case p.Name == "userUuid":
		return w.one(w.has["Account"])
	case strings.HasSuffix(strings.ToLower(p.Name), "systemtags"):
		return w.tag("Volume")
	}
	if p.Format == "userData" {
		return base64.StdEncoding.EncodeToString([]byte(w.text(200)))
	}
	return w.held(p)
}

// number is small, or one of the bounds.
func (w *writer) number(p parameter) int64 {
	small := int64(1 + w.r.IntN(4))
	if strings.Contains(strings.ToLower(p.Name), "size") {
		small <<= 20 + w.r.IntN(7)
	}
	switch {
	case p.Min != nil && w.r.IntN(4) == 0:
		return *p.Min
	case p.Max != nil && w.r.IntN(8) == 0:
		return *p.Max
	}
	return small
}

// held is a text of a kind (package kinds).
func (w *writer) held(p parameter) string {
	switch p.Holds {
	case "addr", "addr4", "host":
		if w.r.IntN(3) > 0 {
			return nth(w.net, w.r.IntN(16))
		}
		if p.Holds == "addr" && w.r.IntN(2) == 0 {
			return "2001:db8::" + fmt.Sprintf("%x", w.r.IntN(1<<16))
		}
		return w.addr4().String()
	case "cidr4":
		return netip.PrefixFrom(w.addr4(), w.r.IntN(33)).Masked().String()
	case "netmask4":
		return mask(w.r.IntN(33))
	case "mac":
		return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", w.r.IntN(256)&^1, w.r.IntN(256), w.r.IntN(256), w.r.IntN(256), w.r.IntN(256), w.r.IntN(256))
	case "label", "hostname":
		return w.label()
	case "domain":
		return w.label() + "." + w.label()
	case "key", "keys":
		seed := make([]byte, ed25519.SeedSize)
		for i := range seed {
			seed[i] = byte(w.r.Uint32())
		}
		key, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(seed).Public())
		if err != nil {
			w.t.Fatal(err)
		}
		return string(ssh.MarshalAuthorizedKey(key))
	}
	limit := int64(60)
	if p.MaxLength != nil {
		limit = min(limit, *p.MaxLength)
	}
	if strings.Contains(p.Name, "Secret") || strings.Contains(p.Name, "Key") {
		return w.label() + strings.Repeat("x", 20)
	}
	return w.text(int(limit))
}

// letters are such as programs stumble over that do not quote them.
var letters = []rune("aB3 -_.,;:'\"`$(){}[]<>&|%*?!#~\\/=+@äßéЖ京🌩")

func (w *writer) text(limit int) string {
	n := 1 + w.r.IntN(limit)
	out := []rune{'x'}
	for len(out) < n {
		out = append(out, letters[w.r.IntN(len(letters))])
	}
	return strings.TrimSpace(string(out))
}

func (w *writer) label() string {
	const of = "abcxyz0189-"
	b := []byte{of[w.r.IntN(6)]}
	for range w.r.IntN(20) {
		b = append(b, of[w.r.IntN(len(of))])
	}
	return strings.TrimRight(string(b), "-")
}

// addr4 is any address, and often one that is special or somebody's.
func (w *writer) addr4() netip.Addr {
	special := []string{"0.0.0.0", "10.0.0.1", "127.0.0.53", "169.254.169.254", "172.31.0.1", "172.31.0.20", "172.31.0.254", "172.30.7.1", "192.168.1.1",
		"100.64.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.251", "240.0.0.1", "255.255.255.255"}
	if w.r.IntN(2) == 0 {
		return netip.MustParseAddr(special[w.r.IntN(len(special))])
	}
	v := w.r.Uint32()
	return netip.AddrFrom4([4]byte{10, byte(v >> 16), byte(v >> 8), byte(v)})
}

func (w *writer) one(of []string) string {
	if len(of) == 0 {
		return ""
	}
	return of[w.r.IntN(len(of))]
}

// some is at least one of the words.
func (w *writer) some(words ...string) []string {
	w.r.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
	return words[:1+w.r.IntN(len(words))]
}

func nth(p netip.Prefix, n int) string {
	a := p.Addr()
	for range n {
		a = a.Next()
	}
	return a.String()
}

func mask(bits int) string {
	v := ^uint32(0) << (32 - bits)
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}).String()
}

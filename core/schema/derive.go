package schema

import (
	"net/http"
	"slices"
	"strings"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
)

// rule says what a name that ends in one of suffixes means when the value is of
// one of the kinds; suffixes match whole words, ignoring the case of the first
// letter.
type rule struct {
	kinds    []string
	suffixes []string
	is       string
}

var numbers = []string{"int", "long", "double"}
var texts = []string{"string", "text"}

// units and formats are what names tell by themselves; the first that fits
// counts, and one that says nothing keeps the others away.
var units = []rule{
	{numbers, []string{"cpuCapacity"}, ""}, // a number of virtual CPUs
	{numbers, []string{"size", "capacity", "bytes", "memory"}, "bytes"},
	{numbers, []string{"cpuSpeed"}, "megahertz"},
	{numbers, []string{"bandwidth"}, "bitsPerSecond"},
	{numbers, []string{"percent"}, "percent"},
	{numbers, []string{"cpuNum", "cpuSockets", "count", "num"}, "count"},
}

var formats = []rule{
	{texts, []string{"uuid", "uuids"}, "uuid"},
	{texts, []string{"netmask"}, "ip4"},
	{texts, []string{"ip", "gateway", "dns", "nexthop"}, "ip"},
	{texts, []string{"cidr", "prefix"}, "cidr"},
	{texts, []string{"mac"}, "mac"},
	{texts, []string{"url"}, "url"},
	{texts, []string{"path"}, "path"},
	{texts, []string{"email"}, "email"},
	{texts, []string{"publicKey"}, "sshKey"},
	{texts, []string{"userData", "userdata"}, "userData"},
	{texts, []string{"cron"}, "cron"},
	{numbers, []string{"port"}, "port"},
}

func byName(rules []rule, name, kind string) *string {
	for _, r := range rules {
		if !slices.Contains(r.kinds, kind) {
			continue
		}
		for _, s := range r.suffixes {
			capital := strings.ToUpper(s[:1]) + s[1:]
			if strings.EqualFold(name, s) || strings.HasSuffix(name, capital) {
				return opt(r.is)
			}
		}
	}
	return nil
}

// operators are what a query accepts for a kind (core/query).
func operators(kind resource.Kind, uuid, null bool) []string {
	var ops []string
	switch {
	case uuid:
		ops = []string{"=", "!=", "?=", "!?="}
	case kind == resource.Bool:
		ops = []string{"=", "!="}
	case kind == resource.Text:
		ops = []string{"=", "!=", "~=", "!~="}
	case kind == resource.String:
		ops = []string{"=", "!=", ">", ">=", "<", "<=", "?=", "!?=", "~=", "!~="}
	default:
		ops = []string{"=", "!=", ">", ">=", "<", "<=", "?=", "!?="}
	}
	if null {
		ops = append(ops, "null")
	}
	return ops
}

// verbEffects are the effects that a message's first word tells.
var verbEffects = map[string]string{
	"Create": "create", "Add": "create", "Update": "update", "Change": "update", "Set": "update", "Delete": "delete", "Remove": "delete",
	"Destroy": "delete", "Expunge": "delete", "Attach": "attach", "Detach": "detach", "Bind": "attach", "Unbind": "detach",
	"Start": "power", "Stop": "power", "Reboot": "power", "Pause": "power", "Resume": "power",
}

func effectOf(a *action.Action) string {
	words := split(strings.TrimSuffix(strings.TrimPrefix(a.Message, "API"), "Msg"))
	_, byEvent := a.Param("stateEvent")
	switch e := verbEffects[words[0]]; {
	case a.Method == http.MethodGet, words[0] == "Get":
		return "read"
	case byEvent:
		return "state"
	case e == "create" && !a.Create && a.Method != http.MethodPost:
		return "update"
	case e == "delete" && len(words) > 1 && a.Method == http.MethodPut && words[0] == "Remove":
		return "update"
	case e != "":
		return e
	case a.Create:
		return "create"
	}
	return "other"
}

// dangerOf: what goes for good, or takes guests with it, shows its plan first;
// what interrupts asks.
func dangerOf(a *action.Action, effect string, plan bool) string {
	switch {
	case effect == "delete" && plan, effect == "detach" && plan:
		return "plan"
	case effect == "delete", effect == "detach":
		return "confirm"
	case effect == "power" && !strings.HasPrefix(a.Message, "APIStart") && !strings.HasPrefix(a.Message, "APIResume"):
		return "confirm"
	}
	return "none"
}

// opposites are the first words of messages that take each other back.
var opposites = map[string]string{"Attach": "Detach", "Detach": "Attach", "Destroy": "Recover", "Pause": "Resume", "Resume": "Pause",
	"Delete": "Recover", "Stop": "Start", "Share": "Revoke", "Add": "Remove"}

// effectOrder is the place of an action in its menu; effects that a menu has
// apart come with a number of their own.
var effectOrder = map[string]int{"create": 10, "power": 20, "state": 30, "update": 40, "attach": 50, "detach": 60, "other": 70, "delete": 90, "read": 100}

// verbIcons are the icons of actions by their verb or its first word.
var verbIcons = map[string]string{
	"create": "add", "add": "add", "update": "edit", "change": "edit", "delete": "remove", "destroy": "remove", "remove": "remove", "expunge": "remove",
	"start": "play", "stop": "stop", "reboot": "refresh", "pause": "pause", "resume": "play", "attach": "link", "detach": "unlink",
	"recover": "undo", "reconnect": "refresh", "retry": "refresh", "share": "share", "revoke": "lock", "reset": "undo", "run": "play", "sync": "refresh", "clean": "remove",
}

// undoOf finds the message that takes a back: APIDetachXFromY for APIAttachXToY.
func undoOf(a *action.Action, known func(string) bool) *string {
	name := strings.TrimPrefix(a.Message, "API")
	first := split(strings.TrimSuffix(name, "Msg"))[0]
	other, ok := opposites[first]
	if !ok {
		return nil
	}
	back := "API" + other + strings.TrimPrefix(name, first)
	for _, candidate := range []string{back, swapLast(back, "To", "From"), swapLast(back, "From", "To")} {
		if known(candidate) && candidate != a.Message {
			return &candidate
		}
	}
	return nil
}

func swapLast(s, from, to string) string {
	if i := strings.LastIndex(s, from); i > 0 {
		return s[:i] + to + s[i+len(from):]
	}
	return s
}

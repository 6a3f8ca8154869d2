package schema

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/resource"
)

// What a name tells depends on its last words and on the kind; the first rule that
// fits counts, also one that says nothing.
func TestWhatNamesTell(t *testing.T) {
	for _, c := range []struct{ name, kind, unit, format string }{
		{"diskSize", "long", "bytes", ""}, {"size", "int", "bytes", ""}, {"SIZE", "int", "bytes", ""}, {"oversize", "int", "", ""}, {"diskSize", "string", "", ""},
		{"totalCpuCapacity", "long", "", ""}, {"totalCapacity", "long", "bytes", ""}, {"cpuSpeed", "double", "megahertz", ""}, {"cpuNum", "int", "count", ""},
		{"inboundBandwidth", "long", "bitsPerSecond", ""}, {"usedPercent", "int", "percent", ""}, {"viewportNum", "int", "count", ""},
		{"sshPort", "int", "", "port"}, {"sshPort", "string", "", ""}, {"report", "int", "", ""},
		{"vmUuid", "string", "", "uuid"}, {"vmUuids", "text", "", "uuid"}, {"staticIp", "string", "", "ip"}, {"chip", "string", "", ""}, {"netmask", "string", "", "ip4"},
		{"networkCidr", "string", "", "cidr"}, {"customMac", "string", "", "mac"}, {"url", "string", "", "url"}, {"installPath", "string", "", "path"},
		{"userdata", "string", "", "userData"}, {"publicKey", "text", "", "sshKey"}, {"name", "string", "", ""},
	} {
		told := func(s *string) string {
			if s == nil {
				return ""
			}
			return *s
		}
		if unit, format := told(byName(units, c.name, c.kind)), told(byName(formats, c.name, c.kind)); unit != c.unit || format != c.format {
			t.Errorf("%s %s is of %q and %q, want %q and %q", c.kind, c.name, unit, format, c.unit, c.format)
		}
	}
}

// A field is asked for as the query can: long texts are only searched, truth has no
// order, and what may be missing can be asked for as such.
func TestOperators(t *testing.T) {
	const order, list, like = "> >= < <=", "?= !?=", "~= !~="
	for _, c := range []struct {
		kind       resource.Kind
		uuid, null bool
		want       string
	}{
		{resource.String, false, false, "= != " + order + " " + list + " " + like}, {resource.String, true, false, "= != " + list}, {resource.String, true, true, "= != " + list + " null"},
		{resource.Text, false, true, "= != " + like + " null"}, {resource.Bool, false, false, "= !="}, {resource.Int, false, false, "= != " + order + " " + list},
		{resource.Long, false, true, "= != " + order + " " + list + " null"},
	} {
		if got := strings.Join(operators(c.kind, c.uuid, c.null), " "); got != c.want {
			t.Errorf("kind %v, UUID %t, null %t: %s, want %s", c.kind, c.uuid, c.null, got, c.want)
		}
	}
}

// What is gone afterwards shows its plan when it has one; what interrupts asks.
func TestDanger(t *testing.T) {
	for _, c := range []struct {
		message, effect string
		plan            bool
		want            string
	}{
		{"APIDeleteKiteMsg", "delete", true, "plan"}, {"APIDeleteKiteMsg", "delete", false, "confirm"}, {"APIDetachKiteMsg", "detach", true, "plan"}, {"APIDetachKiteMsg", "detach", false, "confirm"},
		{"APIStopKiteMsg", "power", true, "confirm"}, {"APIPauseKiteMsg", "power", false, "confirm"}, {"APIStartKiteMsg", "power", false, "none"}, {"APIResumeKiteMsg", "power", false, "none"},
		{"APIUpdateKiteMsg", "update", true, "none"}, {"APIAttachKiteMsg", "attach", true, "none"}, {"APIGetKiteMsg", "read", false, "none"},
	} {
		if got := dangerOf(&action.Action{Message: c.message, Method: http.MethodPut}, c.effect, c.plan); got != c.want {
			t.Errorf("%s (%s, plan %t) is %q, want %q", c.message, c.effect, c.plan, got, c.want)
		}
	}
}

// A message is taken back by its opposite, if there is one, with the words between the
// two resources turned.
func TestUndo(t *testing.T) {
	known := map[string]bool{"APIDetachAFromBMsg": true, "APIAttachAToBMsg": true, "APIStartAMsg": true, "APIRecoverAMsg": true, "APIAddAToBMsg": true, "APIRemoveAFromBMsg": true,
		"APIResumeAMsg": true, "APIDetachToolFromToMsg": true}
	for message, want := range map[string]string{
		"APIAttachAToBMsg": "APIDetachAFromBMsg", "APIDetachAFromBMsg": "APIAttachAToBMsg", "APIStopAMsg": "APIStartAMsg", "APIStartAMsg": "", "APIDeleteAMsg": "APIRecoverAMsg",
		"APIDestroyAMsg": "APIRecoverAMsg", "APIAddAToBMsg": "APIRemoveAFromBMsg", "APIPauseAMsg": "APIResumeAMsg", "APIResumeAMsg": "", "APIUpdateAMsg": "", "APIAttachCToBMsg": "",
	} {
		got := ""
		if m := undoOf(&action.Action{Message: message}, func(m string) bool { return known[m] }); m != nil {
			got = *m
		}
		if got != want {
			t.Errorf("%s is taken back by %q, want %q", message, got, want)
		}
	}
}

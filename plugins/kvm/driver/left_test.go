package driver

import (
	"errors"
	"strconv"
	"testing"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Hosts that were disconnected are remembered, the last ones of very many: what comes
// for one of them connects to nothing.
func TestLeftHostsAreBounded(t *testing.T) {
	d := New()
	for i := range maxLeft {
		d.leave(strconv.Itoa(i))
	}
	d.leave("0") // again, so it is not the one of the longest time any more
	d.enter("2")
	for i := range 3 {
		d.leave("more-" + strconv.Itoa(i))
	}
	if len(d.left) != maxLeft || d.left["1"] > 0 || d.left["2"] > 0 || d.left["3"] > 0 || d.left["0"] == 0 || d.left["4"] == 0 {
		t.Fatalf("%d hosts are remembered: 0 to 4 %d %d %d %d %d", len(d.left), d.left["0"], d.left["1"], d.left["2"], d.left["3"], d.left["4"])
	}
	for _, uuid := range []string{"0", "4", "more-2"} {
		_, err := d.CheckHost(t.Context(), &pluginv1.CheckHostRequest{Host: &pluginv1.Host{Uuid: uuid, ManagementIp: "192.0.2.1"}})
		if !errors.Is(err, errs.Unavailable) || len(d.slots) > 0 {
			t.Errorf("a check of host %s, which was left: %v, %d connections", uuid, err, len(d.slots))
		}
	}
}

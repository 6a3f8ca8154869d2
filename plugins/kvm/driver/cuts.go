package driver

import (
	"fmt"
	"sync"

	"github.com/kumo-cloud/kumo/plugins/kvm/domain"
	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// cuts has the guests' devices on a host that are plugged in nowhere, as far as it
// was looked at last, and why. Its zero value is ready.
type cuts struct {
	mu  sync.Mutex
	why map[string]string
}

func cutOff(f *hostv1.SyncFailure) string {
	return fmt.Sprintf("its network card %s is cut off: %s", f.GetKey(), f.GetText())
}

// set replaces what is known.
func (c *cuts) set(why map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.why = why
}

// tell adds to a guest's status which of the cards in its definition are cut off.
func (c *cuts) tell(status *pluginv1.VMStatus, definition string) error {
	c.mu.Lock()
	why := c.why
	c.mu.Unlock()
	if len(why) == 0 || definition == "" {
		return nil
	}
	ports, err := domain.Ports(definition)
	for _, p := range ports {
		if reason, cut := why[p.GetDevice()]; cut {
			status.Problems = append(status.Problems, reason)
		}
	}
	return err
}

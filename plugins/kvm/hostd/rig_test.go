package hostd

import (
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/integration/rig"
)

func TestMain(m *testing.M) { rig.Main(m, rig.WithPackages("qemu-utils", "dnsmasq-base", "iproute2")) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func discard() hclog.Logger { return hclog.NewNullLogger() }

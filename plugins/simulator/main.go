// Command kumo-plugin-simulator is the plugin of simulated hosts, storages and
// networks, for tests of scale and of faults. Its folders: world is what is
// simulated, fault the failures on request, driver their face to Kumo. It must
// not import core or web.
package main

import (
	"github.com/kumo-cloud/kumo/plugins/simulator/driver"
	"github.com/kumo-cloud/kumo/pluginsdk"
)

// version is set by the linker.
var version = "dev"

func main() { pluginsdk.Serve(driver.New(version)) }

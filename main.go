// Command kumo is the server (kumo serve) and its command line.
package main

import (
	"context"
	"os"

	"github.com/kumo-cloud/kumo/web/cli"
	"github.com/kumo-cloud/kumo/web/serve"
)

// version is set by the linker.
var version = "development"

func main() {
	os.Exit(cli.Main(context.Background(), version, serve.Command(version), serve.NewMachine()))
}

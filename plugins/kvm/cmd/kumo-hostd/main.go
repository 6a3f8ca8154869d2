// Command kumo-hostd is the agent on a KVM host. The KVM plugin puts it there,
// starts it and calls it; nobody needs to run it by hand. It must not import
// anything of core or web.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/plugins/kvm/hostd"
)

// version is set by the linker.
var version = "unknown"

const usage = `usage: kumo-hostd COMMAND [options]
  start    run the agent in the background and wait until it can be called; it
           is started again whenever it ends
  keep     start the agent that is wanted whenever there is none; start does this
  serve    run the agent in the foreground
  own      record for which host the agent of a state folder works
  stop     end the agent of a state folder; --purge also removes its networks
  version  print the version
`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "kumo-hostd:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return errors.New("no command")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	switch args[0] {
	case "serve":
		return serve(ctx, args[1:])
	case "start":
		o, _, err := parse("start", args[1:])
		if err != nil {
			return err
		}
		return hostd.Start(ctx, o.StateDir, args[1:])
	case "keep":
		return keep(ctx, args[1:])
	case "stop", "own":
		set := flag.NewFlagSet(args[0], flag.ContinueOnError)
		state := set.String("state", "/var/lib/kumo/hostd", "the state folder")
		owner := set.String("owner", "", "the host's UUID; stop leaves the agent of another host alone")
		purge := set.Bool("purge", false, "remove bridges and DHCP networks too")
		if err := set.Parse(args[1:]); err != nil {
			return err
		}
		if args[0] == "own" {
			return hostd.Own(*state, *owner)
		}
		return hostd.Stop(ctx, *state, *owner, *purge, logger())
	case "version":
		fullVersion, err := buildVersion()
		fmt.Println(fullVersion)
		return err
	}
	fmt.Fprint(os.Stderr, usage)
	return fmt.Errorf("no command %q", args[0])
}

func parse(command string, args []string) (o hostd.Options, tellReady bool, err error) {
	set := flag.NewFlagSet(command, flag.ContinueOnError)
	set.StringVar(&o.StateDir, "state", "/var/lib/kumo/hostd", "the state folder")
	set.StringVar(&o.Socket, "socket", "", "the unix socket to listen on")
	set.StringVar(&o.Listen, "listen", "", "the TCP address to listen on, with mutual TLS")
	set.StringVar(&o.CertFile, "cert", "", "the agent's certificate")
	set.StringVar(&o.KeyFile, "key", "", "the certificate's key")
	set.StringVar(&o.CAFile, "ca", "", "the CA of the callers' certificates")
	set.BoolVar(&tellReady, "tell-ready", false, "tell the starter when the agent is ready")
	set.StringVar(&o.Kept, "kept", "", "the wish for which a keeper runs the agent")
	return o, tellReady, set.Parse(args)
}

func keep(ctx context.Context, args []string) error {
	o, tellReady, err := parse("keep", args)
	if err != nil {
		return err
	}
	var ready *os.File
	if tellReady {
		ready = hostd.ReadyPipe()
	}
	return hostd.Keep(ctx, o.StateDir, ready, logger())
}

func serve(ctx context.Context, args []string) error {
	o, tellReady, err := parse("serve", args)
	if err != nil {
		return err
	}
	if o.Version, err = buildVersion(); err != nil {
		return err
	}
	o.Log = logger()
	return hostd.Serve(ctx, o, func() {
		if !tellReady {
			return
		}
		if err := hostd.TellReady(); err != nil {
			o.Log.Warn("nobody waits for the agent's start", "error", err)
		}
	})
}

func logger() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Name: "hostd", Level: hclog.Info, Output: os.Stderr})
}

// buildVersion has the program's own sum, so that two builds of one version
// are told apart.
func buildVersion() (string, error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return version, err
	}
	defer func() { _ = f.Close() }() // only read
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return version, err
	}
	return hostd.Version(version, sum.Sum(nil)), nil
}

package cli

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/client"
	"github.com/kumo-cloud/kumo/web/cli/quickstart"
)

// quickstartTime is far more than the first start of a VM takes on a slow,
// emulating machine.
const quickstartTime = 10 * time.Minute

func (a *App) quickstartCommand() *cobra.Command {
	var image, network, userData, memory string
	var o quickstart.Options
	var remove, yes bool
	c := &cobra.Command{
		Use:   "quickstart --image FILE|URL",
		Short: "Make an all-in-one cloud of the server's machine, with a VM",
		Long: "Makes zone, cluster, host, storages, image, network and the VM hello through the API. What exists\n" +
			"already, by name, stays as it is; so the command can be repeated. --remove deletes everything in the\n" +
			"cloud again. make run and make down use it.\n\n" +
			"Without an earlier kumo login it signs in as admin with KUMO_PASSWORD.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), quickstartTime)
			defer cancel()
			c, err := a.clientOrLogin(ctx)
			if err != nil {
				return err
			}
			if remove {
				if !yes {
					return errs.New(errs.Refused, "quickstart --remove", "it deletes all VMs and everything else in the cloud").WithAdvice("add --yes when you mean it")
				}
				return quickstart.Remove(ctx, c, a.stage("removed", "removed"))
			}
			if o.Memory, err = ParseSize(memory); err != nil {
				return errs.Wrap(errs.Invalid, "--memory", err, "")
			}
			if o.Network, err = netip.ParsePrefix(network); err != nil {
				return errs.Wrap(errs.Invalid, "--network "+network, err, "").WithAdvice("give it like 172.30.0.0/24")
			}
			if o.ImageURL, err = imageURL(image); err != nil {
				return err
			}
			if userData != "" {
				if o.UserData, err = os.ReadFile(userData); err != nil {
					return errs.Wrap(errs.Invalid, "--user-data", err, "cannot be read")
				}
			}
			vm, err := quickstart.Create(ctx, c, o, a.stage("made", "there already"))
			if err != nil {
				return err
			}
			printLine(a.Out, "%s %s %s", vm.Name, vm.UUID, vm.IP)
			return nil
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&image, "image", "", "guest image: a URL, or a file of the server's machine in a folder that imagestore's setting fileFolders lists (required)")
	f.StringVar(&o.Interface, "interface", "kumo0", "network card for the VMs' network")
	f.StringVar(&network, "network", "172.30.0.0/24", "the VMs' network")
	f.StringVar(&o.PrimaryStorage, "primary-storage", "/var/lib/kumo/primary", "folder for disks")
	f.StringVar(&o.ImageStore, "image-store", "/var/lib/kumo/images", "folder for images")
	f.StringVar(&memory, "memory", "128M", "memory of the VM")
	f.StringVar(&userData, "user-data", "", "file that the VM gets as its user data")
	f.BoolVar(&remove, "remove", false, "delete everything in the cloud")
	f.BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// stage returns a function that tells of each stage on stderr.
func (a *App) stage(made, found string) func(quickstart.Stage) {
	return func(s quickstart.Stage) {
		what := found
		if s.Made {
			what = made
		}
		a.say("  %-24s %-14s %5.1f s", s.Name, what, s.Took.Seconds())
	}
}

// imageURL turns a file name into an address; it must be there.
func imageURL(image string) (string, error) {
	if image == "" {
		return "", errs.New(errs.Invalid, "--image", "is missing").WithAdvice("make one by make guest-image: .cache/guest/guest.qcow2")
	}
	if strings.Contains(image, "://") {
		return image, nil
	}
	path, err := filepath.Abs(image)
	if err != nil {
		return "", errs.Wrap(errs.Invalid, "--image "+image, err, "")
	}
	if _, err := os.Stat(path); err != nil {
		return "", errs.Wrap(errs.Invalid, "--image", err, "cannot be used")
	}
	return "file://" + path, nil
}

// clientOrLogin uses the kept session while it is good, and else signs in with
// KUMO_PASSWORD and keeps the new one.
func (a *App) clientOrLogin(ctx context.Context) (*client.Client, error) {
	c, err := a.client()
	if err == nil {
		if _, err = c.Query(ctx, "/zones", client.Query{Count: true}); err == nil {
			return c, nil
		}
	}
	if !errors.Is(err, errs.Unauthenticated) || a.Env("KUMO_PASSWORD") == "" {
		return nil, err
	}
	if c, err = client.New(a.server); err != nil {
		return nil, err
	}
	session, err := c.Login(ctx, "admin", a.Env("KUMO_PASSWORD"))
	if err != nil {
		return nil, err
	}
	store, err := a.sessions()
	if err != nil {
		return nil, err
	}
	return c, store.Save(c.Server, session)
}

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/web/cli/client"
	"github.com/kumo-cloud/kumo/web/cli/render"
)

// health is what kumo status knows.
type health struct {
	Server string `json:"server"`
	State  string `json:"state"`
	// Version is empty when the server does not serve.
	Version string          `json:"version,omitempty"`
	PID     int             `json:"pid,omitempty"`
	Health  json.RawMessage `json:"health,omitempty"`
}

func (a *App) statusCommand() *cobra.Command {
	var pidFile string
	c := &cobra.Command{
		Use:   "status",
		Short: "Tell whether the server serves, and how it is",
		Long: "Asks the server's /healthz; needs no login. Exits with 1 when the server does not serve.\n" +
			"With --pid-file (default .run/kumo.pid, which make run writes) it also tells the process.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := a.format()
			if err != nil {
				return err
			}
			c, err := client.New(a.server)
			if err != nil {
				return err
			}
			h := health{Server: c.Server, State: "serving", PID: running(pidFile)}
			status, body, err := c.Get(cmd.Context(), "/healthz")
			if err != nil {
				if h.PID > 0 {
					return errs.Wrap(errs.Unavailable, fmt.Sprintf("process %d", h.PID), err, "runs, but does not serve").WithAdvice("see its log with make logs")
				}
				return err
			}
			if status != http.StatusOK {
				h.State = fmt.Sprintf("not serving (%d %s)", status, strings.TrimSpace(string(body[:min(len(body), 200)])))
			}
			if json.Valid(body) && strings.HasPrefix(strings.TrimSpace(string(body)), "{") {
				h.Health = body
			}
			if h.State == "serving" {
				h.Version = serverVersion(cmd.Context(), c)
			}
			if err := a.printHealth(f, h); err != nil {
				return err
			}
			if status != http.StatusOK {
				return errs.New(errs.Unavailable, "server "+c.Server, "%s", h.State)
			}
			return nil
		},
	}
	c.Flags().StringVar(&pidFile, "pid-file", filepath.Join(".run", "kumo.pid"), "file with the server's PID")
	return c
}

func (a *App) printHealth(f render.Format, h health) error {
	if f != render.Table {
		raw, err := json.Marshal(h)
		if err != nil {
			return err
		}
		return render.Raw(a.Out, f, raw)
	}
	printLine(a.Out, "server   %s   %s", h.Server, h.State)
	if h.Version != "" {
		printLine(a.Out, "version  %s", h.Version)
	}
	if h.PID > 0 {
		printLine(a.Out, "process  %d", h.PID)
	}
	var parts struct{ Plugins map[string]string }
	if len(h.Health) > 0 {
		if err := json.Unmarshal(h.Health, &parts); err != nil {
			return errs.Wrap(errs.Internal, "server "+h.Server, err, "its health cannot be read")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(parts.Plugins)) {
		printLine(a.Out, "plugin   %-12s   %s", name, parts.Plugins[name])
	}
	return nil
}

// serverVersion asks the server, which tells it to everyone; "" when it does
// not, as that is no reason to call the server unwell.
func serverVersion(ctx context.Context, c *client.Client) string {
	answer, err := c.Do(ctx, client.Call{Method: http.MethodPut, Path: "/management-nodes/actions", Key: "getVersion"})
	if err != nil {
		return ""
	}
	return client.Text(answer, "version")
}

// running returns the PID in a file if that process lives, else 0.
func running(file string) int {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 0 || syscall.Kill(pid, 0) != nil {
		return 0
	}
	return pid
}

package serve

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/kumo-cloud/kumo/pluginsdk"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Options say how a server runs. Each comes from, in this order: the command
// line, the environment (KUMO_DATA_DIR for --data-dir), the configuration
// file, the default.
type Options struct {
	Config  string `yaml:"-"`
	DataDir string `yaml:"data-dir"`
	Listen  string `yaml:"listen"`
	// DB is the database: sqlite:PATH or mysql://user:pass@host:port/db.
	DB        string   `yaml:"db"`
	PluginDir string   `yaml:"plugin-dir"`
	Plugins   []string `yaml:"plugins"`
	// AdminPassword is the initial password of account admin.
	AdminPassword string `yaml:"admin-password"`
	LogLevel      string `yaml:"log-level"`
	// ProfileListen serves Go's profiles (net/http/pprof); empty is off.
	ProfileListen string `yaml:"profile-listen"`
	// PluginSettings has values for plugins' settings, by plugin and setting;
	// it is read from the file only.
	PluginSettings map[string]map[string]string `yaml:"plugin-settings"`
	// PluginGrants has what plugins are granted, by plugin, beside what the API
	// grants them; it is read from the file only.
	PluginGrants map[string][]string `yaml:"plugin-grants"`
}

// text is one option that is a plain text.
type text struct {
	name, usage string
	at          func(*Options) *string
}

var texts = []text{
	{"data-dir", "folder of the database, the plugins' data and secrets (default: ~/.kumo, for root /var/lib/kumo/server)", func(o *Options) *string { return &o.DataDir }},
	{"listen", "address and port of the API (default 127.0.0.1:8080)", func(o *Options) *string { return &o.Listen }},
	{"db", "database: sqlite:PATH or mysql://user:pass@host:port/db (default: sqlite in the data folder)", func(o *Options) *string { return &o.DB }},
	{"plugin-dir", "folder with the plugins' binaries (default: plugins beside the program)", func(o *Options) *string { return &o.PluginDir }},
	{"admin-password", "initial password of account admin; better given as KUMO_ADMIN_PASSWORD", func(o *Options) *string { return &o.AdminPassword }},
	{"profile-listen", "loopback address and port for Go's profiles (default: off)", func(o *Options) *string { return &o.ProfileListen }},
	{"log-level", "trace, debug, info, warn or error (default info)", func(o *Options) *string { return &o.LogLevel }},
}

// Command returns "kumo serve".
func Command(version string) *cobra.Command {
	var flags Options
	var plugins []string
	c := &cobra.Command{
		Use: "serve", Short: "Run the Kumo server", Args: cobra.NoArgs,
		Long: "Runs the server until SIGTERM or SIGINT. Every flag may also be given in the environment, as KUMO_ and its name in capitals.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := resolve(flags, plugins, cmd.Flags().Changed, os.LookupEnv)
			if err != nil {
				return err
			}
			return Run(cmd.Context(), o, version)
		},
	}
	c.Flags().StringVar(&flags.Config, "config", "", "configuration file (YAML; keys are the flags' names)")
	for _, t := range texts {
		c.Flags().StringVar(t.at(&flags), t.name, "", t.usage)
	}
	c.Flags().StringSliceVar(&plugins, "plugins", nil, "plugins to run, separated by commas (default: all in the folder)")
	return c
}

func envName(flag string) string {
	return "KUMO_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// resolve merges the sources. Unknown keys of the file are errors.
func resolve(flags Options, plugins []string, changed func(string) bool, env func(string) (string, bool)) (Options, error) {
	var o Options
	file := flags.Config
	if v, ok := env("KUMO_CONFIG"); ok && !changed("config") {
		file = v
	}
	if file != "" {
		if err := readFile(file, &o); err != nil {
			return o, err
		}
	}
	for _, t := range texts {
		if v, ok := env(envName(t.name)); ok {
			*t.at(&o) = v
		}
		if changed(t.name) {
			*t.at(&o) = *t.at(&flags)
		}
	}
	if v, ok := env("KUMO_PLUGINS"); ok {
		o.Plugins = split(v)
	}
	if changed("plugins") {
		o.Plugins = plugins
	}
	o.Config = file
	return o, o.complete()
}

func readFile(path string, o *Options) error {
	f, err := os.Open(path)
	if err != nil {
		return errs.Wrap(errs.Invalid, "configuration file "+path, err, "cannot be read")
	}
	defer f.Close()
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(o); err != nil {
		return errs.Wrap(errs.Invalid, "configuration file "+path, err, "is wrong")
	}
	return nil
}

func split(list string) []string {
	var names []string
	for _, n := range strings.Split(list, ",") {
		if n = strings.TrimSpace(n); n != "" {
			names = append(names, n)
		}
	}
	return names
}

// complete fills in defaults and checks what can be checked without effect.
func (o *Options) complete() error {
	if o.DataDir == "" {
		o.DataDir = "/var/lib/kumo/server"
		if home, err := os.UserHomeDir(); err == nil && os.Geteuid() != 0 {
			o.DataDir = filepath.Join(home, ".kumo")
		}
	}
	dir, err := filepath.Abs(o.DataDir)
	if err != nil {
		return fmt.Errorf("data folder %s: %w", o.DataDir, err)
	}
	o.DataDir = dir
	if o.Listen == "" {
		o.Listen = "127.0.0.1:8080"
	}
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		return errs.Wrap(errs.Invalid, "listen "+o.Listen, err, "is not an address and a port").WithAdvice("use something like 127.0.0.1:8080")
	}
	if o.ProfileListen != "" && !loopback(o.ProfileListen) {
		return errs.New(errs.Invalid, "profile-listen "+o.ProfileListen, "profiles tell secrets, so they are served on loopback only").
			WithAdvice("use something like 127.0.0.1:6060")
	}
	if o.DB == "" {
		o.DB = "sqlite:" + filepath.Join(o.DataDir, "kumo.db")
	}
	if o.PluginDir == "" {
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find the plugins' folder: %w", err)
		}
		o.PluginDir = filepath.Join(filepath.Dir(exe), "plugins")
	}
	for name, permissions := range o.PluginGrants {
		for _, p := range permissions {
			if err := pluginsdk.CheckPermission(p); err != nil {
				return errs.Wrap(errs.Invalid, "plugin-grants of "+name, err, "")
			}
		}
	}
	switch o.LogLevel {
	case "":
		o.LogLevel = "info"
	case "trace", "debug", "info", "warn", "error":
	default:
		return errs.New(errs.Invalid, "log-level", "%q is not one of trace, debug, info, warn, error", o.LogLevel)
	}
	return nil
}

// loopbackOnly reports whether only this machine can reach the API.
func (o *Options) loopbackOnly() bool { return loopback(o.Listen) }

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || (ip != nil && ip.IsLoopback()))
}

package house

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/kumo-cloud/kumo"

// rule forbids a package tree to import others.
type rule struct {
	from string // package tree, relative to the module; "" is main.go
	to   string
	why  string
}

// rules is the direction of dependencies: main → web → core → pluginsdk,
// core → sql, plugins → pluginsdk.
var rules = []rule{
	{"core", "plugins", "the core knows interfaces; a driver linked into it could not be removed or crash alone"},
	{"core", "web", "the core is served by web, and must work without it"},
	{"core", "integration", "tests are not part of the product"},
	{"plugins", "core", "a plugin has what a third party's has: the SDK and the broker"},
	{"plugins", "web", "a plugin has what a third party's has: the SDK and the broker"},
	{"plugins", "sql", "the database belongs to the core; plugins keep no state"},
	{"pluginsdk", "core", "an author of plugins must not need the server's modules"},
	{"pluginsdk", "plugins", "the SDK serves all plugins and knows none"},
	{"pluginsdk", "web", "an author of plugins must not need the server's modules"},
	{"pluginsdk", "sql", "the database belongs to the core"},
	{"web", "plugins", "web reaches plugins through the core's actions only"},
	{"web", "sql", "web reaches the database through the core only"},
	{"web/cli", "core", "the command line is a client: it may know the REST API and nothing behind it"},
	{"web/cli", "web/api", "the command line is a client: it may know the REST API and nothing behind it"},
	{"sql", "core", "migrations are data; whoever runs them imports them"},
	{"sql", "web", "migrations are data; whoever runs them imports them"},
	{"sql", "plugins", "migrations are data; whoever runs them imports them"},
	{"sql", "pluginsdk", "migrations are data; whoever runs them imports them"},
	{"", "plugins", "plugins are processes of their own"},
}

// pkg is what "go list -json" tells of a package.
type pkg struct {
	ImportPath   string
	Dir          string
	Name         string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// relative gives the path within the module; ok is false for other modules.
func relative(importPath string) (string, bool) {
	if importPath == module {
		return "", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// within tells whether a package belongs to a tree; the tree "" is main alone.
func within(p, tree string) bool {
	return p == tree || tree != "" && strings.HasPrefix(p, tree+"/")
}

// listPackages lists the module's packages. A package that does not build is
// listed all the same: the compiler tells of it better than these tests could.
func listPackages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Dir,Name,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = root(t)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: its output cannot be read: %v", err)
		}
		all = append(all, p)
	}
	if len(all) < 2 {
		t.Fatalf("go list found %d packages; the rules would pass on nothing", len(all))
	}
	return all
}

// broken returns the rules that an import breaks.
func broken(from, to string) []rule {
	var out []rule
	for _, r := range rules {
		if within(from, r.from) && within(to, r.to) && !within(from, r.to) {
			out = append(out, r)
		}
	}
	return out
}

// Tests of a package obey its rules too: a core test that needs a driver
// belongs to integration. Only the rigs that start a real server (a database)
// may be imported by test files anywhere, so that one suite runs on each kind.
func TestImportDirection(t *testing.T) {
	for _, p := range listPackages(t) {
		from, _ := relative(p.ImportPath)
		imports := append([]string{}, p.Imports...)
		for _, imported := range append(append([]string{}, p.TestImports...), p.XTestImports...) {
			if to, _ := relative(imported); !within(to, "integration/rig") {
				imports = append(imports, imported)
			}
		}
		for _, imported := range imports {
			to, ok := relative(imported)
			if !ok {
				continue
			}
			for _, r := range broken(from, to) {
				t.Errorf("%s imports %s: %s", p.ImportPath, imported, r.why)
			}
		}
	}
}

// A plugin imports no other plugin: each is removable by deleting its folder.
func TestPluginsAreApart(t *testing.T) {
	for _, p := range listPackages(t) {
		from, _ := relative(p.ImportPath)
		mine, ok := pluginOf(from)
		if !ok {
			continue
		}
		for _, imported := range append(append(append([]string{}, p.Imports...), p.TestImports...), p.XTestImports...) {
			to, _ := relative(imported)
			if other, ok := pluginOf(to); ok && other != mine {
				t.Errorf("%s imports %s: a plugin must be removable alone; what two share belongs to pluginsdk", p.ImportPath, imported)
			}
		}
	}
}

func pluginOf(p string) (string, bool) {
	rest, ok := strings.CutPrefix(p, "plugins/")
	if !ok {
		return "", false
	}
	name, _, _ := strings.Cut(rest, "/")
	return name, true
}

func TestRulesCatchWhatTheyName(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"core/flow", "plugins/kvm", true},
		{"core", "pluginsdk", false},
		{"plugins/kvm/cmd/kumo-hostd", "core/store", true},
		{"plugins/kvm", "pluginsdk/proto/kumo/host/v1", false},
		{"pluginsdk/errs", "core/flow", true},
		{"web/api", "core/action", false},
		{"web/cli/client", "core/action", true},
		{"coreutils", "plugins", false},
		{"", "plugins/kvm", true},
		{"", "web/api", false},
	} {
		if got := len(broken(c.from, c.to)) > 0; got != c.want {
			t.Errorf("%q imports %q: forbidden = %v, want %v", c.from, c.to, got, c.want)
		}
	}
}

package house

import (
	"fmt"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A package comment says what the package must not import in one of three ways,
// which are the only sentences about imports that it may have:
//
//	… must not import core/flow, core/query or any service …
//	… must not import anything of core but resource and store …
//	… must be imported by tests only …
//
// In a list stand package trees ("core", "web/api"; after "but" they may be said
// relative to the tree before it), "the services" in any form, "the project" and
// "another plugin". What belongs to the package's own tree is always allowed.
// Services are the packages whose comment begins "Package x is the service of".
type promise struct {
	from     string // package tree that must not be imported; "" is the project
	services bool   // or all services
	plugins  bool   // or all other plugins
	but      []string
}

var (
	aboutImports = regexp.MustCompile(`\bimport(s|ed)?\b`)
	isService    = regexp.MustCompile(`^Package \w+ is the service of `)
	// sentenceEnd is where a rule ends: its sentence does, or gives the reason.
	sentenceEnd = regexp.MustCompile(`[.;:](\s|$)|, so that |, and it `)
	listed      = regexp.MustCompile(`,? or |,? and |, `)
)

// sayings are the forms of words in a list that are no package.
var sayings = map[string]promise{
	"any service": {services: true}, "a service": {services: true}, "the services": {services: true}, "the other services": {services: true},
	"another plugin": {plugins: true},
}

// promises reads the rules of a package comment. testsOnly tells that nobody but
// tests may import it.
func promises(doc string, exists func(tree string) bool) (rules []promise, testsOnly bool, err error) {
	rest := strings.Join(strings.Fields(doc), " ")
	for {
		at := aboutImports.FindStringIndex(rest)
		if at == nil {
			return rules, testsOnly, nil
		}
		before, after := rest[:at[0]], rest[at[1]:]
		switch {
		case strings.HasSuffix(before, "must be ") && strings.HasPrefix(after, " by tests only"):
			testsOnly = true
		case strings.HasSuffix(before, "must not ") && strings.HasPrefix(after, " "):
			text := after[1:]
			if end := sentenceEnd.FindStringIndex(text); end != nil {
				text = text[:end[0]]
			}
			read, err := list(text, exists)
			if err != nil {
				return nil, false, err
			}
			rules = append(rules, read...)
		default:
			return nil, false, fmt.Errorf("%q… is no form of a rule about imports that is understood", rest[max(0, at[0]-30):min(len(rest), at[1]+30)])
		}
		rest = after
	}
}

// list reads what a rule names.
func list(text string, exists func(string) bool) (rules []promise, err error) {
	text, but, _ := strings.Cut(text, " but ")
	for _, item := range listed.Split(strings.TrimPrefix(text, "anything of "), -1) {
		p, ok := sayings[item]
		if !ok && item != "the project" {
			if !exists(item) {
				return nil, fmt.Errorf("there is no package %q", item)
			}
			p.from = item
		}
		rules = append(rules, p)
	}
	if but == "" {
		return rules, nil
	}
	if len(rules) != 1 {
		return nil, fmt.Errorf("what is allowed by %q is not clear: say it of one tree", "but "+but)
	}
	for _, item := range listed.Split(but, -1) {
		if inner := rules[0].from + "/" + item; exists(inner) {
			item = inner
		} else if !exists(item) {
			return nil, fmt.Errorf("there is no package %q", item)
		}
		rules[0].but = append(rules[0].but, item)
	}
	return rules, nil
}

// breaks tells whether a package keeps to its promise when it imports another.
func (p promise) breaks(mine, imported string, services []string) bool {
	if within(imported, mine) {
		return false
	}
	switch {
	case p.services:
		return slices.ContainsFunc(services, func(s string) bool { return within(imported, s) && !within(mine, s) })
	case p.plugins:
		of, _ := pluginOf(mine)
		other, is := pluginOf(imported)
		return is && other != of
	}
	for _, b := range p.but {
		if within(imported, b) {
			return false
		}
	}
	return p.from == "" || within(imported, p.from)
}

// packageComment is what a package says of itself.
func packageComment(t *testing.T, p pkg) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if parsed.Doc != nil && !strings.HasSuffix(file, ".pb.go") {
			said = append(said, parsed.Doc.Text())
		}
	}
	return strings.Join(said, "\n")
}

// A package keeps to what its comment says of its imports, and each package of
// the core says something. Test files may import more: they need a world around
// the package.
func TestPackagesKeepTheirPromises(t *testing.T) {
	all := listPackages(t)
	exists := func(tree string) bool {
		return slices.ContainsFunc(all, func(p pkg) bool { r, ok := relative(p.ImportPath); return ok && within(r, tree) })
	}
	comments, services := map[string]string{}, []string{}
	for _, p := range all {
		name, _ := relative(p.ImportPath)
		comments[name] = packageComment(t, p)
		if strings.HasPrefix(name, "core/") && isService.MatchString(comments[name]) {
			services = append(services, name)
		}
	}
	if len(services) < 5 {
		t.Fatalf("only the services %v were found", services)
	}
	forTests := map[string]bool{}
	for _, p := range all {
		name, _ := relative(p.ImportPath)
		rules, testsOnly, err := promises(comments[name], exists)
		forTests[name] = testsOnly
		switch {
		case err != nil:
			t.Errorf("package comment of %s: %v", name, err)
		case strings.HasPrefix(name, "core/") && len(rules) == 0 && !testsOnly:
			t.Errorf("%s does not say in its package comment what it must not import", name)
		case slices.Contains(services, name) && !slices.ContainsFunc(rules, func(p promise) bool { return p.services }):
			t.Errorf("%s is a service, but does not say that it must not import the other services: they meet in core/contract", name)
		}
		for _, imported := range p.Imports {
			to, ok := relative(imported)
			if !ok {
				continue
			}
			for _, r := range rules {
				if r.breaks(name, to, services) {
					t.Errorf("%s imports %s, which its package comment says it must not", name, to)
				}
			}
		}
	}
	for _, p := range all {
		name, _ := relative(p.ImportPath)
		for _, imported := range p.Imports {
			if to, ok := relative(imported); ok && forTests[to] && !forTests[name] && !strings.HasPrefix(name, "integration/") {
				t.Errorf("%s imports %s, which must be imported by tests only", name, to)
			}
		}
	}
}

func TestPromisesAreUnderstood(t *testing.T) {
	exists := func(tree string) bool {
		return slices.Contains([]string{"core", "core/flow", "core/store", "core/store/storetest", "core/disk", "core/net", "web", "plugins/a"}, tree)
	}
	services := []string{"core/disk", "core/net"}
	for _, c := range []struct{ doc, mine, broken, kept string }{
		{"Package x.\n It must not import core/flow, web or a\nservice: they are above.", "core/x", "core/flow web core/disk core/net", "core/store pluginsdk"},
		{"It must not import the other services.", "core/disk", "core/net", "core/disk/part core/store"},
		{"It must not import anything of core but flow and store.", "core/flow/x", "core core/disk core/flowing", "core/flow core/store core/store/storetest web"},
		{"It must not import anything of the project but core/store, so that it is apart.", "integration/x", "web core", "core/store core/store/storetest integration/x/y"},
		{"It knows, and must not import anything of core, web or another plugin.", "plugins/a", "core/flow web plugins/b plugins/b/x", "plugins/a/x pluginsdk"},
		{"It must not import core/flow, and it names no table.", "core/x", "core/flow", "core"},
	} {
		rules, testsOnly, err := promises(c.doc, exists)
		if err != nil || testsOnly {
			t.Errorf("%q: %v", c.doc, err)
		}
		breaks := func(imported string) bool {
			return slices.ContainsFunc(rules, func(p promise) bool { return p.breaks(c.mine, imported, services) })
		}
		for _, imported := range strings.Fields(c.broken) {
			if !breaks(imported) {
				t.Errorf("%q allows %s to import %s", c.doc, c.mine, imported)
			}
		}
		for _, imported := range strings.Fields(c.kept) {
			if breaks(imported) {
				t.Errorf("%q forbids %s to import %s", c.doc, c.mine, imported)
			}
		}
	}
	for _, doc := range []string{"It imports nothing of core.", "It must not import core/nothing.", "It must import nothing of core but flow.",
		"It must not import core or web but core/flow.", "It must not import core/flow nor web.", "A service never imports another."} {
		if rules, _, err := promises(doc, exists); err == nil {
			t.Errorf("%q is read as %v", doc, rules)
		}
	}
	if _, testsOnly, err := promises("It must be imported by tests only, from outside.", exists); !testsOnly || err != nil {
		t.Error("what is for tests only is not understood", err)
	}
}

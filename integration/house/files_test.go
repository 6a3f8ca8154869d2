package house

import (
	"bytes"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	maxLines  = 800
	warnLines = 400
)

// topLevel is all that may lie in the project's root, besides names that begin
// with a dot and bin/, which git ignores.
var topLevel = []string{
	"core", "plugins", "pluginsdk", "web", "sql", "integration",
	"main.go", "go.mod", "go.sum", "Makefile",
	"README.md", "README.zh-CN.md", "CONTRIBUTING.md", "LICENSE",
}

// root is the project's folder, the nearest one above that has a go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for !exists(filepath.Join(dir, "go.mod")) {
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = parent
	}
	return dir
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// sources calls visit with each file that people write: what lies in dot
// folders of the root other than those of scripts, in bin and in node_modules
// is not ours.
func sources(t *testing.T, visit func(path string, content []byte)) {
	t.Helper()
	top := root(t)
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			hidden := strings.HasPrefix(name, ".") && name != ".make" && name != ".ci"
			if path != top && (hidden || name == "bin" || name == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		visit(filepath.ToSlash(rel), content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// generated files are long because a machine wrote them.
func generated(path string, content []byte) bool {
	head := content[:min(len(content), 512)]
	return strings.HasSuffix(path, ".pb.go") || bytes.Contains(head, []byte("Code generated ")) && bytes.Contains(head, []byte("DO NOT EDIT"))
}

func TestFilesStayShort(t *testing.T) {
	kinds := []string{".go", ".ts", ".tsx", ".sh", ".py"}
	seen := 0
	sources(t, func(path string, content []byte) {
		if !slices.Contains(kinds, filepath.Ext(path)) || generated(path, content) {
			return
		}
		seen++
		lines := bytes.Count(content, []byte("\n"))
		switch {
		case lines > maxLines:
			t.Errorf("%s has %d lines; %d are allowed: a file that long is several things", path, lines, maxLines)
		case lines > warnLines:
			t.Logf("%s has %d lines; %d is what a reader holds", path, lines, warnLines)
		}
	})
	if seen == 0 {
		t.Fatal("found no source file")
	}
}

// A package says in one comment what it is for and what it must not import.
func TestPackagesSayWhatTheyAre(t *testing.T) {
	for _, p := range listPackages(t) {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		said, written := false, false
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if generated(file, content) {
				continue
			}
			written = true
			parsed, err := parser.ParseFile(token.NewFileSet(), file, content, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			said = said || parsed.Doc != nil && len(strings.TrimSpace(parsed.Doc.Text())) > 0
		}
		if written && !said {
			t.Errorf("package %s has no package comment; write a doc.go", p.ImportPath)
		}
		switch p.Name {
		case "util", "utils", "common", "helper", "helpers", "misc":
			t.Errorf("package %s: the name %q says nothing; name it after what it owns", p.ImportPath, p.Name)
		}
	}
}

// Words that mark unfinished work. They are put together from halves, so that
// this file passes its own test.
var unfinished = regexp.MustCompile(`\b(` + strings.Join([]string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"}, "|") + `)\b`)

func TestNothingIsLeftForLater(t *testing.T) {
	kinds := []string{".go", ".ts", ".tsx", ".sh", ".py", ".proto", ".sql"}
	sources(t, func(path string, content []byte) {
		if !slices.Contains(kinds, filepath.Ext(path)) || generated(path, content) {
			return
		}
		for i, line := range strings.Split(string(content), "\n") {
			if word := unfinished.FindString(line); word != "" {
				t.Errorf("%s:%d: %q: finish it, or leave it out", path, i+1, word)
			}
		}
	})
}

func TestTopLevelIsTheAgreedOne(t *testing.T) {
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || name == "bin" || slices.Contains(topLevel, name) {
			continue
		}
		t.Errorf("%s lies at the top level; the house has %s", name, strings.Join(topLevel, ", "))
	}
}

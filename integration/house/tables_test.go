package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A service keeps to its tables: what it wants of another's rows it asks that
// service for, by an interface of core/contract, and what is to happen to them is
// said by the edges of their types. Mechanisms that work on rows of every type
// (query, access, cascade, store) take their names from the declarations and name
// none.
func TestServicesKeepToTheirTables(t *testing.T) {
	files, parsed := token.NewFileSet(), map[string]*ast.File{}
	sources(t, func(name string, content []byte) {
		if !strings.HasPrefix(name, "core/") || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return
		}
		file, err := parser.ParseFile(files, name, content, 0)
		if err != nil {
			t.Fatal(err)
		}
		parsed[name] = file
	})
	owners := map[string]string{}
	for name, file := range parsed {
		for _, declared := range declaredTypes(file) {
			owners[declared] = path.Dir(name)
		}
	}
	if len(owners) < 30 {
		t.Fatalf("only %d resource types were found; the test looks for the wrong words", len(owners))
	}
	own := 0
	for name, file := range parsed {
		for _, use := range tables(file) {
			switch owner := owners[use.table]; owner {
			case path.Dir(name):
				own++
			case "":
			default:
				t.Errorf("%s names the table %s of %s: ask that service for it, by core/contract", files.Position(use.at), use.table, owner)
			}
		}
	}
	if own < 100 {
		t.Errorf("only %d uses of own tables were found; the test looks for the wrong words", own)
	}
}

// declaredTypes are the names in a file's literals of resource.Type.
func declaredTypes(file *ast.File) (names []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		sel, ok := lit.Type.(*ast.SelectorExpr)
		if from, is := selected(sel, ok); !is || from != "resource" || sel.Sel.Name != "Type" {
			return true
		}
		for _, e := range lit.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok {
				if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "Name" {
					if name, ok := text(kv.Value); ok {
						names = append(names, name)
					}
				}
			}
		}
		return true
	})
	return names
}

func selected(sel *ast.SelectorExpr, ok bool) (string, bool) {
	if !ok {
		return "", false
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", false
	}
	return x.Name, true
}

func text(n ast.Node) (string, bool) {
	lit, ok := n.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

// tableUse is a place that names a table.
type tableUse struct {
	table string
	at    token.Pos
}

// tableName finds tables in SQL: what is quoted, and what follows a word that
// wants a table.
var tableName = regexp.MustCompile("`([A-Z][A-Za-z0-9]+)`|\\b(?:FROM|JOIN|UPDATE|INTO)\\s+([A-Z][A-Za-z0-9]+)\\b")

// tables finds the tables that a file's SQL names, and the types that it looks up
// by a name that stands there, whose rows it can then read.
func tables(file *ast.File) (uses []tableUse) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			s, ok := text(n)
			if !ok {
				return true
			}
			for _, m := range tableName.FindAllStringSubmatch(s, -1) {
				uses = append(uses, tableUse{m[1] + m[2], n.Pos()})
			}
		case *ast.CallExpr:
			sel, ok := n.Fun.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Get" || len(n.Args) != 1 {
				return true
			}
			if x, ok := sel.X.(*ast.SelectorExpr); !ok || x.Sel.Name != "Types" {
				return true
			}
			if s, ok := text(n.Args[0]); ok {
				uses = append(uses, tableUse{s, n.Pos()})
			}
		}
		return true
	})
	return uses
}

func TestTablesAreFound(t *testing.T) {
	for code, want := range map[string]string{
		"var q = \"SELECT `uuid` FROM `Host` WHERE `name` = ?\"": "Host",
		"var q = \"SELECT 1 FROM Host h JOIN\\nCluster c\"":      "Host Cluster",
		"var q = \"UPDATE `Host` SET \" + x":                     "Host",
		"var q = \"`\" + t.Name + \"`\"":                         "",
		"var q = \"update the Host\"":                            "",
		"var x, _ = s.Types.Get(\"Host\")":                       "Host",
		"var x, _ = s.Types.Get(name)":                           "",
		"var x = m.Get(\"Host\")":                                "",
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\n"+code, 0)
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, u := range tables(file) {
			found = append(found, u.table)
		}
		if got := strings.Join(found, " "); got != want {
			t.Errorf("%s: found %q, want %q", code, got, want)
		}
	}
	file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nvar T = resource.Define[Host](resource.Type{Path: \"/hosts\", Name: \"Host\"})\nvar U = other.Type{Name: \"No\"}", 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := declaredTypes(file); len(got) != 1 || got[0] != "Host" {
		t.Errorf("declared %v", got)
	}
}

package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// What is to be known of a type stands in its declaration: a map or a list by the
// names of types is a second place, which the next type is not in.
func TestTypesAreNotListed(t *testing.T) {
	files, parsed := token.NewFileSet(), []*ast.File{}
	names := map[string]bool{}
	sources(t, func(name string, content []byte) {
		if filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || !strings.HasPrefix(name, "core/") && !strings.HasPrefix(name, "web/") {
			return
		}
		file, err := parser.ParseFile(files, name, content, 0)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, file)
		for _, declared := range declaredTypes(file) {
			names[declared] = true
		}
	})
	if len(names) < 30 {
		t.Fatalf("only %d resource types were found; the test looks for the wrong words", len(names))
	}
	for _, file := range parsed {
		for _, at := range typeLists(file, names) {
			t.Errorf("%s: types are listed by name; make the fact an attribute of resource.Type", files.Position(at))
		}
	}
}

// typeLists finds maps with names of two types among their keys, and switches
// with names of two types among their cases.
func typeLists(file *ast.File, types map[string]bool) (found []token.Pos) {
	count := func(list []ast.Expr) (n int) {
		for _, e := range list {
			if kv, ok := e.(*ast.KeyValueExpr); ok {
				e = kv.Key
			}
			if name, ok := text(e); ok && types[name] {
				n++
			}
		}
		return n
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			if m, ok := n.Type.(*ast.MapType); ok && isString(m.Key) && count(n.Elts) > 1 {
				found = append(found, n.Pos())
			}
		case *ast.SwitchStmt:
			all := 0
			for _, c := range n.Body.List {
				all += count(c.(*ast.CaseClause).List)
			}
			if all > 1 {
				found = append(found, n.Pos())
			}
		}
		return true
	})
	return found
}

func isString(e ast.Expr) bool {
	name, ok := e.(*ast.Ident)
	return ok && name.Name == "string"
}

func TestTypeListsAreFound(t *testing.T) {
	types := map[string]bool{"Host": true, "Zone": true}
	for code, want := range map[string]int{
		`var m = map[string]bool{"Host": true, "Zone": true}`:                  1,
		`var m = map[string]bool{"Host": true, "other": true}`:                 0,
		`func f(s string) { switch s { case "Host": case "Zone", "other": } }`: 1,
		`func f(s string) { switch s { case "Host": } }`:                       0,
		`var l = []string{"Host", "Zone"}`:                                     0, // the users of a type in a declaration
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\n"+code, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(typeLists(file, types)); got != want {
			t.Errorf("%s: found %d, want %d", code, got, want)
		}
	}
}

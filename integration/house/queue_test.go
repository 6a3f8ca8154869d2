package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// turns is how many places wait for a turn to do something that is no message
// yet (Registry.Turn, Registry.Ask). The number only falls.
const turns = 3

// What stands in a queue is data: the message of a request with its parameters.
// A function could be neither listed nor run by another node.
func TestNoFunctionIsQueued(t *testing.T) {
	waits, queued := 0, 0
	sources(t, func(path string, content []byte) {
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "core/kernel/kerneltest/") || !strings.HasPrefix(path, "core/") && !strings.HasPrefix(path, "web/") {
			return
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, content, 0)
		if err != nil {
			t.Fatal(err)
		}
		q, w, found := queues(file)
		queued += q
		if !strings.HasPrefix(path, "core/action/") {
			waits += w
		}
		for _, at := range found {
			t.Errorf("%s: a function is queued; make it an internal message (action.Internal) and its variables parameters", files.Position(at))
		}
	})
	if queued < 3 {
		t.Errorf("only %d places queue anything; the test looks for the wrong name", queued)
	}
	if waits > turns {
		t.Errorf("%d places use Turn or Ask, %d are allowed: what another node could do as well is a message", waits, turns)
	}
}

// queues counts the calls of Submit, and of Turn and Ask of a registry, and finds
// functions among what is submitted, or in a type that can be (it has the method
// JobUUID).
func queues(file *ast.File) (submits, waits int, found []token.Pos) {
	works := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Name.Name == "JobUUID" && n.Recv != nil {
				receiver := n.Recv.List[0].Type
				if star, ok := receiver.(*ast.StarExpr); ok {
					receiver = star.X
				}
				if name, ok := receiver.(*ast.Ident); ok {
					works[name.Name] = true
				}
			}
		case *ast.CallExpr:
			sel, ok := n.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			switch sel.Sel.Name {
			case "Submit":
				submits++
				for _, arg := range n.Args {
					found = append(found, functions(arg)...)
				}
			case "Turn", "Ask":
				if on, ok := sel.X.(*ast.SelectorExpr); ok && on.Sel.Name == "Actions" {
					waits++
				}
			}
		}
		return true
	})
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok && works[spec.Name.Name] {
			found = append(found, functions(spec.Type)...)
		}
		return true
	})
	return submits, waits, found
}

// functions finds function literals and function types.
func functions(in ast.Node) (found []token.Pos) {
	ast.Inspect(in, func(n ast.Node) bool {
		if f, ok := n.(*ast.FuncType); ok {
			found = append(found, f.Pos())
		}
		return true
	})
	return found
}

func TestQueuedFunctionsAreFound(t *testing.T) {
	for text, want := range map[string]int{
		`func f() { q.Submit(Item{Key: "k", Work: &Order{}}) }`:                       0,
		`func f() { q.Submit("k", func() { g() }) }`:                                  1,
		`func f() { q.Submit(Item{Work: work(func() {})}) }`:                          1,
		`type work struct { key string; do func() }; func (w *work) JobUUID() string`: 1,
		`type work func(); func (work) JobUUID() string`:                              1,
		`type other struct { do func() }`:                                             0,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\n"+text, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, found := queues(file); len(found) != want {
			t.Errorf("%s: found %d, want %d", text, len(found), want)
		}
	}
}

package cascade

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// branch is one resource in the answer to ?plan=true.
type branch struct {
	Type string `json:"type"`
	// UUID is empty where it is a secret.
	UUID string `json:"uuid"`
	Name string `json:"name,omitempty"`
	// Action is "delete", "detach" (a column is cleared), or "keep" for the
	// resource from which others are taken.
	Action string `json:"action"`
	// Column is the one by which it depends on what stands above it.
	Column   string    `json:"column,omitempty"`
	Children []*branch `json:"children,omitempty"`
}

// answer is the whole answer: what is touched and who objects.
type answer struct {
	*branch
	Deleted    int         `json:"deleted"`
	Detached   int         `json:"detached"`
	Objections []Objection `json:"objections,omitempty"`
}

// MarshalJSON shows the plan as a tree: what depends on a resource stands
// below it, each resource once, under the one through which it was found.
func (t *Tree) MarshalJSON() ([]byte, error) {
	return json.Marshal(answer{branch: t.branch(), Deleted: len(t.Nodes), Detached: len(t.Detached), Objections: t.Objections})
}

func (t *Tree) branch() *branch {
	branches := make([]*branch, len(t.Nodes))
	of := make(map[key]*branch, len(t.Nodes))
	for i, n := range t.Nodes {
		branches[i] = &branch{Type: n.Type, UUID: n.UUID, Name: n.Name, Action: "delete", Column: n.Column}
		of[key{n.Type, n.UUID}] = branches[i]
		if n.secret {
			branches[i].UUID = ""
		}
		if n.Parent >= 0 {
			parent := branches[n.Parent]
			parent.Children = append(parent.Children, branches[i])
		}
	}
	for _, d := range t.Detached {
		if parent := of[key{d.TargetType, d.Target}]; parent != nil {
			parent.Children = append(parent.Children, &branch{Type: d.Type, UUID: d.UUID, Name: d.Name, Action: "detach", Column: d.Column})
		}
	}
	return branches[0]
}

// Named is a row, with the name by which people know it where its type has no
// names.
type Named struct{ Type, UUID, Name string }

// Removal is what an API message takes away.
type Removal struct {
	// Subject is what the message is about. It stays, unless it is one of Rows.
	Subject Named
	Rows    []Named
	// Against has what the message's own checks have against it.
	Against []error
}

// PlanRemoval returns what a message would do, and who objects, for
// ?plan=true: the tree of the delete of its subject, or the subject, which is
// kept, with the trees of what is taken from it. It changes nothing.
// errs.NotFound when the subject, or a row, is gone.
func (e *Engine) PlanRemoval(ctx context.Context, r Removal) (any, error) {
	var whole answer
	err := e.store.View(ctx, func(tx *store.Tx) error {
		whole = answer{branch: &branch{Type: r.Subject.Type, UUID: r.Subject.UUID, Name: r.Subject.Name, Action: "keep"}}
		if !slices.ContainsFunc(r.Rows, r.Subject.same) {
			if err := e.kept(ctx, tx, whole.branch); err != nil {
				return err
			}
		}
		for _, row := range r.Rows {
			tree, err := e.asked(ctx, tx, row.Type, row.UUID)
			if err != nil {
				return err
			}
			root := tree.branch()
			root.Name = cmp.Or(root.Name, row.Name)
			if row.same(r.Subject) {
				root.Children = append(root.Children, whole.Children...)
				whole.branch = root
			} else {
				whole.Children = append(whole.Children, root)
			}
			whole.Deleted += len(tree.Nodes)
			whole.Detached += len(tree.Detached)
			whole.Objections = append(whole.Objections, tree.Objections...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, why := range r.Against {
		whole.Objections = append(whole.Objections, objection(whole.Type, whole.UUID, whole.Name, why))
	}
	return whole, nil
}

func (n Named) same(o Named) bool { return n.Type == o.Type && n.UUID == o.UUID }

// kept completes the branch of a resource that stays.
func (e *Engine) kept(ctx context.Context, tx *store.Tx, b *branch) error {
	t, err := e.root(b.Type)
	if err != nil {
		return err
	}
	name, found, err := e.lookup(ctx, tx, t.Name, b.UUID)
	if err == nil && !found {
		err = errs.New(errs.NotFound, t.Name+" "+b.UUID, "it does not exist")
	}
	b.Type, b.Name = t.Name, cmp.Or(name, b.Name)
	return err
}

package cascade

import "encoding/json"

// branch is one resource in the answer to ?plan=true.
type branch struct {
	Type string `json:"type"`
	UUID string `json:"uuid"`
	Name string `json:"name,omitempty"`
	// Action is "delete" or "detach".
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
	branches := make([]*branch, len(t.Nodes))
	of := make(map[key]*branch, len(t.Nodes))
	for i, n := range t.Nodes {
		branches[i] = &branch{Type: n.Type, UUID: n.UUID, Name: n.Name, Action: "delete", Column: n.Column}
		of[key{n.Type, n.UUID}] = branches[i]
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
	return json.Marshal(answer{branch: branches[0], Deleted: len(t.Nodes), Detached: len(t.Detached), Objections: t.Objections})
}

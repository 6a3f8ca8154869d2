package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// Query is what a GET of a collection can ask; zero values ask nothing.
type Query struct {
	// Conditions in the grammar of the API, such as "vmNics.ip=10.0.0.5".
	Conditions []string
	Fields     []string
	// Sort is a field, with + or - before it.
	Sort         string
	Limit, Start int
	// Count asks for the number only; WithTotal for both.
	Count, WithTotal bool
	// Names asks for the names of what the inventories refer to.
	Names bool
}

// Page is the answer to a query.
type Page struct {
	Inventories []json.RawMessage `json:"inventories"`
	Total       int64             `json:"total"`
	// Names has what the inventories refer to by UUID, as far as the caller may
	// read it; nil from a server that does not tell.
	Names map[string]Name `json:"names"`
}

// Name is how people call a resource.
type Name struct{ Type, Label string }

// Query reads a collection, such as /vm-instances.
func (c *Client) Query(ctx context.Context, path string, q Query) (Page, error) {
	v := url.Values{}
	for _, cond := range q.Conditions {
		v.Add("q", cond)
	}
	set := func(name, value string, on bool) {
		if on {
			v.Set(name, value)
		}
	}
	set("fields", strings.Join(q.Fields, ","), len(q.Fields) > 0)
	set("sort", q.Sort, q.Sort != "")
	set("limit", strconv.Itoa(q.Limit), q.Limit > 0)
	set("start", strconv.Itoa(q.Start), q.Start > 0)
	set("count", "true", q.Count)
	set("replyWithCount", "true", q.WithTotal)
	set("names", "true", q.Names)
	if len(v) > 0 {
		path += "?" + v.Encode()
	}
	var page Page
	body, err := c.Do(ctx, Call{Method: http.MethodGet, Path: path})
	if err != nil {
		return page, err
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return page, errs.Wrap(errs.Internal, "server "+c.Server, err, "answer to the query of %s", path)
	}
	return page, nil
}

// Text reads a member of an inventory as text, "" when it is not there.
func Text(inventory json.RawMessage, member string) string {
	var m map[string]any
	if err := json.Unmarshal(inventory, &m); err != nil {
		return ""
	}
	s, _ := m[member].(string)
	return s
}

// Inventory returns the member "inventory" of an answer, nil when it has none.
func Inventory(answer json.RawMessage) json.RawMessage {
	var m struct {
		Inventory json.RawMessage `json:"inventory"`
	}
	if err := json.Unmarshal(answer, &m); err != nil {
		return nil
	}
	return m.Inventory
}

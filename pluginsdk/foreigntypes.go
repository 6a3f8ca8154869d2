package pluginsdk

import (
	"slices"
	"strings"

	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// MaxForeignID is how many characters a foreign ID has at most, MaxCursor how many
// bytes the cursor of a page has, and MaxPageRows how many rows a page has.
const (
	MaxForeignID = 255
	MaxCursor    = 16 << 10
	MaxPageRows  = 1000
)

// foreign checks what a type says of rows that stand for something outside.
func (c *typeCheck) foreign() {
	d, f := c.d, c.d.GetForeign()
	if d.Priced && d.Create == nil {
		c.fail("it has a price, but no message that makes one")
	}
	if f == nil {
		return
	}
	taken := c.fields["origin"] != nil || slices.ContainsFunc(d.Embeds, func(e *pluginv1.EmbedDecl) bool { return e.Name == "origin" }) ||
		slices.ContainsFunc(d.Edges, func(e *pluginv1.EdgeDecl) bool { return e.Name == "origin" })
	at := c.fields[strings.ToLower(f.Endpoint)]
	leads := func(e *pluginv1.EdgeDecl) bool { return e.Column == f.Endpoint && e.To == f.EndpointType }
	switch {
	case taken:
		c.fail("foreign: the name origin is that of where a row comes from")
	case at == nil || at.Name != f.Endpoint || !at.Required || !at.Immutable || at.Secret:
		c.fail("foreign: endpoint %q is no field that is required and immutable", f.Endpoint)
	case at.Ref != f.EndpointType && !slices.ContainsFunc(d.Edges, leads):
		c.fail("foreign: field %s does not refer to a %s", f.Endpoint, f.EndpointType)
	}
	if f.Create && (d.Create == nil || !d.Calls) {
		c.fail("foreign: to make something outside it needs a create message, and calls")
	}
	if f.Update && (d.Update == nil || !d.Calls) {
		c.fail("foreign: to change something outside it needs an update message, and calls")
	}
	for i, mode := range f.Delete {
		c.oneOf("foreign: mode of delete", mode, DeleteLocal, DeleteRemote)
		if mode == "" || slices.Contains(f.Delete[:i], mode) {
			c.fail("foreign: mode of delete %q is there twice, or none", mode)
		}
		if mode == DeleteRemote && !d.Calls {
			c.fail("foreign: to remove something outside it needs calls")
		}
	}
	if (len(f.Delete) > 0) != (d.Delete != nil) {
		c.fail("foreign: the delete message and its modes (delete) belong together")
	}
}

// foreign checks that the endpoints of foreign types are the plugin's own, what is
// brought from them, and that what is declared is implemented.
func (c *manifestCheck) foreign(p Plugin) {
	types, priced := map[string]*pluginv1.ResourceTypeDecl{}, false
	for _, d := range p.Manifest.ResourceTypes {
		types[d.Name], priced = d, priced || d.Priced
	}
	for _, d := range p.Manifest.ResourceTypes {
		if of := d.GetForeign().GetEndpointType(); d.Foreign != nil && (types[of] == nil || types[of].Foreign != nil) {
			c.fail("resource type " + d.Name + " is foreign by endpoints of type " + of + ", which is none of the plugin's, or foreign itself")
		}
	}
	brought := map[string]bool{}
	for _, inv := range p.Manifest.Inventories {
		c.inventory(inv, types, brought)
	}
	if has := len(p.Manifest.Inventories) > 0; has != (p.InventorySync != nil) {
		c.fail("inventories are declared and not implemented, or implemented and not declared")
	}
	if priced != (p.HybridCloud != nil) {
		c.fail("prices are declared and not implemented, or implemented and not declared")
	}
}

// inventory checks what is brought of one type of endpoints. brought has the types of
// all inventories so far.
func (c *manifestCheck) inventory(inv *pluginv1.InventoryDecl, types map[string]*pluginv1.ResourceTypeDecl, brought map[string]bool) {
	what := "inventory of " + inv.EndpointType
	if len(inv.Types) == 0 || brought[inv.EndpointType] {
		c.fail(what + " brings no types, or is declared twice")
	}
	brought[inv.EndpointType] = true
	for i, name := range inv.Types {
		d := types[name]
		if d.GetForeign().GetEndpointType() != inv.EndpointType || brought[name] {
			c.fail(what + " brings " + name + ", which is no foreign type of such endpoints, or is brought twice")
			continue
		}
		brought[name] = true
		for _, e := range d.Edges {
			if slices.Contains(inv.Types[i+1:], e.To) {
				c.fail(what + " brings " + name + " before " + e.To + ", to which it refers: parents come first")
			}
		}
	}
}

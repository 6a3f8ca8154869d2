// Package query answers queries over the graph: text becomes a typed tree,
// the tree becomes SQL with bound values, and rows become inventories, all by
// the types' declarations. It must not import anything of core but
// resource, store and access.
//
// A nested condition is a chain of inner joins, one for each edge, and rows are
// made distinct when an edge can have several targets: so the database may
// start from whichever end selects most, and stops early at a limit. Edges with
// one target are joined once, however many conditions use them; other conditions
// are each satisfied by a target of their own.
//
// An inventory is made by the database, as JSON arrays of the row and of all
// that is embedded in it, and written for the wire from these: a page is one
// statement, on MySQL two, whatever its inventories have in them.
package query

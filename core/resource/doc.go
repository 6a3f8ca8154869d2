// Package resource declares the graph: resource types, their fields, states,
// edges and owners, and the registry that knows them all. One declaration is
// the only list of a type's facts; tables, queries, inventories, routes and
// cascades are derived from it. It must not import anything of core.
package resource

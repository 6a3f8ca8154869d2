// Package tag keeps system tags (texts of known patterns that change how
// things work) and user tags (labels) of resources. It must not import any
// service, flow, cascade or the query engine.
package tag

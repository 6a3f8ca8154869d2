// Package tag keeps system tags (texts of known patterns that change how
// things work) and user tags (labels) of resources. It must not import any
// service, core/flow, core/cascade or core/query.
package tag

// Package provider is the service of the resource types that plugins declare as
// their own: it turns the declarations of manifests into types, keeps them for
// the days on which their plugin is not enabled, and serves their messages. Each
// is a flow that calls the plugin and writes the row. It knows no type by name.
// It must not import the other services.
package provider

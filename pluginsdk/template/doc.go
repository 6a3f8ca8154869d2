// Package template writes the source of a new plugin: a working primary
// storage that keeps volumes in a folder on each host, with its conformance
// test. It must not import anything of core, plugins or web.
package template

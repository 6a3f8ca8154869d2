// Package identity knows who calls: accounts and their passwords, sessions that
// slide, and access keys that sign. It must not import any service, flow or
// the query engine.
package identity

// Package identity knows who calls: accounts and their passwords, sessions that
// slide, and access keys that sign. It must not import any service,
// core/flow or core/query.
package identity

// Package action is the registry of API messages: for each one its route,
// parameters, checks and handler, from which web/api serves REST, OpenAPI is
// written and services call each other. It must not import core/query,
// core/job, core/identity or any service: what it needs of them are the small
// interfaces in ports.go, which core/kernel fills.
package action

// Package access says which rows an account may read and which it may change,
// from the declarations of resource types alone (Readable, Owned, OwnedBy,
// Follows) and from what is shared (SharedResource). It makes SQL conditions of
// that, so that ownership is a part of every look-up: core/query puts them into
// each scope of a query, core/action into the look-up of every parameter. It
// must not import core/query, core/action or a service, and it names no table
// but its own.
package access

// Package contract has the interfaces through which the services meet (hosts,
// guests, storage, images, networks) and the values that pass there.
//
// The rule: a service knows no other one, and never names another one's tables.
// What it needs of a neighbour is a method here, which the neighbour
// implements and the composition (web/serve) hands over. A method that takes a
// store.Querier reads in the caller's transaction, one that takes a store.Tx
// writes in it; one that takes neither may wait for plugins and must not be
// called inside a transaction. The package must not import any service.
package contract

// Package job keeps the API calls that are answered with 202: a row for each
// from the moment it is accepted until it expires, so that no call is
// forgotten by a restart. Clients wait for the end on an in-memory signal, or
// get it by a web hook.
//
// A job is "Processing" until the first of: Finish, the end of its flow
// (CompleteTx in the flow's last transaction, then Completed), or Start after a
// crash that left it without a flow. What came first stays.
//
// The package must not import anything of core but resource, store, dispatch
// and errtext.
package job

// Package job keeps the API calls that are answered with 202: a row for each
// from the moment it is accepted until it expires, so that no call is
// forgotten by a restart. Clients wait for the end on an in-memory signal, or
// get it by a web hook.
//
// A job is "Processing" until it ends, which its row does in one place (endTx):
// in the last transaction of its flow, if it runs one (CompleteTx, then
// Completed), otherwise with Finish, or with Start after a crash that left it
// without a flow. What came first stays. Jobs are a resource type: an account
// lists its own, the administrator all.
//
// The package must not import anything of core but resource, store, event,
// dispatch and errtext.
package job

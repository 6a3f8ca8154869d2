// Package flow runs everything that happens in Kumo: a list of steps on a
// typed state, each step with its undo, kept in a journal so that a crash at
// any point loses nothing.
//
//	var createDisk = flow.Define("create-disk",
//		flow.Tx("reserve", reserve, unreserve),      // database only
//		flow.Do("create", create, remove),           // touches the world
//		flow.Tx("record", record, nil))
//
// # Rules for steps
//
// Every do and every undo can be repeated, and an undo accepts that its do
// never happened: after a crash, a time-out or a lost answer nobody knows
// whether a call worked. A repeated Do step gives the same result, so
// identifiers and addresses are made in a step before the one that uses them.
// A Tx step touches its transaction and its state, nothing else.
//
// # What is written when
//
// Adjacent Tx steps share one transaction with the journal. The journal is
// written before the first Do step after them, and deleted, with the job
// completed, in the transaction of the last Tx steps. So a flow of the shape
// Tx… Do… Tx… is exactly two transactions, and a flow of Tx steps alone is one
// and writes no journal. Between Do steps nothing is written, because they
// repeat; a step marked with Checkpoint saves what it changed in the state.
//
// # Errors, stops and crashes
//
// When a step fails, the journal says so ("undoing"), the failing step and all
// before it are undone in reverse order, and Run returns the first cause. An
// undo that fails stops there: the caller gets its error, the journal stays as
// "undo-failed", Collect repeats the undo with growing delay, and Failed shows
// it. What such a flow holds is not in the row of its resource; so no other
// flow runs under the same key until it is over, and whoever works on the
// resource next has Finish repeat the undo at once.
//
// When the server stops, running flows end their step and stay in the journal;
// so do those of a crash. Resume goes on with all of them.
//
// The package must not import anything of core but resource, store and
// errtext.
package flow

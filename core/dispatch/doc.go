// Package dispatch gives every resource a queue: work on one key runs in the
// order in which it was submitted, work on different keys runs in parallel,
// and each kind of work has a bound, so that 10,000 starts of virtual machines
// do not start 10,000 image downloads.
//
// It is what makes row locks and distributed locks needless: whoever wants to
// change a resource queues under its key. Work must therefore never wait for
// work under its own key, and never for work of its own kind.
//
// It must not import anything of core.
package dispatch

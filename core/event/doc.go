// Package event tells who asks what happened to which resource: the stream of
// events, caches, whoever else subscribes. It hears of changes from the
// transactions that made them (store.Watcher), after their commit, so that there
// is no event without a change and no change without its event.
//
// A bus is in memory and bounded: who is too slow is told how many events are
// gone and reads again what it shows. What must not miss one subscribes durably:
// its events are written in the transaction itself (Durable).
//
// It must not import anything of core but resource and store.
package event

// Package world is the simulated machine room: hosts with their guests,
// storages with their volumes and images, bridges and the network services'
// bindings. It refuses what could not happen in a real one, such as a guest on
// a volume that does not exist, so that leaks and wrong orders are found. It
// knows nothing of plugins and must not import anything of the project but
// pluginsdk/errs.
//
// Every change is one line of an append-only log, which is written before the
// call that made the change returns: what a call has answered survives the
// death of the process, though not of the machine. Load reads a world from its
// log at any time, also while a plugin is using it.
package world

// Package pluginsdk is all that the author of a Kumo plugin needs: the
// strategy interfaces, Serve, the way back to the core, and typed errors that
// survive the wire.
//
// The way back (Core) asks as the manifest's permissions allow: it reads settings and
// rows, makes calls of the API and of hosts' agents, and reports progress. What it
// asks belongs to the operation of the context that it is given, which is that of
// the call which the plugin works for: by it the core knows the caller, what the
// operation works on already, and a repeat from a first time.
//
// It must not import anything of core, plugins or web.
package pluginsdk

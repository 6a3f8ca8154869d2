// Package pluginsdk is all that the author of a Kumo plugin needs: the
// strategy interfaces, Serve, the way back to the core, and typed errors that
// survive the wire. It must not import anything of core, plugins or web.
package pluginsdk

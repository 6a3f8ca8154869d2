// Package wire is a small client of the REST API for tests and measurements:
// it logs in, makes calls and waits for their jobs, queries, and sets up a
// simulated cloud. It knows the wire only: it must not import core, web,
// plugins or pluginsdk, so that it finds what those agree on by mistake.
package wire

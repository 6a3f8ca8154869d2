// Package serve puts a Kumo server together from the core's parts and runs it:
// options, wiring, start and orderly end. It is the only place that knows all
// services; it must not hold any of their logic.
package serve

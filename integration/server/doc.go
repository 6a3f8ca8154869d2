// Package server runs the real kumo binary for tests: it builds the server and
// its plugins once per test binary, starts them on a free loopback port with a
// data folder of their own, stops or kills them, makes sure that no plugin
// process outlives its core, and audits that database and simulated world
// explain each other. It must not import core or web: what it starts is what
// users start.
package server

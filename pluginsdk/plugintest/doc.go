// Package plugintest is the conformance kit for plugins: it runs a plugin
// through real gRPC, checks each strategy call for what the contract promises
// (repeat, undo, parallel, cancel, wrong input, lost answers) and prints a
// report. It must not import anything of core, plugins or web.
package plugintest

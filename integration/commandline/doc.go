// Package commandline runs the real kumo program against a real server, as a
// person would, and holds the command line's table of the API against the
// server's own description. It imports nothing of the project but web/cli's
// catalogue and integration/server.
package commandline

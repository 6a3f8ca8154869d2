// Package commandline runs the real kumo program against a real server, as a
// person would: its nouns, verbs and flags are those that the server describes.
// It must not import anything of the project but integration/server.
package commandline

// Package cli is the command line, a client of the REST API: "kumo vm create"
// and the like, made from what the server says of itself (package schema). Results
// go to stdout, talk goes to stderr, and an error is one line and exit code 1. It
// names no resource type and must not import core or web/api: what it can do, every
// client of the API can.
package cli

// Package cli is the command line, a client of the REST API: "kumo vm create"
// and the like, made from package catalog. Results go to stdout, talk goes to
// stderr, and an error is one line and exit code 1. It must not import core or
// web/api: what it can do, every client of the API can.
package cli

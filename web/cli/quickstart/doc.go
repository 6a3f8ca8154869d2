// Package quickstart makes an all-in-one cloud on the server's own machine, and
// takes it down again, through the public REST API: what "make run" and "make
// down" do to the server. It must not import core or web/api.
package quickstart

// Command bench measures the speed and size of a Kumo server on simulated
// hosts, through its public REST API and with real processes, and of the agent of
// a host with many guests, and prints one table. It ends with status 1 when anything failed; a missed goal is shown and
// is no failure. It must not import core or web: it knows what a client knows.
package main

// Package topology is the service of zones, clusters and hosts: it keeps their
// rows, connects and watches hosts through hypervisor plugins, and accounts for
// the CPU and memory of hosts. It knows hypervisors only by what their plugins
// declare, and must not import the other services: they observe hosts
// through the moments of core/contract.
package topology

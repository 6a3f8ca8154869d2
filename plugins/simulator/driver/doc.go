// Package driver is the simulator as Kumo sees it: a hypervisor, a primary and
// a backup storage, a layer 2 network and a network service, all of one world
// (package world) and all subject to the rules of package fault. It must not
// import core or web.
package driver

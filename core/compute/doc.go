// Package compute is the service of guests: VM instances, their CD-ROMs and
// the offerings they are made from. It runs the flows of a guest's life and
// calls hypervisor plugins. Hosts, volumes, images and addresses belong to
// other services, which it knows only through the interfaces of contract: it
// must not import the other services.
package compute

// Package domain writes the libvirt definition of a guest from what the core
// says of it, and reads back what the driver needs. It does no I/O and must not
// import anything of core or web.
package domain

// Package driver is the KVM hypervisor: it runs guests by libvirt and carries
// the calls of other plugins to the agents on hosts. It keeps connections, and
// no state that a restart would lose. It must not import anything of core or
// web.
package driver

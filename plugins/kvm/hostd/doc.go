// Package hostd is the agent on a KVM host: the typed operations of
// kumo.host.v1 on folders, disks and network state, and the life of its
// process. It must not import anything of core, web or
// plugins/kvm/driver.
package hostd

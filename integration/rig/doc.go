// Package rig gives tests a machine of their own: Main runs a test binary again
// inside new network, mount and process namespaces, where bridges, dnsmasq,
// libvirtd and guests can be made freely and vanish when the binary ends, even
// by a crash. It must not import anything of the project.
package rig

// Package hostlink reaches a KVM host: it puts the agent there and starts it,
// and opens the connections to the agent and to libvirt, by unix sockets on
// this machine and by SSH and mutual TLS elsewhere. It must not import anything
// of core or web.
package hostlink

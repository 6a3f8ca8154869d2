// Package network is the service of layer 2 and layer 3 networks, IP ranges,
// addresses and guests' NICs, and of the network service providers that
// plugins bring. It must not import the other services.
package network

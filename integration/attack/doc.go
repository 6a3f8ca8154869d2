// Package attack tries to stop a server, or to starve its other users: with what
// one account or a stranger may send it, and as much of it as a machine can. It
// has tests only, behind the build tag attack, as each loads the whole machine
// for a while; `make attack` runs them.
package attack

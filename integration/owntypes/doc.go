// Package owntypes proves, against a real server, that a plugin observes calls, and brings resource
// types of its own without an edit elsewhere: integration/samples/keypair is the
// ssh key pair made again. It must not import core or web.
package owntypes

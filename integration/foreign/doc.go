// Package foreign proves, against a real server, what the core does with things outside,
// on the sample integration/samples/nimbus and its cloud. It must not import core or web.
package foreign

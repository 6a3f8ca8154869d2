// Package catalogue compares registered actions with the facts of ZStack's API
// catalogue, so that the wire stays what clients expect. It is for tests and
// must not import any service.
package catalogue

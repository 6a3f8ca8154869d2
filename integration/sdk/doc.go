// Package sdk proves that the public Go SDK of ZStack, unmodified, works
// against a real server. It has tests only.
package sdk

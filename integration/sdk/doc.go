// Package sdk proves that the public Go SDK of ZStack, unmodified, works
// against a real server: Walk has it make a cloud, use it and remove it again.
// What the cloud runs on is a Backend; the tests here bring simulated hosts,
// those in integration/guests/sdk a real one. It must not import core, web or
// plugins.
package sdk

// Package nimbus is a small invented cloud over HTTP, for the tests of what the core does
// with clouds: regions, zones and instances, requests that are signed, pages, and a
// service that at times asks to slow down. It must be imported by tests only.
package nimbus

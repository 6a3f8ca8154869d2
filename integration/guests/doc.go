// Package guests brings up a real cloud for tests: the real server with the
// plugins kvm, localstorage, imagestore and flat, libvirtd and QEMU in the
// sandbox of the test binary, all of it driven through the REST API. It must
// not import core, web or plugins: what it starts is what users start.
package guests

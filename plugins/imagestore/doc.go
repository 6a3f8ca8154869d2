// Command kumo-plugin-imagestore keeps images in a folder of the management
// node and serves them to hosts over HTTP. It must not import anything of core,
// web or another plugin.
//
// It has no state but the store's folder and a signing key in its own one:
//
//	<url>/images/<image uuid>/image.<format>   the bytes, never changed
//	<url>/images/<image uuid>/image.json       what is known of them (record)
//	<url>/incoming/<uuid>-<random>/            an image on its way in or out
//	<data dir>/signing.key                     signs the URLs given out
//
// An image comes and goes by one rename of its folder, so it is there as a
// whole or not at all; what a crash leaves in incoming is swept when the store
// connects. A running process holds a lock on the folders it works in.
//
// Images come from strangers. Their bytes are checked before QEMU's tools see
// them (inspect.go), because some formats name other files to be opened. Then
// they are read to their end (whole.go).
package main

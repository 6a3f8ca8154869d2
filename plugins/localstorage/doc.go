// Command kumo-plugin-localstorage keeps guests' volumes as qcow2 files in a
// folder of the host that runs them. It reaches a host only through the typed
// operations of kumo.host.v1 (env.Core.Host) and must not import anything of
// core, web or another plugin.
//
// Everything lies below the storage's url, the same folder on each host. Making
// and removing a volume is one operation there and leaves nothing behind:
//
//	<url>/imagecache/<image uuid>.<qcow2|raw|iso>   read only, shared by volumes
//	<url>/volumes/<volume uuid>.qcow2               blank, or an overlay on the cache
//
// A file's place follows from its UUID alone, so a volume can be removed
// although the answer to its creation was never seen. The extension of a
// cached image is its format, which was checked when the image was stored;
// nobody guesses it from bytes that a guest's owner may have chosen.
package main

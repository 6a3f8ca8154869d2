// Package image is the service of backup storages and the images in them. It
// knows stores only by what their plugins declare, and must not import the
// other services.
package image

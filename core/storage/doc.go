// Package storage is the service of primary storages and volumes: their rows,
// their capacity, the image cache, and the calls to storage plugins. It knows
// storages only by what their plugins declare, and must not import the other
// services.
package storage

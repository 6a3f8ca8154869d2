// Package config keeps the settings that can be changed at run time: global
// ones and overrides for single resources. Readers never wait: values are in
// memory, and the one writer replaces them when its transaction has committed.
// It must not import any service, core/flow or core/query.
package config

// Package plugin finds, starts, watches, restarts and upgrades the plugin
// processes and hands out typed clients of their strategies. It must not import
// anything of core: what plugins may ask comes in as a CoreHandler.
package plugin

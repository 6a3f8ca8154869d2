// Package suite is the core suite: all that the REST API promises, on the
// simulator plugin, the same on SQLite and on MariaDB. It has tests only.
package suite

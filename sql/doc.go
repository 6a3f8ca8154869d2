// Package sql holds the versioned migrations of the core's tables, one text
// for SQLite and MySQL/MariaDB, and what differs between the two dialects. It
// must not import anything of the project.
package sql

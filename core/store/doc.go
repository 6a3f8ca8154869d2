// Package store keeps the graph's rows in SQLite or MySQL/MariaDB: typed rows
// by declaration, transactions, group commit, migrations. The database is the
// truth; nothing is cached here. It must import nothing of core but resource.
//
// It talks to the two drivers through database/sql/driver and not through
// database/sql: SQLite needs exactly one writing connection whose prepared
// statements stay open, and the pool's copying, locking and one goroutine for
// each query cost more than SQLite itself for a row by its key.
package store

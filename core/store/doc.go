// Package store keeps the graph's rows in SQLite or MySQL/MariaDB: typed rows
// by declaration, transactions, group commit, migrations. The database is the
// truth: what is kept in memory (Cached) is what it would answer. It must not
// import anything of core but resource and batch.
//
// sqlx does the work. It opens and pools the connections of both databases
// (*sqlx.DB), begins and ends the transactions that write (*sqlx.Tx), expands
// lists for IN (sqlx.In) and runs what is not kept prepared; its reflectx finds
// the fields of rows by their db tags, in package resource. On MySQL every
// statement is a *sqlx.Stmt of the pool, bound to the transaction it runs in,
// and every row is scanned by database/sql.
//
// On SQLite connections are pinned (*sqlx.Conn): one that writes, since SQLite
// has one writer, and a few that read. Their prepared statements are reached
// through Conn.Raw (file direct.go): a query there takes microseconds, and what
// database/sql does around each one (locks, a record of open rows, conversion
// and copy of values, a goroutine for each query in a transaction) was measured
// to cost 18 % of creating a guest and 26 % of a read by key. Reached through
// Raw, creating a guest costs what it costs without sqlx, within 5 %. For MySQL
// the network hides the difference.
package store

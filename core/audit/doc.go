// Package audit keeps who changed what: one row for each call that changes
// something or was refused, written with the end of its job, in the transaction
// that ends it. It learns of that end from the job's row (store.Watcher), so that
// whoever ends a job, also after a restart, ends its audit.
//
// No parameter and no value is kept, only the names of fields: a value may be a
// secret. Refused calls are limited by account and address, so that nobody fills
// the disk with them.
//
// It must not import the services.
package audit

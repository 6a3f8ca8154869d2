package store

import "context"

// Owner is the management node on whose behalf the rows of work are written:
// journals and jobs carry its UUID and epoch. The zero Owner is the only node
// there is, as in tests of single packages.
type Owner struct {
	// UUID is the node's, Epoch the number of its stay.
	UUID  string
	Epoch int64
	// Check refuses a transaction of a node whose stay is over, with
	// errs.Refused; nil refuses none.
	Check func(ctx context.Context, tx *Tx) error
	// Holds reports whether the work under a dispatch key is this node's; nil
	// says so of all.
	Holds func(key string) bool
}

// Guard is called in each transaction that writes a journal or a job. Its error
// ends the transaction: a node whose epoch is over commits nothing.
func (o *Owner) Guard(ctx context.Context, tx *Tx) error {
	if o.Check == nil {
		return nil
	}
	return o.Check(ctx, tx)
}

// Owns is asked by loops before each item.
func (o *Owner) Owns(key string) bool { return o.Holds == nil || o.Holds(key) }

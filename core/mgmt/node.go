package mgmt

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
	"github.com/kumo-cloud/kumo/sql"
)

// lease is how long after its last heartbeat a node counts as alive when
// nothing proves that it is dead; it is the lease of the default interval.
const lease = time.Minute

// Epoch is one stay of a node in the database. Its row is written when a node
// joins and when its stay is over, and never by heartbeats, so that every
// transaction of the node may hold it (Node.Guard).
type Epoch struct {
	// UUID is the node's; that of the row which counts is all zeros.
	UUID string `db:"uuid" kumo:"size=32,immutable"`
	// Number is the epoch of the node's last stay; in the counting row, the
	// last number given to anybody.
	Number int64 `db:"number"`
	// Over is set when that stay has ended, by the node or by its successor.
	Over bool `db:"ended"`
}

var epochs = resource.Define[Epoch](resource.Type{Name: "NodeEpoch", Readable: resource.Admin, Internal: true})

// counter is the uuid of the row that counts epochs. Who holds it is alone in
// joining.
const counter = "00000000000000000000000000000000"

// Node is the stay of this management node in the database. Its methods may be
// called from any goroutine.
type Node struct {
	// UUID is the node's: the same as long as it keeps its data folder.
	UUID string
	// Epoch is the number of this stay, higher than that of every stay before
	// it, of any node.
	Epoch int64

	store    *store.Store
	host     string
	identity *Identity
	log      hclog.Logger

	mu    sync.Mutex
	ended bool
	over  chan struct{}
}

// Join makes this process the node that serves the database. identity proves
// who it is, host is what people call the machine.
//
// One node serves a database. errs.Refused names the one that does, since when,
// and its last sign of life. A node that has died is succeeded at once when it is
// provably dead: its database is a file, whose lock this process holds, or it was
// the same node. Otherwise it is succeeded when its lease is over. The stay of
// whoever is succeeded is over: it cannot commit any more (Guard).
func Join(ctx context.Context, st *store.Store, identity *Identity, host string, log hclog.Logger) (*Node, error) {
	n := &Node{UUID: identity.UUID, store: st, host: host, identity: identity, log: log, over: make(chan struct{})}
	err := st.Update(ctx, func(tx *store.Tx) error {
		var err error
		if n.Epoch, err = nextEpoch(ctx, tx); err != nil {
			return err
		}
		now, err := clock(ctx, tx)
		if err != nil {
			return err
		}
		if err := n.succeed(ctx, tx, now); err != nil {
			return err
		}
		if err := store.Delete(ctx, tx, epochs.Type, n.UUID); err != nil {
			return err
		}
		if err := store.Insert(ctx, tx, epochs, &Epoch{UUID: n.UUID, Number: n.Epoch}); err != nil {
			return err
		}
		return store.Insert(ctx, tx, ManagementNodeType, &ManagementNode{UUID: n.UUID, HostName: host,
			JoinDate: now, HeartBeat: now, Lease: lease.Milliseconds()})
	})
	if err != nil {
		return nil, errs.Wrap(errs.ClassOf(err), "management node "+host, err, "cannot join")
	}
	return n, nil
}

// nextEpoch counts, and so waits for everybody else who joins.
func nextEpoch(ctx context.Context, tx *store.Tx) (int64, error) {
	n, err := tx.Exec(ctx, "UPDATE `NodeEpoch` SET `number` = `number` + 1 WHERE `uuid` = ?", counter)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 1, store.Insert(ctx, tx, epochs, &Epoch{UUID: counter, Number: 1})
	}
	row, err := store.Get(ctx, tx, epochs, counter)
	if err != nil {
		return 0, err
	}
	return row.Number, nil
}

// clock is the time by which nodes judge each other: the database's, where it
// has one of its own.
func clock(ctx context.Context, tx *store.Tx) (resource.Time, error) {
	if tx.Dialect() == sql.SQLite {
		return resource.Now(), nil
	}
	var now resource.Time
	err := tx.Each(ctx, "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)", nil, func(r *store.Row) error {
		now = resource.UnixMilli(r.Int(0))
		return nil
	})
	return now, err
}

// succeed ends the stays of nodes that are dead; it refuses while another lives.
func (n *Node) succeed(ctx context.Context, tx *store.Tx, now resource.Time) error {
	nodes, err := store.Find(ctx, tx, ManagementNodeType, "")
	if err != nil {
		return err
	}
	for _, other := range nodes {
		if tx.Dialect() != sql.SQLite && other.UUID != n.UUID && other.alive(now) {
			return errs.New(errs.Refused, "the database", "node %s (%s) has held it since %s; its last heartbeat is %s old",
				other.HostName, other.UUID, other.JoinDate.Format(time.RFC3339), now.Sub(other.HeartBeat.Time).Round(time.Millisecond)).
				WithAdvice("end that server, or use another database; a server that died is succeeded %s after its last heartbeat, or at once with its own data folder",
					time.Duration(other.Lease)*time.Millisecond)
		}
		if err := store.Delete(ctx, tx, ManagementNodeType.Type, other.UUID); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, "UPDATE `NodeEpoch` SET `ended` = ? WHERE `ended` = ? AND `uuid` <> ?", true, false, counter)
	return err
}

// alive reports whether the node has told of itself within its lease.
func (m *ManagementNode) alive(now resource.Time) bool {
	return now.Sub(m.HeartBeat.Time) < time.Duration(m.Lease)*time.Millisecond
}

// Owns reports whether work under a key of dispatch is this node's. It is to be
// asked by loops before each item: false once the stay is over, and for what
// another node does. One node owns all keys. A nil Node, as in tests of single
// services, owns everything.
func (n *Node) Owns(string) bool {
	if n == nil {
		return true
	}
	select {
	case <-n.over:
		return false
	default:
		return true
	}
}

// Over is closed when the stay has ended: by Leave, or because another node has
// succeeded this one, which then may not work any more.
func (n *Node) Over() <-chan struct{} { return n.over }

// Guard refuses a transaction of a node whose stay is over (errs.Refused), and
// makes a successor wait for the transaction's end, so that nothing of the old
// stay is committed after the new one has begun. Whoever writes the journal or
// jobs asks it first. On SQLite it costs nothing: the lock of the file ends with
// the process, so no successor can exist beside it.
func (n *Node) Guard(ctx context.Context, tx *store.Tx) error {
	if n == nil {
		return nil
	}
	if !n.Owns("") {
		return n.isOver()
	}
	if tx.Dialect() == sql.SQLite {
		return nil
	}
	valid := false
	err := tx.Each(ctx, "SELECT `number` FROM `NodeEpoch` WHERE `uuid` = ? AND `ended` = ? LOCK IN SHARE MODE", []any{n.UUID, false},
		func(r *store.Row) error {
			valid = r.Int(0) == n.Epoch
			return nil
		})
	if err == nil && !valid {
		n.end()
		err = n.isOver()
	}
	return err
}

func (n *Node) isOver() error {
	return errs.New(errs.Refused, "management node "+n.host, "its epoch %d is over: another server has taken the database over, or this one is stopping", n.Epoch)
}

func (n *Node) end() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.ended {
		n.ended = true
		close(n.over)
	}
}

// beat tells that the node lives, and will again within the interval.
func (n *Node) beat(ctx context.Context, interval time.Duration) error {
	found := int64(0)
	err := n.store.Update(ctx, func(tx *store.Tx) error {
		if err := n.Guard(ctx, tx); err != nil {
			return err
		}
		now, err := clock(ctx, tx)
		if err != nil {
			return err
		}
		found, err = tx.Exec(ctx, "UPDATE `ManagementNode` SET `heartBeat` = ?, `lease` = ? WHERE `uuid` = ?",
			now, (staleAfter * interval).Milliseconds(), n.UUID)
		return err
	})
	if err == nil && found == 0 {
		n.end()
		err = n.isOver()
	}
	return err
}

// Leave ends the stay, so that another server may begin at once, and gives the
// node's identity back. It may be repeated. ctx bounds it.
func (n *Node) Leave(ctx context.Context) error {
	var err error
	if n.Owns("") {
		err = n.store.Update(ctx, func(tx *store.Tx) error {
			if err := n.Guard(ctx, tx); err != nil {
				return err
			}
			if err := store.Set(ctx, tx, epochs.Type, n.UUID, map[string]any{"ended": true}); err != nil {
				return err
			}
			return store.Delete(ctx, tx, ManagementNodeType.Type, n.UUID)
		})
		n.end()
	}
	n.identity.close()
	return err
}

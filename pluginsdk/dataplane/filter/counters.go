package filter

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	hostv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/host/v1"
)

// Counters tells what each rule of an owner has matched, by the rules' IDs. Nothing
// when there are no ports, as then nothing is filtered.
func Counters(owner string) ([]*hostv1.FilterCounter, error) {
	conn, err := dial()
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.CloseLasting() }()
	objects, err := conn.GetNamedObjects(tables[inetTable])
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the counters of the packet filter: %w", err)
	}
	var all []*hostv1.FilterCounter
	for _, o := range objects {
		n, is := o.(*nftables.NamedObj)
		if !is || n.Type != nftables.ObjTypeCounter {
			continue
		}
		c, counts := n.Obj.(*expr.Counter)
		if id, its := strings.CutPrefix(n.Name, owner+"/"); its && counts {
			all = append(all, &hostv1.FilterCounter{Id: id, Packets: c.Packets, Bytes: c.Bytes})
		}
	}
	slices.SortFunc(all, func(a, b *hostv1.FilterCounter) int { return strings.Compare(a.GetId(), b.GetId()) })
	return all, nil
}

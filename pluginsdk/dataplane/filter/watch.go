package filter

import (
	"context"
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// watchBuffer is for what one transaction of a whole host says.
const watchBuffer = 64 << 20

// Watch calls changed after each transaction of somebody else that is about our
// tables, or about all, until ctx ends (nil) or the kernel's messages break off (the
// error). changed is called first when the messages come.
func (f *Filter) Watch(ctx context.Context, changed func()) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("open the kernel's packet filter: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		if stop() {
			_ = conn.Close()
		}
	}()
	if err := conn.SetReadBuffer(watchBuffer); err != nil {
		return fmt.Errorf("follow the kernel's packet filter: %w", err)
	}
	if err := conn.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		return fmt.Errorf("follow the kernel's packet filter: %w", err)
	}
	changed()
	ours := false
	for {
		messages, err := conn.Receive()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("follow the kernel's packet filter: %w", err)
		}
		for _, m := range messages {
			if uint16(m.Header.Type) == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN {
				// A transaction ends with its generation.
				if ours && !f.isOwn(generationOf(m)) {
					changed()
				}
				ours = false
				continue
			}
			ours = ours || isOurs(m)
		}
	}
}

// isOwn says whether a generation is of a transaction of ours; it waits for the one
// that is being made.
func (f *Filter) isOwn(generation uint32) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	own := f.made[generation]
	delete(f.made, generation)
	return own
}

// isOurs says whether a message is about one of our tables. Each kind of message has
// the table's name in its first attribute.
func isOurs(m netlink.Message) bool {
	if len(m.Data) < 4 || uint16(m.Header.Type)>>8 != unix.NFNL_SUBSYS_NFTABLES {
		return false
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[4:])
	if err != nil {
		return false
	}
	family := nftables.TableFamily(m.Data[0])
	return ad.Next() && ad.Type() == unix.NFTA_TABLE_NAME && ad.String() == tableName &&
		(family == nftables.TableFamilyBridge || family == nftables.TableFamilyINet)
}

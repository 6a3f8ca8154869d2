package serve

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"

	"github.com/kumo-cloud/kumo/core/identity"
	"github.com/kumo-cloud/kumo/core/store"
)

// start takes up what the last process left and begins the background work,
// which ends with ctx.
func (p *parts) start(ctx context.Context) error {
	if err := p.order.Prepare(ctx); err != nil {
		return err
	}
	return p.order.Start(ctx)
}

// bootstrap makes the administrator's account at the first start. Its password
// is the given one; else "password" when only this machine can reach the API,
// and otherwise a random one that is printed once.
func (p *parts) bootstrap(ctx context.Context) error {
	password, told := p.options.AdminPassword, true
	if password == "" {
		password = "password"
		if !p.options.loopbackOnly() {
			var b [15]byte
			if _, err := rand.Read(b[:]); err != nil {
				return fmt.Errorf("make the administrator's password: %w", err)
			}
			password, told = base64.RawURLEncoding.EncodeToString(b[:]), false
		}
	}
	before, err := store.Count(ctx, p.kernel.Store, identity.AccountType.Type, "")
	if err != nil {
		return err
	}
	if err := unusedFolder(p.options.DataDir, before == 0); err != nil {
		return err
	}
	if err := p.identity.Bootstrap(ctx, password); err != nil {
		return err
	}
	if err := markFolder(p.options.DataDir); err != nil {
		return err
	}
	if before == 0 && !told {
		fmt.Fprintf(os.Stdout, "account admin was made; its password, shown only now: %s\n", password)
	}
	return nil
}

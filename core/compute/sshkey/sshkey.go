// Package sshkey keeps the public keys of accounts, for guests to use. It is
// also the sample of a resource type: all that the core needs to know of one
// is declared here (CONTRIBUTING.md). It must not import the services.
package sshkey

import (
	"context"

	"golang.org/x/crypto/ssh"

	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/pluginsdk/errs"
)

// KeyPair is a public key; the private one never reaches Kumo.
type KeyPair struct {
	resource.Base
	resource.Owned
	PublicKey string `db:"publicKey" kumo:"size=4096" caption:"Public key|公钥"`
}

// Type declares key pairs: table, query fields, inventory, owner and cascade
// come from it.
var Type = resource.Define[KeyPair](resource.Type{
	Name: "SshKeyPair", Path: "/ssh-key-pair", Owned: true,
	FQN: "org.zstack.header.sshkeypair.SshKeyPairInventory",
	View: resource.View{
		Caption: resource.Say("SSH key pair", "SSH密钥"), Noun: "ssh-key", Aliases: []string{"ssh-key-pair"},
		Group: "compute", Order: 50, Icon: "key",
		Doc:     resource.Say("A public key that VMs let in.", "注入云主机的 SSH 公钥。"),
		Columns: []string{"name", "publicKey", "createDate"},
	},
})

// Types returns the resource types of this package.
func Types() []*resource.Type { return []*resource.Type{Type.Type} }

// create holds the parameters of APICreateSshKeyPairMsg.
type create struct {
	Name        string `api:"name,required,max=255"`
	Description string `api:"description,max=2048"`
	PublicKey   string `api:"publicKey,required,max=4096"`
}

// Register registers create, update, delete; the query comes by itself.
func Register(k *kernel.Kernel) error {
	action.Register(k.Actions, action.Action{
		Message: "APICreateSshKeyPairMsg", Method: "POST", Path: "/ssh-key-pair", Async: true, Create: true,
		Access: action.Normal, Returns: "SshKeyPair", Doc: "Stores a public key for guests to use.",
	}, func(ctx context.Context, c *action.Call, p *create) (action.Ref, error) {
		if _, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(p.PublicKey)); err != nil || len(rest) > 0 {
			return action.Ref{}, errs.New(errs.Invalid, "publicKey", "is not one key in OpenSSH's authorized_keys format")
		}
		row := &KeyPair{PublicKey: p.PublicKey}
		row.UUID, row.Name, row.Description, row.AccountUUID = c.ResourceUUID, p.Name, p.Description, c.Caller.AccountUUID
		return action.Ref{Type: "SshKeyPair", UUID: row.UUID}, k.Store.Update(ctx, func(tx *store.Tx) error {
			if err := store.Insert(ctx, tx, Type, row); err != nil {
				return err
			}
			return k.Tags.CreateFor(ctx, tx, "SshKeyPair", row.UUID, c)
		})
	})
	if err := k.RegisterUpdate(Type.Type, action.Normal, nil); err != nil {
		return err
	}
	return k.RegisterDelete(Type.Type, action.Normal)
}

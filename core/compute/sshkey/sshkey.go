// Package sshkey keeps the public keys of accounts, for guests to use. It is
// also the sample of a resource type: all that the core needs to know of one
// is declared here (CONTRIBUTING.md). It must not import the services.
package sshkey

import (
	"github.com/kumo-cloud/kumo/core/action"
	"github.com/kumo-cloud/kumo/core/kernel"
	"github.com/kumo-cloud/kumo/core/resource"
)

// KeyPair is a public key; the private one never reaches Kumo.
type KeyPair struct {
	resource.Base
	resource.Owned
	PublicKey string `db:"publicKey" kumo:"size=4096,holds=key" caption:"Public key|公钥"`
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
	kernel.Named
	PublicKey string `api:"publicKey,required,max=4096,holds=key"`
}

// Register registers create, update, delete; the query comes by itself.
func Register(k *kernel.Kernel) error {
	kernel.RegisterCreate(k, kernel.Creation[KeyPair, create]{
		Type: Type, Path: "/ssh-key-pair", Access: action.Normal, Doc: "Stores a public key for guests to use.",
		Row: func(_ *action.Call, p *create) (*KeyPair, error) {
			return &KeyPair{PublicKey: p.PublicKey}, nil
		},
	})
	if err := k.RegisterUpdate(Type.Type, action.Normal, nil); err != nil {
		return err
	}
	return k.RegisterDelete(Type.Type, action.Normal)
}

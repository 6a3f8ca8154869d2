package access

import "github.com/kumo-cloud/kumo/core/resource"

// Shared is the row that lets another account, or all, read a resource and
// what is a part of it. It gives no right to change it (catalogue README,
// section 7: sharing with write permission is of closed modules).
type Shared struct {
	UUID             string        `db:"uuid" kumo:"size=32,immutable,hidden"`
	OwnerAccountUUID string        `db:"ownerAccountUuid" kumo:"size=32,index" caption:"Owner|所有者"`
	ReceiverUUID     string        `db:"receiverAccountUuid" kumo:"size=32,null,immutable,index" caption:"Shared with|共享给"`
	ToPublic         bool          `db:"toPublic" kumo:"immutable,index" caption:"Shared with all|全局共享"`
	ResourceType     string        `db:"resourceType" kumo:"size=64,immutable"`
	ResourceUUID     string        `db:"resourceUuid" kumo:"size=32,immutable,index,refby=resourceType"`
	LastOpDate       resource.Time `db:"lastOpDate"`
	CreateDate       resource.Time `db:"createDate" kumo:"immutable"`
}

// SharedType is the type of what is shared.
var SharedType = resource.Define[Shared](resource.Type{
	Name: "SharedResource", Path: "/accounts/resources", Readable: resource.Admin,
	FQN:     "org.zstack.header.identity.SharedResourceInventory",
	Indexes: []resource.Index{{Columns: []string{"resourceUuid", "receiverAccountUuid"}}},
	View: resource.View{
		Caption: resource.Say("Share", "共享"), Noun: "share", Group: "administration", Part: true, Label: "resourceUuid",
		Doc:     resource.Say("Lets another account, or all, read a resource.", "允许其他账户或所有账户读取某个资源。"),
		Columns: []string{"resourceType", "resourceUuid", "ownerAccountUuid", "receiverAccountUuid", "toPublic", "createDate"},
	},
})

// Types are the resource types of this package.
func Types() []*resource.Type { return []*resource.Type{SharedType.Type} }

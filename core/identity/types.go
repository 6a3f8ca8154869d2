package identity

import (
	"time"

	"github.com/kumo-cloud/kumo/core/resource"
)

// AdminUUID is the UUID of the initial admin account (catalogue README,
// section 7).
const AdminUUID = "36c27e8ff05c4780bf6d2fa65700f22e"

// The kinds of accounts.
const (
	SystemAdmin = "SystemAdmin"
	Normal      = "Normal"
)

// Account is a tenant. Its accountUuid is its own UUID, so that each account
// sees and changes itself only.
type Account struct {
	UUID        string `db:"uuid" kumo:"size=32,immutable"`
	Name        string `db:"name" kumo:"size=255,unique"`
	Description string `db:"description" kumo:"size=2048,null"`
	Type        string `db:"type" kumo:"size=32,immutable,values=SystemAdmin|Normal"`
	// Password is an Argon2id hash of the wire's SHA-512 text.
	Password   string        `db:"password" kumo:"text,secret"`
	CreateDate resource.Time `db:"createDate" kumo:"immutable"`
	LastOpDate resource.Time `db:"lastOpDate"`
	resource.Owned
}

// Session is a login. ExpiredDate and LastUseDate in the database lag behind
// memory by at most a minute.
type Session struct {
	// UUID is not what a caller proves itself by, but made of it; see keyOf.
	UUID        string        `db:"uuid" kumo:"size=32,immutable,secret"`
	UserUUID    string        `db:"userUuid" kumo:"size=32,index,immutable"`
	ExpiredDate resource.Time `db:"expiredDate" kumo:"index"`
	// LastUseDate lags like ExpiredDate; there is none in rows of older versions.
	LastUseDate resource.Time `db:"lastUseDate" kumo:"null"`
	CreateDate  resource.Time `db:"createDate" kumo:"immutable"`
	resource.Owned
}

// lastUse is when the session was used last, as far as its row tells.
func (s *Session) lastUse() time.Time {
	if s.LastUseDate.IsZero() {
		return s.CreateDate.Time
	}
	return s.LastUseDate.Time
}

// AccessKey is a pair of texts by which programs sign their calls. The secret
// is kept as it is, because checking a signature needs it.
type AccessKey struct {
	resource.Ident
	Description string `db:"description" kumo:"size=2048,null"`
	AccountUUID string `db:"accountUuid" kumo:"size=32,index,immutable"`
	UserUUID    string `db:"userUuid" kumo:"size=32,immutable"`
	KeyID       string `db:"AccessKeyID" kumo:"size=20,unique,immutable" caption:"Key ID|AccessKey ID"`
	Secret      string `db:"AccessKeySecret" kumo:"text,secret,immutable"`
	State       string `db:"state" kumo:"size=16,values=Enabled|Disabled"`
}

// The resource types of this package.
var (
	AccountType = resource.Define[Account](resource.Type{
		Name: "Account", Path: "/accounts", FQN: "org.zstack.header.identity.AccountInventory", Incidental: true,
		View: resource.View{
			Caption: resource.Say("Account", "账户"), Noun: "account",
			Group: "administration", Order: 10, Icon: "account",
			Doc:     resource.Say("A tenant: who owns resources.", "拥有资源的租户。"),
			Columns: []string{"name", "type", "createDate"},
		},
	})
	SessionType = resource.Define[Session](resource.Type{
		Name: "Session", Readable: resource.Admin, Internal: true, FQN: "org.zstack.header.identity.SessionInventory",
		Edges: []resource.Edge{{To: "Account", Column: "accountUuid", OnDelete: resource.Cascade}}})
	AccessKeyType = resource.Define[AccessKey](resource.Type{
		Name: "AccessKey", Path: "/accesskeys", FQN: "org.zstack.accessKey.AccessKeyInventory", Owned: true, Incidental: true,
		Edges:  []resource.Edge{{Name: "account", To: "Account", Column: "accountUuid", OnDelete: resource.Cascade}},
		States: resource.EnableDisable,
		Enums:  map[string]*resource.Enum{"state": resource.EnabledState},
		View: resource.View{
			Caption: resource.Say("Access key", "AccessKey"), Noun: "access-key",
			Group: "administration", Order: 60, Icon: "key", Label: "AccessKeyID", Context: []string{"description"},
			Doc:     resource.Say("A pair of texts by which programs sign their calls.", "程序调用 API 时签名用的密钥对。"),
			Columns: []string{"AccessKeyID", "state", "description", "createDate"},
		},
	})
)

// Types are the resource types of this package.
func Types() []*resource.Type {
	return []*resource.Type{AccountType.Type, SessionType.Type, AccessKeyType.Type}
}

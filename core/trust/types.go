package trust

import "github.com/kumo-cloud/kumo/core/resource"

// Authority is a certificate authority of the cloud's own: one for each purpose, so that
// what is trusted for one is not for another.
type Authority struct {
	UUID        string        `db:"uuid" kumo:"size=32,immutable"`
	Name        string        `db:"name" kumo:"size=32,immutable,unique"`
	Certificate string        `db:"certificate" kumo:"text"` // PEM
	Key         string        `db:"privateKey" kumo:"text,secret"`
	CreateDate  resource.Time `db:"createDate" kumo:"immutable"`
	LastOpDate  resource.Time `db:"lastOpDate"`
}

// Secret is what a plugin keeps under a name.
type Secret struct {
	UUID       string        `db:"uuid" kumo:"size=32,immutable"`
	Plugin     string        `db:"plugin" kumo:"size=64,immutable"`
	Name       string        `db:"name" kumo:"size=64,immutable"`
	Value      string        `db:"secretValue" kumo:"text,secret"` // base64
	CreateDate resource.Time `db:"createDate" kumo:"immutable"`
	LastOpDate resource.Time `db:"lastOpDate"`
}

var (
	authorityType = resource.Define[Authority](resource.Type{Name: "TrustAuthority", Readable: resource.Admin, Internal: true})
	secretType    = resource.Define[Secret](resource.Type{Name: "PluginSecret", Readable: resource.Admin, Internal: true,
		Indexes: []resource.Index{{Columns: []string{"plugin", "name"}, Unique: true}}})
)

// Types are the resource types of this package.
func Types() []*resource.Type { return []*resource.Type{authorityType.Type, secretType.Type} }

package tag

import "github.com/kumo-cloud/kumo/core/resource"

// SystemTag is a system tag of a resource. Its owner is the resource's.
type SystemTag struct {
	resource.Ident
	resource.Owned
	ResourceUUID string `db:"resourceUuid" kumo:"size=32,index,immutable,refby=resourceType"`
	// ResourceType is the wire's name of the stored type: "VmInstanceVO".
	ResourceType string `db:"resourceType" kumo:"size=64,immutable"`
	// Tag is what clients see; Sealed is the whole text of a tag with a secret.
	Tag    string `db:"tag" kumo:"text"`
	Sealed string `db:"sealed" kumo:"text,null,secret"`
	Type   string `db:"type" kumo:"size=16,immutable"`
	// Inherent tags are made by the system; clients cannot change them.
	Inherent bool `db:"inherent" caption:"Made by the system|系统内置"`
}

// text returns the tag with its secret.
func (t *SystemTag) text() string {
	if t.Sealed != "" {
		return t.Sealed
	}
	return t.Tag
}

// set gives the tag a text of a pattern, which may be nil.
func (t *SystemTag) set(p *Pattern, text string) {
	t.Tag, t.Sealed = text, ""
	if p != nil && p.Secret != "" {
		t.Tag, t.Sealed = p.show(text), text
	}
}

// UserTag is a label that a person put on a resource.
type UserTag struct {
	resource.Ident
	resource.Owned
	ResourceUUID string `db:"resourceUuid" kumo:"size=32,index,immutable,refby=resourceType"`
	ResourceType string `db:"resourceType" kumo:"size=64,immutable"`
	Tag          string `db:"tag" kumo:"text"`
	Type         string `db:"type" kumo:"size=16,immutable"`
}

// The resource types of tags.
var (
	SystemTagType = resource.Define[SystemTag](resource.Type{
		Name: "SystemTag", Follows: "resourceUuid", Incidental: true, Path: "/system-tags", FQN: "org.zstack.header.tag.SystemTagInventory",
		Anywhere: map[string]string{"__systemTag__": "tag"},
		View: resource.View{
			Caption: resource.Say("System tag", "系统标签"), Noun: "tag", Aliases: []string{"system-tag"},
			Group: "administration", Icon: "tag", Part: true, Label: "tag", Context: []string{"resourceType"},
			Doc:     resource.Say("A tag that changes how a resource behaves.", "影响资源行为的标签。"),
			Columns: []string{"tag", "resourceType", "resourceUuid", "-createDate"},
			Search:  []string{"tag"},
		},
	})
	UserTagType = resource.Define[UserTag](resource.Type{
		Name: "UserTag", Follows: "resourceUuid", Incidental: true, Path: "/user-tags", FQN: "org.zstack.header.tag.UserTagInventory",
		Anywhere: map[string]string{"__userTag__": "tag"},
		View: resource.View{
			Caption: resource.Say("Tag", "标签"), Noun: "user-tag",
			Group: "administration", Icon: "tag", Part: true, Label: "tag", Context: []string{"resourceType"},
			Doc:     resource.Say("A label that somebody put on a resource.", "用户为资源添加的标签。"),
			Columns: []string{"tag", "resourceType", "resourceUuid", "-createDate"},
			Search:  []string{"tag"},
		},
	})
)

// Types are the resource types of this package.
func Types() []*resource.Type {
	return []*resource.Type{SystemTagType.Type, UserTagType.Type}
}

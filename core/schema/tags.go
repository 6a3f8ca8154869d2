package schema

import (
	"strings"

	"github.com/kumo-cloud/kumo/core/resource"
)

// TagPattern is a system tag that people may put on a resource of a type.
type TagPattern struct {
	// Resource is the type, Pattern the text with tokens: "hostname::{hostname}".
	Resource, Pattern string
	// Secret names the token whose value nobody sees again.
	Secret string
	// Holds has the kinds of tokens' values, by token.
	Holds map[string]string
	// Caption is that of the tag and its one token, of a tag that others declare.
	Caption resource.Caption
	// CreateOnly tags can be given with a create message only.
	CreateOnly bool
}

// tagWords are the captions of tags and their tokens by name.
var tagWords = map[string]resource.Caption{
	"userdata":        resource.Say("User data", "用户数据"),
	"sshkey":          resource.Say("SSH public key", "SSH公钥"),
	"hostname":        resource.Say("Host name", "主机名"),
	"staticIp":        resource.Say("Fixed address", "固定IP"),
	"customMac":       resource.Say("MAC address", "MAC地址"),
	"consolePassword": resource.Say("Console password", "控制台密码"),
	"bootOrder":       resource.Say("Boot order", "启动顺序"),
	"bootMode":        resource.Say("Boot mode", "启动模式"),
	"driver":          resource.Say("Devices", "驱动"),
	"haLevel":         resource.Say("Keep running", "高可用级别"),
	"marketplace":     resource.Say("Came from a marketplace", "来自镜像市场"),
	"capability":      resource.Say("Capability", "能力"),
	"resourceConfig":  resource.Say("Setting", "设置"),
	"qemuga":          resource.Say("It has a guest agent", "已安装云主机代理"),

	"maxInstancePerHost": resource.Say("Most VMs of the offering on a host", "每台物理机最多云主机数"),
}

// tags describes the system tags of a type as parameters, one for each token.
func (b *builder) tags(t *resource.Type) []Tag {
	out := []Tag{}
	for _, p := range b.in.Tags {
		if p.Resource != t.Name {
			continue
		}
		tag := Tag{Pattern: p.Pattern, When: "any", Params: []Param{}}
		if p.CreateOnly {
			tag.When = "create"
		}
		for _, token := range tokens(p.Pattern) {
			s := Shape{Name: token, Kind: "string", Required: true, Secret: token == p.Secret, Holds: opt(p.Holds[token]), Ref: opt(b.in.Types.Named(token))}
			caption := b.caption("tag "+t.Name+" "+p.Pattern+" "+token, token, p.Caption, b.refWords(token, b.in.Types.Named(token)), tagWords[token], fieldWords[token])
			s.Caption = &caption
			s.derive()
			tag.Params = append(tag.Params, Param{Shape: s, In: "body", RefWhere: []string{}})
		}
		name, _, _ := strings.Cut(p.Pattern, "::")
		words := []resource.Caption{p.Caption, tagWords[name]}
		if len(tag.Params) == 1 {
			words = []resource.Caption{*tag.Params[0].Caption}
		}
		tag.Caption = b.caption("tag "+t.Name+" "+p.Pattern, name, words...)
		out = append(out, tag)
	}
	return out
}

// tokens lists what stands in braces.
func tokens(pattern string) []string {
	var out []string
	for {
		_, after, found := strings.Cut(pattern, "{")
		token, rest, closed := strings.Cut(after, "}")
		if !found || !closed {
			return out
		}
		out, pattern = append(out, token), rest
	}
}

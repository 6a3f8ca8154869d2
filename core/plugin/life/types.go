// Package life keeps a row for each plugin and does with plugins what administrators
// ask for: enable, disable, restart, upgrade, grant. It must not import the services.
package life

import (
	"crypto/md5" //nolint:gosec // it makes an identity, no secret
	"encoding/hex"

	"github.com/kumo-cloud/kumo/core/resource"
)

// Plugin is what is known of a plugin: what the administrator wants of it, and how
// it is.
type Plugin struct {
	resource.Base
	Version string `db:"version" kumo:"size=255" caption:"Version|版本"`
	// State is what is wanted. Chosen: by the administrator; otherwise by the
	// configuration, at each start.
	State  string `db:"state" kumo:"size=32,values=Enabled|Disabled"`
	Chosen bool   `db:"chosen" kumo:"hidden"`
	// Status is how it is.
	Status string `db:"status" kumo:"size=32,values=Running|Restarting|Stopped|NotGranted"`
	// Memory is what its process has resident.
	Memory    int64         `db:"memory" kumo:"volatile,unit=bytes" caption:"Memory|内存"`
	ProcessID int           `db:"processId" caption:"Process|进程号"`
	Restarts  int           `db:"restarts" caption:"Restarts|重启次数"`
	Since     resource.Time `db:"since" caption:"Runs since|运行起始时间"`
	LastError string        `db:"lastError" kumo:"text,null" caption:"Last error|最近错误"`
	// Provides, Permissions and Missing are lists with commas between: the types that
	// it declares, what it asks for, and what of that it is not granted.
	Provides    string `db:"provides" kumo:"text,null" caption:"Provides|提供"`
	Permissions string `db:"permissions" kumo:"text,null" caption:"Asks for|申请的权限"`
	Missing     string `db:"missing" kumo:"text,null" caption:"Not granted|未授予的权限"`
	// CanaryVersion is the version that takes the calls for the hosts of CanaryZones, a
	// list of zones' UUIDs with commas between, in the place of Version.
	CanaryVersion string `db:"canaryVersion" kumo:"size=255,null" caption:"Canary|灰度版本"`
	CanaryZones   string `db:"canaryZones" kumo:"text,null" caption:"Canary zones|灰度区域"`
	SHA256        string `db:"sha256" kumo:"size=64" caption:"SHA-256|SHA-256"`
	Path          string `db:"path" kumo:"size=4096" caption:"Binary|程序文件"`
	// Manifest is the last one, in base64 of its bytes: what a plugin that is off has
	// declared stays declared when the core starts.
	Manifest string `db:"manifest" kumo:"text,hidden"`
}

// The words of State and Status.
const (
	Enabled    = "Enabled"
	Disabled   = "Disabled"
	Running    = "Running"
	Restarting = "Restarting"
	Stopped    = "Stopped"
	NotGranted = "NotGranted"
)

// Grant is a permission that a plugin has been granted.
type Grant struct {
	resource.Ref
	PluginUUID string `db:"pluginUuid" kumo:"size=32,immutable,index"`
	Permission string `db:"permission" kumo:"size=512,immutable" caption:"Permission|权限"`
}

// Type is the resource type of plugins.
var Type = resource.Define[Plugin](resource.Type{
	Name: "Plugin", Path: "/plugins", Readable: resource.Admin, FQN: "cloud.kumo.PluginInventory",
	States: resource.EnableDisable,
	Embeds: []resource.Embed{{Name: "grants", Type: "PluginGrant", Column: "pluginUuid", Scalar: "permission", OrderBy: "permission",
		Caption: resource.Say("Granted", "已授予的权限")}},
	Enums: map[string]*resource.Enum{"state": resource.EnabledState, "status": {Name: "PluginStatus", Values: []resource.Value{
		{Name: Running, Caption: resource.Say("Running", "运行中"), Tone: resource.Success},
		{Name: Restarting, Caption: resource.Say("Restarting", "重启中"), Tone: resource.Warning, Transient: true},
		{Name: Stopped, Caption: resource.Say("Stopped", "已停止"), Tone: resource.Halted},
		{Name: NotGranted, Caption: resource.Say("Not granted", "权限不足"), Tone: resource.Failed},
	}}},
	View: resource.View{
		Caption: resource.Say("Plugin", "插件"), Noun: "plugin", Group: "operations", Order: 80, Icon: "plugin",
		Doc:     resource.Say("A process that does the cloud's work on real machines.", "在真实机器上执行云平台工作的进程。"),
		Columns: []string{"name", "version", "state", "status", "memory", "restarts", "since", "missing", "-canaryVersion", "-provides", "-lastError", "-processId", "-sha256"},
		Sections: []resource.Section{
			{Caption: resource.Say("State", "状态"), Fields: []string{"state", "status", "since", "restarts", "memory", "processId", "lastError"}},
			{Caption: resource.Say("Contract", "契约"), Fields: []string{"version", "canaryVersion", "canaryZones", "provides", "permissions", "grants", "missing", "path", "sha256"}},
		},
	},
})

// grantType is the resource type of grants.
var grantType = resource.Define[Grant](resource.Type{
	Name: "PluginGrant", Readable: resource.Admin, Internal: true, View: resource.View{Caption: resource.Say("Plugin grant", "插件授权"), Part: true},
	Edges:   []resource.Edge{{Name: "plugin", To: "Plugin", Column: "pluginUuid", OnDelete: resource.Cascade, Hidden: true}},
	Indexes: []resource.Index{{Columns: []string{"pluginUuid", "permission"}, Unique: true}},
})

// Types are the resource types of this package.
func Types() []*resource.Type { return []*resource.Type{Type.Type, grantType.Type} }

// uuidOf is the UUID of a plugin's row: the same at every start.
func uuidOf(name string) string {
	sum := md5.Sum([]byte("plugin " + name)) //nolint:gosec // it makes an identity, no secret
	return hex.EncodeToString(sum[:])
}

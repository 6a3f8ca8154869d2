package inventory

import "github.com/kumo-cloud/kumo/core/resource"

// Sync is a run through all that there is at an endpoint.
type Sync struct {
	resource.Ident
	resource.Owned
	EndpointUUID string `db:"endpointUuid" kumo:"size=32,immutable,index,refby=endpointType" caption:"Endpoint|接入点"`
	EndpointType string `db:"endpointType" kumo:"size=100,immutable" caption:"Type of endpoint|接入点类型"`
	State        string `db:"state" kumo:"size=32,values=Running|Waiting|Done|Failed|Superseded"`
	// Removals says whether what is gone outside goes here as well without being asked.
	Removals   string `db:"removals" kumo:"size=16,values=wait|apply" caption:"Removals|移除方式"`
	ByInterval bool   `db:"byInterval" kumo:"immutable" caption:"By interval|定时触发"`
	// Cursor is where to go on; Complete: the last page has come.
	Cursor   string `db:"cursor" kumo:"text,null,hidden"`
	Complete bool   `db:"complete" caption:"Complete|已完整读取"`
	Pages    int64  `db:"pages" caption:"Pages|页数"`
	Created  int64  `db:"created" caption:"Created|新增"`
	Changed  int64  `db:"changed" caption:"Changed|变更"`
	Removed  int64  `db:"removed" caption:"Removed|移除"`
	// Kept are those of Removed on which others depend; Skipped is what could not be
	// taken up.
	Kept    int64         `db:"kept" caption:"Kept|保留"`
	Skipped int64         `db:"skipped" caption:"Skipped|跳过"`
	Error   string        `db:"error" kumo:"text,null" caption:"Error|错误"`
	EndDate resource.Time `db:"endDate" caption:"Ended|结束时间"`
}

// The states of a run, and what is done with removals.
const (
	Running    = "Running"
	Waiting    = "Waiting"
	Done       = "Done"
	Failed     = "Failed"
	Superseded = "Superseded"

	Wait  = "wait"
	Apply = "apply"
)

// Item is one thing that was not as its row.
type Item struct {
	resource.Ident
	SyncUUID     string `db:"syncUuid" kumo:"size=32,immutable,index" caption:"Sync|同步"`
	ResourceType string `db:"resourceType" kumo:"size=100,immutable" caption:"Type|类型"`
	ForeignID    string `db:"foreignId" kumo:"size=255,immutable" caption:"Foreign ID|外部标识"`
	ResourceUUID string `db:"resourceUuid" kumo:"size=32,null,immutable,refby=resourceType" caption:"Resource|资源"`
	What         string `db:"what" kumo:"size=16,immutable,values=Created|Changed|Removed|Skipped" caption:"What|类别"`
	// State is Waiting for a removal that is not applied, Kept for one that cannot be.
	State string `db:"state" kumo:"size=16,values=Done|Waiting|Kept"`
	// Fields are those that have changed, with commas between.
	Fields string `db:"fields" kumo:"text,null,immutable" caption:"Fields|字段"`
	Reason string `db:"reason" kumo:"text,null" caption:"Reason|原因"`
}

// What an item is about, and its state beside Done and Waiting.
const (
	Created = "Created"
	Changed = "Changed"
	Removed = "Removed"
	Skipped = "Skipped"

	Kept = "Kept"
)

// The words of runs and items.
var (
	states = &resource.Enum{Name: "InventorySync.state", Values: []resource.Value{
		{Name: Running, Caption: resource.Say("Running", "运行中"), Tone: resource.Progress, Transient: true},
		{Name: Waiting, Caption: resource.Say("Removals wait", "等待确认移除"), Tone: resource.Warning},
		{Name: Done, Caption: resource.Say("Done", "已完成"), Tone: resource.Success},
		{Name: Failed, Caption: resource.Say("Failed", "失败"), Tone: resource.Failed},
		{Name: Superseded, Caption: resource.Say("Superseded", "已被取代"), Tone: resource.Halted}}}
	itemStates = &resource.Enum{Name: "InventorySyncItem.state", Values: []resource.Value{
		{Name: Done, Caption: resource.Say("Done", "已完成"), Tone: resource.Success},
		{Name: Waiting, Caption: resource.Say("Waiting", "等待中"), Tone: resource.Warning},
		{Name: Kept, Caption: resource.Say("Kept", "已保留"), Tone: resource.Warning}}}
	removals = &resource.Enum{Name: "InventorySync.removals", Values: []resource.Value{
		{Name: Wait, Caption: resource.Say("Wait", "等待")}, {Name: Apply, Caption: resource.Say("Apply", "执行")}}}
	whats = &resource.Enum{Name: "InventorySyncItem.what", Values: []resource.Value{
		{Name: Created, Caption: resource.Say("Created", "新增")}, {Name: Changed, Caption: resource.Say("Changed", "变更")},
		{Name: Removed, Caption: resource.Say("Removed", "移除")}, {Name: Skipped, Caption: resource.Say("Skipped", "跳过")}}}
)

var syncType = resource.Define[Sync](resource.Type{
	Name: "InventorySync", Path: "/inventory-syncs", FQN: "cloud.kumo.InventorySyncInventory", Follows: "endpointUuid", Incidental: true,
	Enums: map[string]*resource.Enum{"state": states, "removals": removals},
	View: resource.View{
		Caption: resource.Say("Inventory sync", "清单同步"), Noun: "inventory-sync", Group: "operations", Order: 85, Icon: "refresh", Label: "endpointUuid",
		Doc:     resource.Say("A run that brings what there is outside into rows.", "将外部资源同步为本地记录的一次运行。"),
		Columns: []string{"endpointUuid", "state", "created", "changed", "removed", "kept", "skipped", "createDate", "endDate", "-error", "-pages", "-byInterval"},
	},
})

var itemType = resource.Define[Item](resource.Type{
	Name: "InventorySyncItem", Path: "/inventory-syncs/items", FQN: "cloud.kumo.InventorySyncItemInventory", OwnedBy: "sync",
	Enums: map[string]*resource.Enum{"state": itemStates, "what": whats},
	Edges: []resource.Edge{{Name: "sync", To: "InventorySync", Column: "syncUuid", Inverse: "items"}},
	View: resource.View{
		Caption: resource.Say("Item of an inventory sync", "清单同步条目"), Noun: "inventory-sync-item", Group: "operations", Part: true, Label: "foreignId", Context: []string{"resourceType"},
		Doc:     resource.Say("Something outside that was not as its row.", "与本地记录不一致的外部资源。"),
		Columns: []string{"what", "resourceType", "foreignId", "state", "fields", "reason", "-resourceUuid"},
	},
})

// Types returns the resource types of this package.
func Types() []*resource.Type { return []*resource.Type{syncType.Type, itemType.Type} }

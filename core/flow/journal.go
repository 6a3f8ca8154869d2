package flow

import (
	"context"
	"encoding/json"

	"github.com/kumo-cloud/kumo/core/errtext"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
)

// The phases of a journaled flow.
const (
	// PhaseForward: the flow's steps are done from Journal.Step on.
	PhaseForward = "forward"
	// PhaseUndoing: the flow failed; Journal.Step and all before it are undone.
	PhaseUndoing = "undoing"
	// PhaseUndoFailed: the undo of Journal.Step failed; it is repeated later.
	PhaseUndoFailed = "undo-failed"
)

// Journal is the row of one unfinished flow, which administrators may list. There is no row for a flow that
// has ended, so the table is small and needs no index.
type Journal struct {
	UUID string `db:"uuid" kumo:"size=32,immutable"`
	// Name is that of the flow's definition.
	Name string `db:"name" kumo:"size=100,immutable"`
	// Phase is one of the Phase constants.
	Phase string `db:"phase" kumo:"size=16,values=forward|undoing|undo-failed" caption:"Phase|阶段"`
	// Step is the next step to do, or to undo. Its name is kept, not its
	// number, so that a newer version may add steps.
	Step string `db:"step" kumo:"size=100" caption:"Step|步骤"`
	// Progress is how many items of an Each step are done.
	Progress int64 `db:"progress" kumo:"hidden"`
	// Skipped names the steps that When skipped, with commas between.
	Skipped string `db:"skipped" kumo:"text,null,hidden"`
	// State is the flow's state in JSON. It may hold passwords.
	State string `db:"state" kumo:"text,secret" caption:"State|数据"`
	// Job is the API job that the flow completes; empty if none.
	Job string `db:"job" kumo:"size=32,null" caption:"Task|任务"`
	// Key is the dispatch key under which the flow runs.
	Key string `db:"dispatchKey" kumo:"size=255,null" caption:"Queue|队列"`
	// ResourceType and ResourceUUID name what the flow works on.
	ResourceType string `db:"resourceType" kumo:"size=100,null"`
	ResourceUUID string `db:"resourceUuid" kumo:"size=32,null,refby=resourceType"`
	// Error is why the flow failed, UndoError why its undo did; see Cause and
	// UndoCause.
	Error     string `db:"error" kumo:"text,null,hidden"`
	UndoError string `db:"undoError" kumo:"text,null,hidden"`
	// Why and UndoWhy are their texts, for people.
	Why     string `db:"cause" kumo:"text,null" caption:"Why it failed|失败原因"`
	UndoWhy string `db:"undoCause" kumo:"text,null" caption:"Why its undo failed|回滚失败原因"`
	// Attempts counts the undos that failed; LastTry is when the last one did.
	Attempts   int           `db:"attempts" caption:"Attempts|尝试次数"`
	LastTry    resource.Time `db:"lastTry" kumo:"null" caption:"Last attempt|最近尝试"`
	CreateDate resource.Time `db:"createDate" kumo:"immutable"`
	// OwnerUUID is the management node that runs it, Epoch the stay of the node
	// in which it wrote the row last.
	OwnerUUID string `db:"ownerUuid" kumo:"size=32,null" caption:"Management node|管理节点"`
	Epoch     int64  `db:"epoch" caption:"Epoch|纪元"`
}

// Cause returns why the flow failed; nil if it did not.
func (j *Journal) Cause() error { return errtext.Decode(j.Error) }

// UndoCause returns why its undo failed; nil if it did not.
func (j *Journal) UndoCause() error { return errtext.Decode(j.UndoError) }

var journals = resource.Define[Journal](resource.Type{
	Name: "Flow", Path: "/flows", Readable: resource.Admin, FQN: "cloud.kumo.flow.FlowInventory",
	Enums: map[string]*resource.Enum{"phase": {Name: "FlowPhase", Values: []resource.Value{
		{Name: PhaseForward, Caption: resource.Say("At work", "执行中"), Tone: resource.Progress, Transient: true},
		{Name: PhaseUndoing, Caption: resource.Say("Undoing", "回滚中"), Tone: resource.Progress, Transient: true},
		{Name: PhaseUndoFailed, Caption: resource.Say("Undo failed", "回滚失败"), Tone: resource.Failed},
	}}},
	View: resource.View{
		Caption: resource.Say("Unfinished work", "未完成流程"), Plural: resource.Say("Unfinished work", "未完成流程"), Noun: "flow",
		Group: "operations", Order: 60, Icon: "task", Context: []string{"resourceType"},
		Doc:     resource.Say("A change of several steps that has not ended.", "尚未结束的多步骤操作。"),
		Columns: []string{"name", "phase", "step", "resourceType", "resourceUuid", "cause", "attempts", "lastTry", "-undoCause", "createDate"},
	},
})

// Types returns the resource types of this package, for the registry.
func Types() []*resource.Type { return []*resource.Type{journals.Type, kept.Type} }

// write puts the journal's row into the database: all of it the first time,
// then what can have changed. The state is turned into JSON here and nowhere
// else, and sent only when it differs from what was last committed.
func (r *run[S]) write(ctx context.Context, tx *store.Tx, phase, step string) error {
	state, err := r.encode()
	if err != nil {
		return err
	}
	if err := r.e.Owner.Guard(ctx, tx); err != nil {
		return err
	}
	row := r.row
	row.OwnerUUID, row.Epoch = r.e.Owner.UUID, r.e.Owner.Epoch
	row.Phase, row.Step, row.Skipped, row.State = phase, step, r.def.skippedText(r.skipped), string(state)
	if !r.written {
		return store.Insert(ctx, tx, journals, &row)
	}
	values := map[string]any{
		"phase": row.Phase, "step": row.Step, "progress": row.Progress, "skipped": orNull(row.Skipped),
		"error": orNull(row.Error), "undoError": orNull(row.UndoError), "attempts": row.Attempts, "lastTry": row.LastTry,
		"cause": orNull(row.Why), "undoCause": orNull(row.UndoWhy), "ownerUuid": orNull(row.OwnerUUID), "epoch": row.Epoch,
	}
	if row.State != r.row.State {
		values["state"] = row.State
	}
	return store.Set(ctx, tx, journals.Type, row.UUID, values)
}

// wrote notes that what write sent is committed.
func (r *run[S]) wrote(phase, step string) {
	r.written = true
	r.row.Phase, r.row.Step, r.row.Skipped = phase, step, r.def.skippedText(r.skipped)
	if state, err := r.encode(); err == nil {
		r.row.State = string(state)
	}
}

// failedWith notes why the flow failed; undoFailedWith why its undo did.
func (j *Journal) failedWith(err error) { j.Error, j.Why = errtext.Encode(err), err.Error() }

func (j *Journal) undoFailedWith(err error) {
	j.UndoError, j.UndoWhy = errtext.Encode(err), err.Error()
}

// encode returns the state as JSON, made once per write.
func (r *run[S]) encode() ([]byte, error) {
	if r.encoded == nil {
		b, err := json.Marshal(r.s)
		if err != nil {
			return nil, internal(err, r.def.name, "its state cannot be saved")
		}
		r.encoded = b
	}
	return r.encoded, nil
}

// changed forgets the encoded state, as a step may have altered it.
func (r *run[S]) changed() { r.encoded = nil }

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

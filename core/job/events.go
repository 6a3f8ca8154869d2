package job

import (
	"encoding/json"

	"github.com/kumo-cloud/kumo/core/event"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
)

// RowType is the type of the rows of jobs.
func RowType() *resource.Type { return rows.Type }

// told is what the stream of events says of a job (console: live data).
type told struct {
	UUID    string   `json:"uuid"`
	Message string   `json:"message"`
	Subject *subject `json:"subject,omitempty"`
	State   string   `json:"state"`
	// Error is the text that a poll's answer is made of.
	Error json.RawMessage `json:"error"`
}

type subject struct {
	Type string `json:"type"`
	UUID string `json:"uuid"`
}

// Event tells of a job whose row was changed (event.Bus.Also): that it began,
// that it was done or has failed.
func (s *Service) Event(c store.Change) (event.Event, bool) {
	e := s.entry(c.UUID)
	if e == nil {
		return event.Event{}, false // a row that is swept
	}
	t := told{UUID: c.UUID, Message: e.job.Message, State: "running", Error: json.RawMessage("null")}
	if e.job.ResourceUUID != "" {
		t.Subject = &subject{e.job.ResourceType, e.job.ResourceUUID}
	}
	if c.Verb != store.Created {
		state, ok := c.Value("state")
		if !ok || state != Done {
			return event.Event{}, false
		}
		t.State = "done"
		if text, _ := c.Value("error"); text != nil && text != "" {
			t.State = "failed"
			if raw, ok := text.(string); ok && json.Valid([]byte(raw)) {
				t.Error = json.RawMessage(raw)
			}
		}
	}
	body, err := json.Marshal(t)
	return event.Event{Topic: event.Job, Type: e.job.ResourceType, UUID: c.UUID, Subject: e.job.ResourceUUID,
		AccountUUID: e.job.AccountUUID, Body: body}, err == nil
}

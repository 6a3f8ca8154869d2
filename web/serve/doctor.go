package serve

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/kumo-cloud/kumo/core/doctor"
	"github.com/kumo-cloud/kumo/core/part"
	"github.com/kumo-cloud/kumo/core/resource"
	"github.com/kumo-cloud/kumo/core/store"
	"github.com/kumo-cloud/kumo/core/tag"
)

// maxMisfits bounds what the doctor lists at once, and maxLogged what it writes
// to the log at a start.
const (
	maxMisfits = 1000
	maxLogged  = 20
)

var errEnough = errors.New("enough was found")

// misfits lists the values in the database that break a rule of today, as JSON
// objects (doctor.Misfit): maxMisfits at most. also looks at what types do not tell.
func misfits(ctx context.Context, s *store.Store, types *resource.Registry, also ...func(context.Context, func(doctor.Misfit) error) error) ([]json.RawMessage, error) {
	found := []json.RawMessage{}
	add := func(m doctor.Misfit) error {
		raw, err := json.Marshal(m)
		if found = append(found, raw); err == nil && len(found) == maxMisfits {
			err = errEnough
		}
		return err
	}
	err := doctor.Look(ctx, s, types.All(), add)
	for _, look := range also {
		if err == nil {
			err = look(ctx, add)
		}
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return found, err
}

// misfits is misfits of a running server, which knows its tags and settings.
func (p *parts) misfits(ctx context.Context) ([]json.RawMessage, error) {
	k := p.kernel
	return misfits(ctx, k.Store, k.Types,
		func(ctx context.Context, add func(doctor.Misfit) error) error {
			return k.Config.Look(ctx, k.Store, func(typeName, uuid, value, why string) error {
				return add(doctor.Misfit{Type: typeName, UUID: uuid, Field: "value", Value: value, Why: why})
			})
		},
		func(ctx context.Context, add func(doctor.Misfit) error) error {
			return k.Tags.Look(ctx, k.Store, func(uuid, text, why string) error {
				return add(doctor.Misfit{Type: tag.SystemTagType.Name, UUID: uuid, Field: "tag", Value: text, Why: why})
			})
		})
}

// doctor looks at the rows beside the server's work, once at each start: rows of
// older versions that break a rule are told to the operator, and stop nothing.
func (p *parts) doctor() part.Part {
	log := p.kernel.Log.Named("doctor")
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	look := func() {
		found, err := p.misfits(ctx)
		if err != nil {
			if ctx.Err() == nil {
				log.Warn("the rows could not be looked at", "error", err)
			}
			return
		}
		for _, raw := range found[:min(len(found), maxLogged)] {
			log.Warn("a value of an older version breaks a rule", "row", string(raw))
		}
		if len(found) > 0 {
			log.Warn("values of older versions break rules; kumo doctor lists them", "values", len(found))
		}
	}
	return part.Part{Name: "doctor", Needs: []string{"identity"},
		Start: func(context.Context) error { running.Go(look); return nil },
		Stop: func(context.Context) error {
			stop()
			running.Wait()
			return nil
		}}
}

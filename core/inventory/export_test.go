package inventory

import (
	"github.com/kumo-cloud/kumo/core/flow"
	pluginv1 "github.com/kumo-cloud/kumo/pluginsdk/proto/kumo/plugin/v1"
)

// Run is the state of a run, for flowtest.
type Run = run

// Syncing is the flow of a run.
func (s *Service) Syncing() *flow.Def[Run] { return s.syncing }

// Declare says what an endpoint type brings, in the place of Register.
func (s *Service) Declare(endpointType string, types ...string) {
	s.inventories.Store(&[]*pluginv1.InventoryDecl{{EndpointType: endpointType, Types: types}})
}

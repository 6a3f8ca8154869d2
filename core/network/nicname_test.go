package network

import (
	"testing"

	"github.com/kumo-cloud/kumo/core/resource"
)

// Guests that are made together run on one host, where device names are unique
// and end after 15 bytes (IFNAMSIZ - 1).
func TestInternalNamesOfNICsMadeTogether(t *testing.T) {
	names := map[string]bool{}
	for range 100 {
		name := internalName(resource.NewUUID(), 31)
		if names[name] || len(name) > 15 {
			t.Fatalf("device name %s", name)
		}
		names[name] = true
	}
}

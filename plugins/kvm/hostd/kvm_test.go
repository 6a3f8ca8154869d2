package hostd

import "testing"

func TestKVMProbe(t *testing.T) { t.Logf("reason: %q", kvmUsable()) }

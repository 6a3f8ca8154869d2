package guests

import (
	"testing"
	"time"
)

// Step is a part of a test that goes on with what those before it have made.
type Step struct {
	Name string
	Run  func()
}

// Walk does the steps in turn and logs how long each took. It ends the test with
// the first that fails, as what follows would fail too.
func Walk(t testing.TB, steps ...Step) {
	t.Helper()
	for _, step := range steps {
		begin := time.Now()
		step.Run()
		t.Logf("== %s: %s", step.Name, time.Since(begin).Round(100*time.Millisecond))
		if t.Failed() {
			t.FailNow()
		}
	}
}

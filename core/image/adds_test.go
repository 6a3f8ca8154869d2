package image

import "testing"

// A copy that is being made is ended by the deletion of its image, of all copies
// or of this one, and by no other; it is known for as long as one of its users is
// at it.
func TestAddsAreEnded(t *testing.T) {
	for name, x := range map[string]struct {
		image  string
		stores []string
		ended  bool
	}{
		"all copies":         {"i", nil, true},
		"this copy":          {"i", []string{"other", "s"}, true},
		"another copy":       {"i", []string{"other"}, false},
		"another image":      {"j", nil, false},
		"its copy elsewhere": {"j", []string{"s"}, false},
	} {
		var a adds
		call, endCall := a.begin("i", "s")
		step, endStep := a.begin("i", "s")
		away, endAway := a.begin("k", "s")
		a.cancel(x.image, x.stores)
		if (call.Err() != nil) != x.ended || (step.Err() != nil) != x.ended {
			t.Errorf("%s: the call has %v, the step %v", name, call.Err(), step.Err())
		}
		if away.Err() != nil {
			t.Errorf("%s: the adding of a third image ended", name)
		}
		endStep()
		if got := len(a.running); got != 2 {
			t.Errorf("%s: %d are known, and one of two users is at it", name, got)
		}
		endCall()
		if got := len(a.running); got != 1 || call.Err() == nil {
			t.Errorf("%s: %d are known when both have ended, and the context has %v", name, got, call.Err())
		}
		if again, end := a.begin("i", "s"); again.Err() != nil {
			t.Errorf("%s: the next adding has ended before it began", name)
		} else {
			end()
		}
		endAway()
	}
}

// Those that run at once are all found.
func TestAddsOfSeveralCopies(t *testing.T) {
	var a adds
	for _, store := range []string{"s", "t", "u"} {
		deleted, end := a.begin("i", store)
		defer end()
		defer func() {
			if deleted.Err() == nil {
				t.Errorf("the copy in %s goes on", store)
			}
		}()
	}
	a.cancel("i", nil)
}

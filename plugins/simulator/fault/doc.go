// Package fault injects latency and failures into the simulator's calls, as
// rules in a small text say. It knows nothing of hosts or storages and must not
// import anything of the project but pluginsdk/errs.
//
// One rule is METHOD:ACTION[:OPTION]...; rules are separated by semicolons or
// line ends, and "#" starts a comment that ends with its line:
//
//	StartVM:fail=unavailable:nth=3:after   the third answer is lost
//	*:latency=5ms-20ms                     each call takes longer
//	CreateVolume:fail=exhausted:rate=0.05:seed=7
//	DeleteVolume:hang=30s:on=5d5b1f0c0f7b4c4f9d3ce1a5a2b6f901
//	ApplyNetworkState:crash:nth=100
//
// METHOD is a strategy method, or "*" for all. The actions are
//
//	fail=CLASS     answer with an error of a class of package errs
//	latency=D[-D]  wait for a duration, or one drawn evenly from a range
//	hang[=D]       wait until the caller gives up, at most D (default 10m)
//	crash          kill the process at once, without any cleaning up
//
// and the options, of which each call must meet all:
//
//	nth=N    only the Nth call that the rule sees
//	first=N  only the first N calls that the rule sees
//	rate=F   only this share of the calls, 0 < F <= 1
//	seed=N   seed of the rule's random numbers (default 1)
//	on=UUID  only calls that concern this object; others are not counted
//	after    act when the call has had its effect: the answer is lost
//	before   act before the effect (the default)
package fault

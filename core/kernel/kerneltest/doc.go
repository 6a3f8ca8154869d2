// Package kerneltest makes a kernel for the tests of services:
//
//	c := kerneltest.New(t, kerneltest.Options{Types: topology.Types(), Bases: …})
//	s := topology.New(c.Kernel)
//	c.Register(s.Register)
//	zone := c.Create("APICreateZoneMsg", kerneltest.P{"name": "z"})
//
// All of it is real (a database in a folder of the test's own, registries, tags,
// settings, flows, cascade, dispatch, events, jobs) and put together by the
// functions with which the server does it. Calls go by the name of their message
// through the action registry, with every check that a call over REST passes;
// they wait for their job, not for time. Plugins are served inside the test
// behind real gRPC (Fake has one with every strategy); what they are told is
// recorded, and each of their calls can be made to fail.
//
// It must be imported by tests only, and must not import the services.
package kerneltest

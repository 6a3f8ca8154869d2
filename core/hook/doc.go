// Package hook has plugins observe what happens: it asks them before a call
// (action.Ports.Before), tells them after a change (from the outbox of core/event),
// and does their steps at named points of flows and of hosts' lives. What a plugin
// observes is what the subscriptions of its manifest say; what nobody has
// subscribed to costs nothing.
//
// # Before
//
// A call that has passed its checks is shown to the plugins that subscribe to its
// type and verb, one after another in the order in which they are enabled. Each may
// allow it, deny it, or amend the parameters that its subscription names, which the
// next one sees; amended parameters pass the checks of the call again. The platform's
// own calls are shown as well.
//
// # After
//
// Changes are written to the outbox in their transaction, for those who subscribe to
// them, and delivered in the order of a resource. See event.Durable for its bounds.
//
// # Points
//
// A point is declared where it is (Declare), and is a step of a flow (Step), or of
// what is repeated until it succeeds, a Moment, where the core's own services are told
// as well (On, Tell). Which plugins contribute to a flow is frozen in its state when it
// begins (At), with what they have answered, so that a flow that goes on after a restart
// does and undoes the steps of the same plugins.
//
// Of several subjects at once (rows that a delete takes with it) the plugins are told by
// Do and Undo, and keep no state.
//
// A plugin that the operator has switched off is not asked, and contributes nothing to
// flows that begin; changes are kept for it until it is back.
//
// It must not import any service, core/kernel or web.
package hook

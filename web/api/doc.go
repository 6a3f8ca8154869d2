// Package api serves the actions of core/action as ZStack's REST API v1: it
// finds the action of a request, reads credentials and parameters, and writes
// answers, errors, jobs, OpenAPI and metrics. It holds no business rule and
// must not import any service or plugins.
package api

// Package client speaks Kumo's REST API as a script or a person would: it signs
// in, sends calls, follows their jobs and reads queries. It knows the wire and
// nothing of the server, so it must not import core or web/api.
package client

// Package api is logscan's control interface: JSON over HTTP on a unix socket
// that only root can open, described by OpenAPI 3.1 at /openapi.json, and the
// Go client for it, which the command line uses.
//
// What it promises:
//   - Every error is an application/problem+json document (RFC 9457) that names
//     the field and what would be right. Unknown fields and query parameters
//     are refused, with the nearest known name.
//   - A change of a rule or a trigger is live when the call returns.
//   - PATCH tells absent (left alone), null (back to the default) and a value
//     apart. Read-only fields may be sent back as they were read.
//   - A trigger's secret goes in and never comes out: reads show Placeholder.
//   - The event stream has no gaps: a client that is slow, or that comes back
//     with Last-Event-ID, gets every event that the log still has, in order.
//   - Bodies and pages are bounded.
//
// It does no authentication of its own; who may open the socket may do all.
package api

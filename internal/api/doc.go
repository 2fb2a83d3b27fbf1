// Package api is logscan's control interface: JSON over HTTP on a unix socket
// that only root can open and, where the operator says so, on TCP for those who
// have the token; described by OpenAPI 3.1 at /openapi.json, and the Go client
// for it, which the command line uses.
//
// What it promises:
//   - Every error is an application/problem+json document (RFC 9457) that names
//     the field and what would be right. Unknown fields and query parameters
//     are refused, with the nearest known name.
//   - A change of a rule or a trigger is live when the call returns.
//   - PATCH tells absent (left alone), null (back to the default) and a value
//     apart. Read-only fields may be sent back as they were read.
//   - A trigger's secret goes in and never comes out: reads show trigger.Placeholder.
//   - The event stream has no gaps: a client that is slow, or that comes back
//     with Last-Event-ID, gets every event that the log still has, in order.
//   - It answers also while the database can't be opened: /healthz says what
//     is wrong, and what needs the database is refused with 503.
//   - Bodies, pages, connections and the time they may take are bounded.
//
// New does no authentication: who may open the unix socket may do all. Over
// TCP, a Gate stands before it.
package api

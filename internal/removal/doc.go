// Package removal removes the logs of containers that the Engine has removed.
//
// The Engine doesn't tell a log driver of that; it tells whoever may open its
// own socket. Where that is mounted into the plugin, which it isn't unless the
// user says so, this package follows the Engine's events. It asks the Engine for
// two things only, GET /events and GET /containers/json, and never for a change.
//
// No log may go by mistake, so that a container counts as removed only
//
//   - when an event says that it was destroyed: now, or before we listened, as
//     far back as the Engine remembers its events; or
//   - when the Engine doesn't list it, and does list another container whose log
//     is kept here and which was created before the missing one last started: an
//     Engine that knew the one has known the other. An Engine that lists none of
//     ours, because the socket is another one's, or its data was moved or lost,
//     and new containers of such an Engine, say nothing about older ones.
//
// A container that is stopped is listed, and stays. What is not noticed so goes
// when its time has come, as without this package (package journal).
//
// A log goes once nobody writes or reads it, and rules have seen every line.
package removal

// Package trigger selects the triggers that an event concerns and delivers what
// the store's outbox holds to their URLs.
//
// What it promises:
//   - Every delivery in the outbox is sent until the receiver has it (2xx) or
//     it is given up as dead: at once for the answers 400, 410, 413, 415 and 422,
//     and otherwise after a day, or where too many of its trigger wait. A dead one
//     is kept, reported by an event, and can be redelivered. It is sent at least
//     once: a kill between the answer and its record sends it again, under the
//     same id.
//   - A trigger's deliveries go out one at a time, when they are due. Their order
//     is that of their events only where none fails; messages about one incident
//     that refer to each other (channel.Kind's Refers), or of which a receiver keeps
//     a state (Single), keep it in any case. While a receiver fails, it gets an
//     attempt every 30 seconds at most.
//   - A slow or dead receiver delays its own trigger only.
//   - Receivers that forget (channel.Kind's Resend) are told again of each incident that
//     isn't resolved, as they were told last, once nothing about it waits. That is no
//     delivery: nothing of it is kept, and what fails is left to the next round.
//   - Nothing here can write an event of source logscan. The event about a
//     trigger's dead deliveries never goes to that trigger, and if it can't be
//     delivered elsewhere, no event says so: reports don't breed reports.
//   - Loopback, link-local (cloud metadata too), unspecified, multicast and
//     reserved addresses are refused when a trigger is saved (CheckTarget) and
//     for each address dialled, whatever its name resolved to by then. Private
//     networks are allowed. Redirects aren't followed, proxies aren't used.
//   - Secrets, URLs and answers' bodies are in no log, error or event.
//
// # What a receiver gets
//
// A POST with Content-Type application/json, and the headers of Standard
// Webhooks (https://www.standardwebhooks.com): webhook-id, the same in every
// attempt and in a redelivery; webhook-timestamp, of the attempt; and, where
// the trigger has a secret, webhook-signature. A secret of the form
// whsec_<base64> stands for the bytes it encodes, any other text for itself.
//
//	{
//	  "mark": "logscan-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
//	  "type": "logscan.hit",                 // or logscan.system
//	  "timestamp": "2026-01-02T15:04:05Z",   // of the event
//	  "test": true,                          // only in a test
//	  "data": {
//	    "id": 42,
//	    "source": "logscan",                 // or system
//	    "severity": "error",                 // info, warn, error, critical
//	    "message": "Out of memory",
//	    "metadata": {"rule_name": "oom", "container_name": "web", …},
//	    "created_at": "2026-01-02T15:04:05Z",
//	    "context": [{"time": "…", "stream": "stdout", "text": "GET / 200"}, …]
//	  }
//	}
//
// # Receivers that log what they get
//
// A receiver may run in a container that is scanned itself, and log its messages
// there; a rule may match them, and the hit goes to the receiver again. This
// doesn't go on for ever, whatever the rule's cooldown:
//   - A line that holds the payload's mark is not evaluated by the rules that
//     match the payload or its message (package echo). So who logs whole
//     payloads, or their beginning, makes no hit, unless a rule matches what the
//     receiver itself writes around them: then one for each message.
//   - Who logs data.message alone makes hits. From the 33rd hit of a rule in a
//     container on, each within five minutes of the one before, the metadata has
//     "in_a_row", how many they are, and data.message begins with the mark in
//     brackets. So the ring ends there.
//
// Nothing else is held back: no container, text or trigger is left out.
//
// The body is the same in every attempt, but for a mark that follows the rules as
// they are changed, and for context that has come meanwhile. Any 2xx answer within 10 seconds means
// that the receiver has it. Otherwise the next attempt comes after 1 s, 2 s,
// 4 s … 5 min, less some jitter, or after what Retry-After says; or at once, where
// the clock has been set back meanwhile.
package trigger

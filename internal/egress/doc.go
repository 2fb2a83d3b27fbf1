// Package egress is the one way out: whatever is sent to an address that somebody
// has written down goes through its guard.
//
// What it promises:
//   - Loopback, link-local (cloud metadata too), unspecified, multicast and
//     reserved addresses are refused when a target is checked (Guard.Check) and
//     for each address dialled (Guard.Dial), whatever its name resolved to by
//     then. Private networks are allowed. Redirects aren't followed, proxies
//     aren't used.
//   - What a Failure says is of our own words: no URL, no header, and nothing
//     that the peer sent.
package egress

// Package correlate makes hits of matches that are one only together with others, or
// by there being none: of rules whose kind isn't line.
//
// It is pure. What it gives depends on the matches, by the time of their entries, in
// the order in which they come, and on the watermark, up to which everything that a
// container wrote is evaluated. So it gives the same again after a kill, whenever the
// watermark was looked at. Entries may be up to Slack out of order: what time decides
// is decided by so much later. Matches of a rule that adds up several containers wait for
// those of these that are behind, as Engine.Behind says, up to a bound.
//
// The matches of a rule are added up for each scope, a container, a workload or the
// rule, and each key, the values that the rule's by names. What is known of each is a
// row, and only rows that changed are written.
package correlate

// Package config is about rules, triggers and silences that are declared elsewhere than
// by the API: in YAML files, in containers' labels, in packs.
//
// A source, such as a file, declares a Set. It is parsed, with the place of each thing
// that is said (Parse), tried on the lines that its rules have as tests (Set.Test), and
// compared with what is there (NewPlan); what differs is stored in one transaction
// (package store's Apply), all of it or nothing.
//
// The files have the names of the API:
//
//	version: 1
//	rules:
//	  KEY: {FIELD: VALUE, …, tests: […], renamed_from: KEY}
//	triggers:
//	  KEY: {FIELD: VALUE, …, renamed_from: KEY}
//	silences:
//	  KEY: {FIELD: VALUE, …, renamed_from: KEY}
//
// KEY is the name, where no field says another. Durations may be written 5m, labels and
// matchers as mappings, and the unit of a duration's name may be left out. What begins
// with x- is not read, so that it can hold what is shared by anchors and merge keys (<<).
package config

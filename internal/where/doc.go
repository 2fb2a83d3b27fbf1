// Package where reads fields of lines and checks conditions on them, such as
// "status >= 500". Lines are JSON objects, also behind a prefix, or have logfmt's
// pairs, key=value, between whatever else they say.
//
// # What a line's fields are
//
// Of a line that has a JSON object, which begins with a brace and a key behind the
// line's begin, a blank or one of | : > ] ), the fields are that object's. Of any other
// line they are the pairs key=value and key="quoted value" that begin behind a blank, an
// opening bracket or one of , ; |.
//
// A path finds a key in the objects that its segments name, or a key of the line itself
// that is the whole path: http.status finds {"http":{"status":500}},
// {"http.status":500} and http.status=500. Where a line has several, or a key twice,
// the first one counts. A null counts as nothing. Where a line stops being JSON, such as
// where it is cut, its fields end; those before count. So a field depends on the line up
// to that field's end alone.
//
// # What it promises
//
//   - Work for a line is linear in its length, whatever it holds, and bounded in the
//     patterns' work as in package match: what would take more is Unknown.
//   - A line is read at most once for all conditions of a Set, and only when one of them
//     is asked for. Values are decoded when they are compared. Nothing is allocated once
//     a Scan is warm, but for numbers of unusual precision.
//
// It does not match lines, knows no rules and has no state between lines.
package where

// Package query answers what is asked about the logs that are kept. It reads them as
// docker logs does, and takes nothing that carries lines.
package query

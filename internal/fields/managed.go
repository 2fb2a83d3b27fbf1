package fields

import (
	"fmt"
	"strings"
)

// API is who manages what is made and changed by the API, and so by the command line.
const API = "api"

// Managed says who manages a thing: only there is it changed and removed.
type Managed struct {
	ManagedBy  string `json:"managed_by,omitempty" readOnly:"true" doc:"Who manages it: api, file:NAME, label:CONTAINER, pack:NAME or fleet; only there can it be changed and removed"`
	Key        string `json:"key,omitempty" readOnly:"true" doc:"What it is called there; absent with api"`
	DeclaredAt string `json:"declared_at,omitempty" readOnly:"true" doc:"Where it is declared there, such as rules.yaml:12"`
}

// Elsewhere reports whether another than the API manages it.
func (m Managed) Elsewhere() bool { return m.ManagedBy != "" && m.ManagedBy != API }

// ManagedError refuses to change a thing that is managed elsewhere.
type ManagedError struct {
	What string // such as: rule pg-disk
	Managed
}

func (e *ManagedError) Error() string {
	if pack, is := strings.CutPrefix(e.ManagedBy, "pack:"); is {
		return fmt.Sprintf("%s is the pack %s's: override it in a workload, or remove the pack", e.What, pack)
	}
	at := ""
	if e.DeclaredAt != "" {
		at = ", at " + e.DeclaredAt
	}
	return fmt.Sprintf("%s is managed by %s%s: change it there", e.What, e.ManagedBy, at)
}

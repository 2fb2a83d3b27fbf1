package fields

import (
	"encoding/json"
	"strconv"
	"strings"

	"logscan/internal/event"
)

// List is a text with commas between its values in JSON and wherever it is shown:
// "error,warn".
type List[T ~string] []T

func (l List[T]) String() string { return event.Join(l) }

// MarshalText implements encoding.TextMarshaler.
func (l List[T]) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads a list, without blanks and repetitions.
func (l *List[T]) UnmarshalText(b []byte) error {
	*l = event.Split[T](string(b))
	return nil
}

// Texts is texts in JSON as an array, whatever they hold.
type Texts []string

// MarshalJSON has no texts be an empty array.
func (t Texts) MarshalJSON() ([]byte, error) { return json.Marshal(append([]string{}, t...)) }

// String is the texts in quotes, for people.
func (t Texts) String() string {
	quoted := make([]string, len(t))
	for i, text := range t {
		quoted[i] = strconv.Quote(text)
	}
	return strings.Join(quoted, ", ")
}

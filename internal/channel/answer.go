package channel

import (
	"bytes"
	"encoding/json"
	"math"
	"time"

	"logscan/internal/egress"
)

// Seconds is what a receiver asks to wait, a day at most.
func Seconds(s float64) time.Duration {
	return time.Duration(math.Ceil(max(0, min(s, egress.MaxWait.Seconds()))*1000)) * time.Millisecond
}

// Fields are the members of a JSON object that an answer is, as far as the answer
// was kept: services repeat in it what they were sent.
func Fields(a egress.Answer) map[string]json.RawMessage {
	d := json.NewDecoder(bytes.NewReader(a.Body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	fields := map[string]json.RawMessage{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			break
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			break
		}
		fields[name.(string)] = value
	}
	return fields
}

// Expect is a verdict on an answer that a service's successes look like, or don't:
// proxies answer 200 too.
func (v Verdict) Expect(ok bool, service string) Verdict {
	if v.Reason == "" && !ok {
		v.Reason = "the receiver's answer is not one of " + service
	}
	return v
}

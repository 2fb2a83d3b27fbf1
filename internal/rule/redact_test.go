package rule

import (
	"strings"
	"testing"

	"logscan/internal/redact"
)

// redactOne evaluates a record with one rule and returns the hits, and the state.
func redactOne(t *testing.T, r Rule, st *State, lines ...string) []Hit {
	t.Helper()
	r.ID, r.Enabled, r.State, r.Streams, r.Kind = 1, true, On, "all", KindLine
	redactor, err := redact.New("")
	if err != nil {
		t.Fatal(err)
	}
	s, bad := Compile([]Rule{r}, WithRedactor(redactor))
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	m := s.For("").Begin()
	defer m.End()
	var of Record
	for _, text := range lines {
		of.Lines = append(of.Lines, Line{Stream: "stdout", TimeNano: 1, Text: []byte(text)})
	}
	return m.Evaluate(st, of, nil, nil)
}

func TestHitsAreRedacted(t *testing.T) {
	var st State
	hits := redactOne(t, Rule{Pattern: `password=(?P<secret>\S+) from=(\S+)`}, &st, "login password=hunter2 from=10.0.0.1")
	if len(hits) != 1 {
		t.Fatal(hits)
	}
	if h := hits[0]; h.Text != "login password=[redacted] from=10.0.0.1" || h.Captures["secret"] != redact.Mark || h.Captures["$2"] != "10.0.0.1" || h.Record != "" {
		t.Errorf("%+v", h)
	}
}

// What makes a capture a secret may stand outside of it, and anywhere in the line.
func TestCapturesAreRedactedFarBehind(t *testing.T) {
	for _, far := range []int{0, redactMargin, redactReach - 30, redactReach, 3 * redactReach} {
		var st State
		line := strings.Repeat("a ", far/2) + "password=hunter2 from=10.0.0.1 pan 4111111111111111"
		hits := redactOne(t, Rule{Pattern: `(hunter2 from=\S+) pan (\d+)`}, &st, line)
		if len(hits) != 1 {
			t.Fatal(far, len(hits))
		}
		if c := hits[0].Captures; c["$1"] != "[redacted] from=10.0.0.1" || c["$2"] != redact.Mark {
			t.Errorf("%d bytes behind: %v", far, c)
		}
	}
}

// No cut leaves the beginning of a secret.
func TestSecretsAreRedactedBeforeTextsAreCut(t *testing.T) {
	for n := MaxText - 40; n <= MaxText+10; n++ {
		var st State
		line := strings.Repeat("x", n-1) + " 4111111111111111 " + strings.Repeat("password=hunter2 ", 500)
		h := redactOne(t, Rule{Pattern: "x"}, &st, line)[0]
		if strings.Contains(h.Text, "4111") || strings.Contains(h.Text, "hunter") || len(h.Text) > MaxText || !strings.HasSuffix(h.Text, ellipsis) {
			t.Fatalf("%d: %q", n, h.Text)
		}
		if strings.Contains(h.Record, "4111") || strings.Contains(h.Record, "hunter") || len(h.Record) > MaxRecordText {
			t.Fatalf("%d: %q", n, h.Record)
		}
	}
}

func TestRecordsAreRedacted(t *testing.T) {
	var st State
	lines := []string{"panic: no such item", "", "goroutine 1 [running]:", "\tkey -----BEGIN PRIVATE KEY-----", "\tMIIE", "\t-----END PRIVATE KEY-----", "\tpassword=hunter2"}
	h := redactOne(t, Rule{Pattern: "no such item"}, &st, lines...)[0]
	if want := "panic: no such item\n\ngoroutine 1 [running]:\n\tkey [redacted]\n[redacted]\n[redacted]\n\tpassword=[redacted]"; h.Record != want {
		t.Errorf("%q", h.Record)
	}
	// A long one says how much is left out, with nothing of what lies beyond.
	lines = append(lines, strings.Repeat("password=hunter2 ", redactReach/17-20), "password=hunter2", "4111111111111111")
	h = redactOne(t, Rule{Pattern: "no such item"}, &st, lines...)[0]
	if strings.Contains(h.Record, "hunter") || strings.Contains(h.Record, "4111") || !strings.HasSuffix(h.Record, "more are left out") || len(h.Record) > MaxRecordText {
		t.Errorf("%q", h.Record)
	}
}

// What is held back is told without secrets too, and keys and cooldowns go by the line as
// it is.
func TestRulesMeanTheSame(t *testing.T) {
	var st State
	r := Rule{Pattern: `password=(\S+)`, By: []string{"$1"}, CooldownSeconds: 60, CooldownBy: ByShape}
	first, other, again := redactOne(t, r, &st, "password=one"), redactOne(t, r, &st, "password=two"), redactOne(t, r, &st, "password=one")
	if len(first) != 1 || len(other) != 1 || len(again) != 0 {
		t.Fatal(first, other, again)
	}
	if first[0].By == other[0].By {
		t.Errorf("both are of %q", first[0].By)
	}
	held := st.TakeSuppressed()
	if len(held) != 1 || held[0].Text != "password=[redacted]" || held[0].By != first[0].By {
		t.Errorf("%+v", held)
	}
}

package matchtest

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// Mixed makes about size bytes of lines, each with its newline, of which about
// the share hits carries the example of a rule.
func Mixed(size int, rules []Rule, hits float64, seed uint64) []byte {
	g := generator{source: newSource(seed), now: time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC)}
	g.b.Grow(size + 4096)
	for g.b.Len() < size {
		if len(rules) > 0 && g.Float64() < hits {
			// Some rules hit much more often than others.
			most := min([]int{10, 10, 10, 100, 1000, len(rules)}[g.IntN(6)], len(rules))
			r := rules[g.IntN(most)]
			if strings.HasPrefix(r.Pattern, "^") {
				g.b.WriteString(r.Example + " tail")
			} else {
				g.line()
				g.b.WriteString(" " + r.Example)
			}
		} else {
			g.line()
		}
		g.b.WriteByte('\n')
	}
	return g.b.Bytes()
}

// Dense makes lines full of the beginnings of what rules match.
func Dense(size int, rules []Rule) []byte {
	r := newSource(5)
	var b bytes.Buffer
	for b.Len() < size {
		b.WriteString("2025-01-02T03:04:05Z info ")
		for range 12 {
			e := rules[r.IntN(len(rules))].Example
			b.WriteString(e[:len(e)*(60+r.IntN(35))/100] + " ")
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// Flood makes lines of which each has ten whole literals of rules that it
// doesn't match.
func Flood(size int, rules []Rule) []byte {
	r := newSource(5)
	var parts []string
	for _, ru := range rules {
		if ru.Part != "" {
			parts = append(parts, ru.Part)
		}
	}
	var b bytes.Buffer
	for b.Len() < size {
		b.WriteString("info ")
		for range 10 {
			b.WriteString(parts[r.IntN(len(parts))] + "# ")
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// Hostile makes a line of a length that holds what each of the rules looks for, as
// often as it can, with all that makes automata take many states between.
func Hostile(length int, rules []Rule, seed uint64) []byte {
	r := newSource(seed)
	var b bytes.Buffer
	for b.Len() < length {
		ru := rules[r.IntN(len(rules))]
		part := ru.Part
		if part == "" {
			part = ru.Example[:len(ru.Example)*9/10]
		}
		b.WriteString(part)
		for range 8 {
			b.WriteString(r.pick([]string{"ERROR", " ERROR ", "level=error ", "exception", "a", "b", "ab", "\"", " ", "x", "5"}))
		}
	}
	return b.Bytes()[:length]
}

// Long makes lines of about length bytes.
func Long(size, length int) []byte {
	b := Mixed(size, nil, 0, 1)
	n := 0
	for i := range b {
		if n++; b[i] == '\n' && n < length {
			b[i] = ' '
		} else if b[i] == '\n' {
			n = 0
		}
	}
	b[len(b)-1] = '\n'
	return b
}

// Split returns the lines of a text without their newlines.
func Split(text []byte) [][]byte {
	return bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
}

type generator struct {
	source
	b   bytes.Buffer
	now time.Time
}

func (g *generator) printf(format string, args ...any) { fmt.Fprintf(&g.b, format, args...) }

func (g *generator) ip() string {
	return fmt.Sprintf("%d.%d.%d.%d", 10+g.IntN(180), g.IntN(256), g.IntN(256), g.IntN(256))
}

func (g *generator) message() string {
	w := g.word
	switch g.IntN(8) {
	case 0:
		return fmt.Sprintf("%s %s %s", w(), w(), g.pick([]string{"completed", "started", "accepted", "finished", "skipped"}))
	case 1:
		return fmt.Sprintf("handled %s request for %s in %d.%03dms", w(), w(), g.IntN(300), g.IntN(1000))
	case 2:
		return fmt.Sprintf("connection from %s:%d accepted", g.ip(), 1024+g.IntN(60000))
	case 3:
		return fmt.Sprintf("refreshed %s %s cache entries=%d hits=%d", w(), w(), g.IntN(10000), g.IntN(100000))
	case 4:
		return fmt.Sprintf("%s worker %d: processed batch of %d %s records", w(), g.IntN(64), g.IntN(2000), w())
	case 5:
		return fmt.Sprintf("user %s updated %s settings (%s)", w()+g.hex(4), w(), w())
	case 6:
		return fmt.Sprintf("scheduled %s %s with timeout %ds and retry limit %d", w(), w(), g.IntN(60), g.IntN(9))
	}
	return fmt.Sprintf("%s: %s no error, %s connection pool size=%d idle=%d", w(), w(), w(), g.IntN(100), g.IntN(100))
}

func (g *generator) level() string {
	switch x := g.IntN(1000); {
	case x < 850:
		return "info"
	case x < 950:
		return "debug"
	}
	return "warn"
}

func (g *generator) status() int {
	switch x := g.IntN(1000); {
	case x < 930:
		return 200
	case x < 960:
		return 304
	case x < 975:
		return 301
	case x < 998:
		return 404
	}
	return 499
}

// line writes what one of several programs could.
func (g *generator) line() {
	g.now = g.now.Add(time.Duration(g.IntN(3000)) * time.Microsecond)
	w, v, t := g.word, vocabulary, g.now
	switch k := g.IntN(100); {
	case k < 25: // a web server's access log
		g.printf(`%s - - [%s] "%s /%s/%s/%d?%s=%s HTTP/1.1" %d %d "https://%s.example.com/%s" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36" rt=%d.%03d`,
			g.ip(), t.Format("02/Jan/2006:15:04:05 -0700"), g.pick([]string{"GET", "GET", "GET", "POST", "PUT"}), w(), w(), g.IntN(100000), w(), g.hex(6), g.status(), g.IntN(50000), w(), w(), 90+g.IntN(40), g.IntN(3), g.IntN(1000))
	case k < 50: // JSON
		g.printf(`{"time":"%s","level":"%s","service":"%s","trace_id":"%s","msg":"%s","status":%d,"duration_ms":%d.%d}`,
			t.Format(time.RFC3339Nano), g.level(), g.pick(v.services), g.hex(32), g.message(), g.status(), g.IntN(900), g.IntN(10))
	case k < 68: // logfmt
		g.printf(`time=%s level=%s component=%s caller=%s.go:%d msg="%s" request_id=%s status=%d`,
			t.Format(time.RFC3339), g.level(), g.pick(v.services), w(), g.IntN(900), g.message(), g.hex(16), g.status())
	case k < 78: // Java
		g.printf(`%s %5s [%s-thread-%d] c.acme.%s.%s - %s`,
			t.Format("2006-01-02 15:04:05,000"), strings.ToUpper(g.level()), w(), g.IntN(64), w(), g.pick(v.components), g.message())
	case k < 84: // a stack's frame
		g.printf("\tat com.acme.%s.%s.%s(%s.java:%d) ~[acme-%s-1.%d.jar:?]", w(), g.pick(v.components), w(), g.pick(v.components), g.IntN(900), w(), g.IntN(40))
	case k < 90:
		g.postgres()
	case k < 95: // Kubernetes
		g.printf(`I%s %7d %s_%s.go:%d] "%s" pod="%s/%s-%s" containerID="containerd://%s"`,
			t.Format("0102 15:04:05.000000"), g.IntN(30000), w(), w(), g.IntN(900), g.message(), w(), g.pick(v.services), g.hex(5), g.hex(24))
	case k < 98: // syslog
		g.printf(`%s host%d sshd[%d]: Accepted publickey for %s from %s port %d ssh2: RSA SHA256:%s`,
			t.Format("Jan _2 15:04:05"), g.IntN(40), g.IntN(30000), w(), g.ip(), 1024+g.IntN(60000), g.hex(43))
	default: // not English
		g.printf(`%s INFO – Benutzer „%s“ hat %d Einträge geändert; größe=%d 日本語ログ %s ✓ naïve café`, t.Format(time.RFC3339), w(), g.IntN(100), g.IntN(10000), w())
		if g.IntN(50) == 0 {
			g.b.Write([]byte{0xff, 0xfe, 'x'})
		}
	}
}

func (g *generator) postgres() {
	w, t := g.word, g.now.Format("2006-01-02 15:04:05.000")
	switch g.IntN(3) {
	case 0:
		g.printf(`%s UTC [%d] app@%s LOG:  duration: %d.%03d ms  statement: SELECT %s, %s FROM %s WHERE %s_id = %d AND state = '%s'`,
			t, g.IntN(30000), w(), g.IntN(100), g.IntN(1000), w(), w(), w(), w(), g.IntN(100000), w())
	case 1:
		g.printf(`%s UTC [%d] LOG:  checkpoint complete: wrote %d buffers (%d.%d%%); 0 WAL file(s) added, 0 removed, %d recycled; write=%d.%03d s, sync=0.%03d s, total=%d.%03d s`,
			t, g.IntN(30000), g.IntN(10000), g.IntN(100), g.IntN(10), g.IntN(10), g.IntN(100), g.IntN(1000), g.IntN(1000), g.IntN(100), g.IntN(1000))
	default:
		g.printf(`%s UTC [%d] LOG:  connection authorized: user=%s database=%s application_name=%s`,
			t, g.IntN(30000), w(), w(), g.pick(vocabulary.services))
	}
}

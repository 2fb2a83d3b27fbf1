package where

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// agree compares what conditions make of a line with what the oracle does.
func agree(t *testing.T, line string, conditions []*Condition) {
	t.Helper()
	var b Builder
	var numbers []int32
	for _, c := range conditions {
		numbers = append(numbers, b.Add(c))
	}
	s := b.Build().Acquire()
	defer s.Release()
	for range 2 { // what one line leaves behind is nothing to the next
		s.Reset([]byte(line))
		for i, c := range conditions {
			if c.group != "" {
				continue
			}
			if got, want := s.Holds(numbers[i]), verdict(naiveHolds(c, line)); got != want {
				text, ok := s.Text(numbers[i])
				t.Errorf("%s: %d instead of %d, for the value %q, %v: %q", c, got, want, text, ok, line)
			}
		}
		s.Reset([]byte(`{"status":999,"level":"fatal","msg":"\n"}`))
		for i, c := range conditions {
			if c.group == "" {
				s.Holds(numbers[i])
			}
		}
	}
}

var someConditions = []string{
	`status = 500`, `status != 500`, `status >= 500`, `status < 500`, `status in (500, 502, "503")`, `status exists`, `status missing`, `status = "500"`,
	`status ~ ^5`, `status !~ ^5`, `http.status = 500`, `http.status > 499.5`, `"http.status" = 500`, `a[0].b = x`, `a[1] exists`, `a ~ x`, `"k8s.io/x" = y`,
	`msg ~ "out of memory"`, `msg !~ a.b`, `msg = "a \"b\" \\ c"`, `took > 1.5s`, `took <= 90s`, `took = 1m30s`, `took > 2`, `size >= 1MiB`, `size = 1048576B`,
	`level >= error`, `level = info`, `level != warn`, `level in (warn, fatal)`, `level missing`, `level < info`, `level <= debug`, `level > warn`, `"level" = error`,
	`ü = é`, `"" = x`, `msg = ""`, `msg != ""`, `http exists`, `http ~ status`, `id = 9007199254740993`, `id > 9007199254740992`, `n = 1000`, `n = -0.5`, `b = true`, `a.b.c.d exists`,
}

var someLines = []string{
	``, `{}`, `{"status":500}`, `{"status":"500"}`, `{"status":500.0}`, `{"status":5e2}`, `{"status": 499 , "a":1}`, `{"status":0500}`, `{"status":500`, `{"status":500 `,
	`{"status":null}`, `{"status":null,"status":500}`, `{"status":500,"status":200}`, `{"status":{"status":500}}`, `{"status":[500]}`,
	`{"http":{"status":500},"http.status":200}`, `{"http.status":200,"http":{"status":500}}`, `{"http":{"http.status":500}}`, `http.status=500`,
	`{"http":{"status":500,"x":tru},"status":500}`, `{"a":[{"b":"x"},1]}`, `{"a":[]}`, `{"a":[[{"b":"x"}]]}`, `{"a":[{"b":"x"},1,}`, `{"a":{"b":{"c":{"d":1}}}}`,
	`{"k8s.io/x":"y"}`, `{"\u006bs":1,"st\u0061tus":500}`, `{"msg":"java: out of memory"}`, `{"msg":"a \"b\" \\ c"}`, `{"msg":"a\u0020\"b\" \\ c\ud83d\ude00"}`, `{"msg":"\ud83d"}`,
	`{"msg":"\x"}`, `{"msg":"\u12"}`, "{\"msg\":\"a\tb\",\"status\":500}", "{\"msg\":\"a\xffb\",\"status\":500}", "{\"m\xff\":1,\"status\":500}", "{\"\xff\":1}",
	`{"took":"2s"}`, `{"took":"1m30s"}`, `{"took":"1.5 s"}`, `{"took":2}`, `took=90000ms`, `took=1m30.0s`, `took="90 s"`, `{"size":"1.5MB"}`, `size=1MiB`, `size=0.001GB,`,
	`{"level":"error","status":500}`, `{"level":50}`, `{"severity":"warn","lvl":"info"}`, `level=warn msg="x"`, `ERROR x`, `2026-01-01 00:00:00 WARN level=info`, `web | {"level":"fatal"}`,
	`<11>x level=info`, `<11>x`, `{"@t":"x"}`, `{"priority":1}`, `{"s":"E","priority":"7"}`,
	`status=500 msg="a \"b\" \\ c"`, `"status=500" x`, `"status=500 x`, `x status=500, a`, `(status=500)`, `[status=500] x`, `{status=500}`, `GET /?status=500`, `status==500`, `status= x`, `status=`,
	`status="500`, `status="500"http.status=500`, `a="\u0041\q" msg="\n"`, `{"id":9007199254740993}`, `{"id":9007199254740992.0}`, `{"n":1e3}`, `n=-0.50`, `n=+1000`, `{"b":true}`, `b=true`,
	`ü=é`, `{"":"x"}`, `="x"`, `{"msg":""}`, `{"a":1}{"status":500}`, `{ "status" : 500 }x`, `x{"status":500}`, `x: {"status":500}`, `{"a {"status":500}`, `{"a" x {"status":500}`, `{"status":500,}`, `{"status" 500}`, `{"a":-,"status":500}`, `{"a":01,"status":500}`, `{"a":1.,"status":500}`, `{"a":truex,"status":500}`,
	`{"a":"x"`, `{"a"`, `{"a":`, `{`, `{"`, `{"a":{}}`, `{"a":{"b":[{},[],{"c":[1,{"d":2}]}]},"status":500}`, `{"a":[1,2}`, `{"a":{"b":1]}`,
}

// The quick way and the slow one agree, condition by condition and line by line.
func TestAgree(t *testing.T) {
	var conditions []*Condition
	for _, text := range someConditions {
		conditions = append(conditions, must(t, text))
	}
	for _, line := range someLines {
		agree(t, line, conditions)
	}
}

// So they do on lines and conditions that are made up.
func TestAgreeAtRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	rounds := 1000
	if testing.Short() {
		rounds = 300
	}
	for range rounds {
		var conditions []*Condition
		for range 1 + rnd.IntN(8) {
			conditions = append(conditions, must(t, randomCondition(rnd)))
		}
		for range 5 {
			agree(t, randomLine(rnd), conditions)
		}
	}
}

func pick(rnd *rand.Rand, from ...string) string { return from[rnd.IntN(len(from))] }

func randomKey(rnd *rand.Rand) string {
	return pick(rnd, "a", "b", "status", "http", "level", "msg", "took", "severity", "log", "x.y", "ü")
}

func randomValue(rnd *rand.Rand) string {
	return pick(rnd, "500", "499", "5e2", "500.5", "-3", "x", "error", "WARN", "30", "", "2s", "1m30s", "1500ms", "1.5 s", "10MB", "10MiB", "true", "out of memory", "a,b", `q"q`, `back\slash`, "é", "9007199254740993", "0.1", "123456789012345678901")
}

func randomCondition(rnd *rand.Rand) string {
	var p []string
	for range 1 + rnd.IntN(3) {
		key := randomKey(rnd)
		if strings.Contains(key, ".") && rnd.IntN(2) == 0 {
			key = quote(key)
		}
		if rnd.IntN(4) == 0 {
			key += fmt.Sprintf("[%d]", rnd.IntN(3))
		}
		p = append(p, key)
	}
	of, is := strings.Join(p, "."), ""
	if of == "level" {
		of += pick(rnd, " = ", " != ", " < ", " <= ", " > ", " >= ")
		return of + pick(rnd, Levels...)
	}
	switch op := pick(rnd, "=", "!=", "<", "<=", ">", ">=", "~", "!~", "in", "exists", "missing"); op {
	case "exists", "missing":
		is = op
	case "in":
		is = "in (" + quote(randomValue(rnd)) + ", " + pick(rnd, "500", "2s", "x") + ")"
	case "~", "!~":
		is = op + " " + pick(rnd, "^5", "o+", `\d$`, `(?i)ERR`, ".", `a|b`, `^$`)
	case "=", "!=":
		if is = op + " " + quote(randomValue(rnd)); rnd.IntN(2) == 0 {
			is = op + " " + pick(rnd, "500", "x", "2s", "1m30s", "error", "10MB", "0.1", "9007199254740992")
		}
	default:
		is = op + " " + pick(rnd, "500", "499.99", "-3", "2s", "90s", "10MB", "9.8MiB", "9007199254740992", "5e2", "123456789012345678902")
	}
	return of + " " + is
}

func randomLine(rnd *rand.Rand) string {
	var b strings.Builder
	b.WriteString(pick(rnd, "", "", "", "web | ", "2026-01-01 00:00:00 WARN ", "<11>", "say=x ", "x"))
	if rnd.IntN(3) == 0 {
		for range rnd.IntN(6) {
			b.WriteString(pick(rnd, " ", " ", "\t", ", ", " (", ""))
			switch rnd.IntN(6) {
			case 0:
				b.WriteString(pick(rnd, "word", `"quoted a=1"`, "a==b", "=", `"`, "ERROR", "]"))
			case 1:
				b.WriteString(randomKey(rnd) + "=" + quote(randomValue(rnd)))
			default:
				b.WriteString(randomKey(rnd) + "=" + randomValue(rnd))
			}
		}
	} else {
		randomJSON(rnd, &b, 0, true)
	}
	line := []byte(b.String())
	for rnd.IntN(3) == 0 && len(line) > 0 { // and then something happens to it
		at := rnd.IntN(len(line))
		switch rnd.IntN(4) {
		case 0:
			line = line[:at]
		case 1:
			line[at] = byte(rnd.IntN(256))
		case 2:
			line = slices.Insert(line, at, []byte(pick(rnd, `"`, `\`, `{`, `}`, `,`, `:`, ` `, `{"a":1}`, `\u00e9`, `null`))...)
		case 3:
			line = append(line, line[at:]...)
		}
	}
	return string(line)
}

func randomJSON(rnd *rand.Rand, b *strings.Builder, depth int, object bool) {
	gap := func() { b.WriteString(pick(rnd, "", "", "", " ", "\t")) }
	kind := rnd.IntN(8)
	if object {
		kind = 0
	}
	if depth > 4 && kind < 2 {
		kind = 2
	}
	switch kind {
	case 0, 1:
		b.WriteByte("{["[kind])
		for n := range rnd.IntN(5) {
			if n > 0 {
				b.WriteByte(',')
			}
			gap()
			if kind == 0 {
				fmt.Fprintf(b, "%q", randomKey(rnd))
				gap()
				b.WriteByte(':')
				gap()
			}
			randomJSON(rnd, b, depth+1, false)
			gap()
		}
		b.WriteByte("}]"[kind])
	case 2:
		b.WriteString(pick(rnd, "null", "true", "false", "0", "-1.5e-3"))
	case 3, 4:
		b.WriteString(pick(rnd, "500", "499", "5e2", "500.0", "30", "9007199254740993", "0.1"))
	default:
		b.WriteString(quote(randomValue(rnd)))
	}
}

func FuzzAgree(f *testing.F) {
	for i, line := range someLines {
		f.Add([]byte(line), strings.Join(someConditions[i%len(someConditions):], "\n"))
	}
	f.Fuzz(func(t *testing.T, line []byte, texts string) {
		if len(line) > 4096 || len(texts) > 4096 {
			return
		}
		var conditions []*Condition
		for text := range strings.SplitSeq(texts, "\n") {
			if c, err := Parse(text, Compile); err == nil {
				conditions = append(conditions, c)
			}
		}
		agree(t, string(line), conditions)
	})
}

// Lines that are made to be dear are read like any other, and the longest ones end: in a
// way that isn't linear they would take hours.
func TestHostileLines(t *testing.T) {
	var conditions []*Condition
	var b Builder
	var numbers []int32
	for _, text := range someConditions {
		c := must(t, text)
		conditions, numbers = append(conditions, c), append(numbers, b.Add(c))
	}
	s := b.Build().Acquire()
	defer s.Release()
	for _, part := range []string{
		"{", `{"a":`, `{"a"`, `{ `, `[`, `{"a":[`, `a=`, `a=b `, `"`, ` "`, `\`, ` "\"`, `)`, `status=)))),;`, "\x1b[", "| ", "<1>", "1", "\xff", "\x00", "1m", `{"a":1} `, ",", `{"status":500}`,
	} {
		for _, before := range []string{"", `{"status":"`, `status=`, `{"a":`} {
			agree(t, before+strings.Repeat(part, 300/len(part)), conditions)
			s.Reset([]byte(before + strings.Repeat(part, 1<<20/len(part))))
			for i, n := range numbers {
				if s.Holds(n) == Unknown {
					t.Errorf("%s%s…: %s is unknown", before, part, conditions[i])
				}
			}
		}
	}
}

// JSON that goes too deep ends there.
func TestDepth(t *testing.T) {
	conditions := []*Condition{must(t, "a exists"), must(t, "b = 1"), must(t, "a[0][0] exists"), must(t, "a[0] = 1")}
	for _, depth := range []int{1, maxDepth - 2, maxDepth - 1, maxDepth, maxDepth + 1} {
		for _, part := range []string{"[]", `{"x":}`} {
			agree(t, `{"a":`+strings.Repeat(part[:len(part)-1], depth)+"1"+strings.Repeat(part[len(part)-1:], depth)+`,"b":1}`, conditions)
		}
	}
}

// Patterns on values take a bounded amount of work, and what they can't decide within it
// is unknown.
func TestWorkIsBounded(t *testing.T) {
	var b Builder
	dear := b.Add(must(t, `msg ~ (a?){1000}.*c`))
	other := b.Add(must(t, `msg ~ ^a`))
	s := b.Build().Acquire()
	defer s.Release()
	s.Reset([]byte(`{"msg":"` + strings.Repeat("a", 900_000) + `"}`))
	if got, rest := s.Holds(dear), s.Holds(other); got != Unknown || rest != Yes {
		t.Errorf("%d, and of a cheap one %d", got, rest)
	}
	s.Reset([]byte(`{"msg":"aac"}`))
	if got := s.Holds(dear); got != Yes {
		t.Errorf("a short one: %d", got)
	}
	if got := s.HoldsFor(dear, []byte("aab"), true); got != No {
		t.Errorf("a group: %d", got)
	}
	if got := s.HoldsFor(dear, nil, false); got != No {
		t.Errorf("a group that took no part: %d", got)
	}
}

// Nothing is allocated for a line.
func TestAllocations(t *testing.T) {
	rules, lines := benchmarkRules(t)
	set, numbers := compileRules(rules)
	s := set.Acquire()
	defer s.Release()
	for _, line := range lines {
		if n := testing.AllocsPerRun(10, func() { evaluate(s, line, numbers) }); n > 0 {
			t.Errorf("%v: %s", n, line)
		}
	}
}

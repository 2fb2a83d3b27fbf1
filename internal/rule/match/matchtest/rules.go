// Package matchtest makes rules and logs to measure matching with: what
// programs of many kinds write, in a small vocabulary that rules and lines
// share, so that lines often hold parts of what rules look for. Equal arguments
// give equal results.
package matchtest

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Rule is a pattern, a line's end that it matches, and a literal that each of
// its matches contains but that is no match by itself ("" where there is none).
type Rule struct {
	Pattern string
	Example string
	Part    string
}

var words = strings.Fields(`
	accept abort account acquire address admin agent alert alloc append apply archive assign attach audit auth backend
	backoff backup bad balance batch bind block body bootstrap broker bucket buffer build bulk cache call cancel capacity
	cert chain channel check checksum chunk client close cluster code commit compact complete config conflict connect
	connection consumer container context controller copy core corrupt create credential cursor data database deadline
	deadlock debug decode default delete deliver deny deploy descriptor device digest disk dispatch dns domain drain
	driver drop duplicate election encode endpoint engine entry epoch error evict exceed execute exhaust exit expire
	export fail fallback fence fetch file filter flush follower force format forward frame full gateway generation grant
	graph group guard handle handshake header health heap heartbeat host idle image import index ingest init inode input
	insert instance invalid invoke isolate job join journal kernel key kill latency layer leader leak lease limit link
	listen listener load lock log loop lost manifest map master match memory merge message metadata metric migrate mirror
	missing mount move mutex namespace network node notify null object offset open operation order orphan output overflow
	owner packet page panic parse partition password path payload peer permission persist pipeline plugin pod poll pool
	port postpone primary probe process producer profile promote protocol proxy publish pull purge push query queue quorum
	quota range rate read ready rebalance recover redirect refresh refuse register reject release reload remote remove
	render replay replica replicate report request reserve reset resize resolve resource response restart restore resume
	retain retry revoke role rollback rotate route row rule run sample scale scan schedule schema seal secret section
	segment select semaphore send sequence serial server service session shard share shrink shutdown signal size sleep
	slot snapshot socket source spill split stack stage stale standby start state status stop storage store stream stuck
	submit subscribe sync table tablet tail task tenant term thread throttle ticket timeout timer tls token topic trace
	transaction transfer transport tree trigger truncate trust tunnel txn unavailable unexpected unknown unlock unmount
	unreachable update upgrade upload upstream user validate value verify version view violate volume vote wait wal warm
	watch watermark worker write zone`)

// common are rules as most people begin with.
var common = []Rule{
	{`(?i)panic: `, "goroutine crashed: Panic: runtime error", ""},
	{`level=(error|fatal)`, "ts=1 level=fatal msg=boom", ""},
	{`OOMKilled|Out of memory`, "kernel: Out of memory: Killed process 1234", ""},
	{`connection (refused|reset) by peer`, "read tcp: connection reset by peer", "connection "},
	{`status=5\d\d`, "handled path=/x status=503 dur=1ms", "status=5"},
	{`timeout after (?P<ms>\d+)ms`, "upstream timeout after 3000ms", "timeout after "},
	{`^\d{4}-.* ERROR .*Exception`, "2025-01-02 03:04:05 ERROR [main] FooException: x", " ERROR "},
	{`too many open files`, "accept4: too many open files", ""},
	{`segfault at [0-9a-f]+ ip [0-9a-f]+`, "app[1]: segfault at 7f00 ip 0045 sp", "segfault at "},
	{`(?i)\b(disk|volume) (is )?full\b`, "write failed: Disk is full", "disk "},
}

// Loose are rules of which no literal is of use.
func Loose() []Rule {
	return []Rule{
		{`\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}:\d{6,}`, "10.0.0.1:999999", ""},
		{`[A-Z]{3,}_[A-Z]{2,}_\d{4}`, "ABC_DE_1234", ""},
		{`^[^ ]+ [^ ]+ [!#%] `, "a b ! c", ""},
		{`[[:xdigit:]]{48,}`, strings.Repeat("a0", 24), ""},
		{`\b5\d\d\b`, " 503 ", ""},
		{`\b[A-Z]\d{2}-[A-Z]\d{2}\b`, " A12-B34 ", ""},
		{`\d+(\.\d+)?[TP]i?B\b`, "1.5TiB", ""},
		{`(\w)+@(\w)+\.\w{2,3}`, "a@b.org", ""},
		{`^\s*[})\]]+\s*$`, " })", ""},
		{`\b\d{3}-\d{2}-\d{4}\b`, " 123-45-6789 ", ""},
	}
}

type source struct {
	*rand.Rand
}

func newSource(seed uint64) source { return source{rand.New(rand.NewPCG(seed, 0x6c6f67))} }

func (r source) pick(a []string) string { return a[r.IntN(len(a))] }
func (r source) word() string           { return r.pick(words) }

func (r source) hex(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "0123456789abcdef"[r.IntN(16)]
	}
	return string(b)
}

// names of services, components and exceptions.
type names struct{ services, components, exceptions []string }

var vocabulary = func() names {
	r := newSource(7)
	var n names
	syllables := strings.Fields("ba be bi bo ca ce co da de di do fa fe fi ga go ha he jo ka ke ki la le li lo lu ma me mi mo na ne ni no pa pe po qu ra re ri ro sa se si so ta te ti to tu va ve vi vo wa xi ya zo")
	for range 300 {
		var b strings.Builder
		for range 2 + r.IntN(2) {
			b.WriteString(r.pick(syllables))
		}
		n.services = append(n.services, b.String()+"-"+r.pick(strings.Fields("svc api worker gateway proxy store db queue manager")))
	}
	title := func() string { w := r.word(); return strings.ToUpper(w[:1]) + w[1:] }
	for range 400 {
		n.components = append(n.components, title()+title()+r.pick(strings.Fields("Manager Service Handler Repository Controller Client Factory Processor")))
		n.exceptions = append(n.exceptions, title()+title()+r.pick(strings.Fields("Exception Error Failure")))
	}
	return n
}()

// Rules makes n rules, the common ones first.
func Rules(n int) []Rule {
	r := newSource(42)
	seen := map[string]bool{}
	out := append([]Rule(nil), common...)
	for len(out) < n {
		if ru := r.rule(); !seen[ru.Pattern] {
			seen[ru.Pattern] = true
			out = append(out, ru)
		}
	}
	return out[:n]
}

func (r source) rule() Rule {
	v := vocabulary
	a, b, c := r.word(), r.word(), r.word()
	switch k := r.IntN(100); {
	case k < 22:
		p := r.pick([]string{"failed to", "unable to", "could not", "cannot", "refusing to", "error while trying to"}) + " " + a + " " + b
		return Rule{p, p, ""}
	case k < 32:
		d := r.word()
		return Rule{fmt.Sprintf(`%s %s (%s|%s) (failed|aborted|rejected)`, d, a, b, c), d + " " + a + " " + c + " aborted", d + " " + a + " " + b + " "}
	case k < 44:
		x := r.pick(v.exceptions)
		return Rule{fmt.Sprintf(`(?:com|org)\.[a-z]+\.%s\.%s`, a, x), "Caused by: com.acme." + a + "." + x + ": boom", "." + a + "." + x}
	case k < 54:
		return Rule{fmt.Sprintf(`(?i)%s[ _-]?%s (error|failure|timeout)`, a, b), strings.ToUpper(a) + "_" + b + " Failure", a + "-" + b + " "}
	case k < 64:
		s := r.pick(v.services)
		return Rule{fmt.Sprintf(`level=(warn|error|fatal) .*component=%s.* err="[^"]*%s`, s, a), `level=error ts=1 component=` + s + ` x=1 err="bad ` + a + `"`, "component=" + s}
	case k < 72:
		code := strings.ToUpper(a)[:min(3, len(a))]
		d := r.IntN(90) + 10
		return Rule{fmt.Sprintf(`\b%s-%d\d{3}\b`, code, d), fmt.Sprintf("code %s-%d123 seen", code, d), fmt.Sprintf("%s-%d", code, d)}
	case k < 80:
		x := r.pick(v.components)
		return Rule{fmt.Sprintf(`^\S+ \S+ +(ERROR|FATAL) .*%s.*%s`, x, a), "2025-01-02 03:04:05,678 ERROR [main] " + x + " lost " + a, x}
	case k < 88:
		s := r.pick(v.services)
		return Rule{fmt.Sprintf(`"service":"%s".*"(?:status|code)":5\d\d`, s), `{"service":"` + s + `","x":1,"status":502}`, `"service":"` + s + `"`}
	case k < 94:
		return Rule{fmt.Sprintf(`%s (?P<id>[0-9a-f-]{8,36}) %s (?:after|in) (?P<n>\d+)(ms|s)`, a, b), a + " deadbeef-0123 " + b + " after 55ms", " " + b + " after "}
	}
	return Rule{fmt.Sprintf(`%s_%s(_total)?: [A-Z]+`, a, b), a + "_" + b + ": FAIL", a + "_" + b}
}

// Wide makes n rules whose matches may be hundreds of bytes long, or as long as
// the line.
func Wide(n int) []Rule {
	r := newSource(43)
	out := make([]Rule, n)
	for i := range out {
		w := r.word() + " " + r.word()
		form := []string{`ERROR.{0,500}%s`, `(?i)exception.{1,200}%s`, `ERROR.*%s.*\d{3}x`, `ERROR [ab]{1,300}%s`, `(a|b)*a(a|b){12}%s`}[i%5]
		out[i] = Rule{Pattern: fmt.Sprintf(form, w), Example: "exception ERROR aaaaaaaaaaaaaaa" + w + " 123x", Part: w}
	}
	return out
}

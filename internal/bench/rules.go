package main

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"logscan/internal/rule"
)

// Words that rules are made of, as people write them for services' logs.
var (
	verbs  = strings.Fields("accept acquire allocate append attach bind commit compact connect decode deliver deploy dispatch drain encode evict export fetch flush format index insert join load lock merge migrate mount notify open parse publish read rebalance release replay replicate resolve restore resume retry rotate route scale schedule seal send serve spill start store submit subscribe sync truncate unlock update upload validate verify write")
	nouns  = strings.Fields("account archive backend batch block broker bucket buffer cache certificate chain channel checksum chunk client cluster config connection consumer cursor database device digest disk domain endpoint engine epoch file filter frame gateway generation graph group handle heap image inode job journal kernel key latency layer lease listener manifest mapping memory message metadata mirror namespace node object offset operator owner packet page partition password path payload peer pipeline plugin pod pool port primary process producer profile proxy queue quorum quota record region registry replica request reservation resource response role route schema section segment semaphore sequence session shard signal snapshot socket stack storage stream table tablet tenant thread ticket token topic trace transaction transport tree tunnel upstream user value version volume watcher worker zone")
	faults = strings.Fields("aborted canceled corrupt denied dropped exceeded exhausted failed fatal invalid lost missing panic refused rejected stale stuck timeout unavailable unreachable")
)

// rules returns n rules, always the same ones. Some lines of loggen match none
// of them, as most lines of a service match no rule.
func rules(n int) []rule.Rule {
	r := rand.New(rand.NewPCG(1, 2))
	verb := func() string { return verbs[r.IntN(len(verbs))] }
	noun := func() string { return nouns[r.IntN(len(nouns))] }
	fault := func() string { return faults[r.IntN(len(faults))] }
	var out []rule.Rule
	seen := map[string]bool{}
	for len(out) < n {
		var p string
		switch r.IntN(8) {
		case 0, 1:
			p = fmt.Sprintf(`failed to %s %s %s`, verb(), noun(), noun())
		case 2:
			p = fmt.Sprintf(`(?i)%s %s: %s`, noun(), noun(), fault())
		case 3:
			p = fmt.Sprintf(`%s %s (%s|%s)`, noun(), noun(), fault(), fault())
		case 4:
			p = fmt.Sprintf(`could not %s %s after \d+ (ms|attempts)`, verb(), noun())
		case 5:
			p = fmt.Sprintf(`(?i)\b%s %s %s\b`, noun(), noun(), fault())
		case 6:
			p = fmt.Sprintf(`level=(error|fatal) .*%s_%s=(?P<value>\S+)`, noun(), verb())
		case 7:
			p = fmt.Sprintf(`%s%sException: .*%s`, title(noun()), title(noun()), fault())
		}
		if !seen[p] {
			seen[p] = true
			out = append(out, rule.Rule{Name: fmt.Sprintf("rule %d", len(out)+1), Pattern: p, Severity: "warn", Streams: "all", Enabled: true})
		}
	}
	return out
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

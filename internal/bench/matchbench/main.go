//go:build vectorscan

package main

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"log"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/rule/match"
	"logscan/internal/rule/match/matchtest"
)

var (
	size     = flag.Int("mib", 64, "size of the corpus in `MiB`")
	rounds   = flag.Int("rounds", 7, "interleaved `rounds` of each measurement")
	database = flag.String("logcheck", "", "`directory` where Debian's logcheck-database is unpacked, to compare with grep over its patterns")
	only     = flag.String("only", "", "of `rules,adverse,build,logcheck` those to run; all by default")
)

func main() {
	flag.Parse()
	log.SetFlags(0)
	runtime.LockOSThread() // what is measured is this thread's time
	fmt.Printf("%s, %s, vectorscan %s, medians of %d interleaved rounds, thread CPU time\n", processor(), runtime.Version(), vectorscanVersion(), *rounds)
	run := func(name string, f func() error) {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), name) {
			return
		}
		fmt.Println()
		if err := f(); err != nil {
			log.Fatal(err)
		}
		debug.FreeOSMemory()
	}
	run("rules", byRules)
	run("adverse", adverse)
	run("build", building)
	if *database != "" {
		run("logcheck", func() error { return logcheck(*database) })
	}
	fmt.Println()
	printTargets()
}

// text is lines to be matched, in blocks as the journal gives them.
type text struct {
	blocks []block
	lines  int
}

type block struct {
	bytes []byte
	lines [][]byte
	ends  []uint32
}

func newText(b []byte) *text {
	const blockSize = 256 << 10
	t := &text{}
	for len(b) > 0 {
		n := min(blockSize, len(b))
		if i := bytes.IndexByte(b[n-1:], '\n'); i >= 0 {
			n += i
		} else {
			n = len(b)
		}
		bl := block{bytes: b[:n]}
		from := 0
		for i, c := range bl.bytes {
			if c == '\n' {
				bl.ends = append(bl.ends, uint32(i))
				bl.lines = append(bl.lines, bl.bytes[from:i])
				from = i + 1
			}
		}
		t.blocks = append(t.blocks, bl)
		t.lines += len(bl.lines)
		b = b[n:]
	}
	return t
}

// engine is one of those compared. scan returns its hits.
type engine struct {
	name  string
	scan  func(t *text) int
	close func()
}

func ours(name string, patterns []string, stats *match.Stats) (engine, error) {
	m, err := compile(patterns, stats)
	if err != nil {
		return engine{}, err
	}
	return engine{name: name, close: func() {}, scan: func(t *text) int {
		s := m.Acquire() // for many lines, as the scanner does
		defer s.Release()
		n := 0
		for i := range t.blocks {
			for _, l := range t.blocks[i].lines {
				n += len(s.Match(l, nil))
			}
		}
		return n
	}}, nil
}

func compile(patterns []string, stats *match.Stats) (*match.Matcher, error) {
	ps := make([]*match.Pattern, len(patterns))
	for i, p := range patterns {
		var err error
		if ps[i], err = match.NewPattern(p); err != nil {
			return nil, err
		}
	}
	return match.Build(ps, stats), nil
}

// peers are vectorscan called for each line, within one call from Go for each
// block, and vectorscan called for each block.
func peers(patterns []string) ([]engine, error) {
	v, left, err := peer(patterns, false)
	if err != nil {
		return nil, err
	}
	w, _, err := peer(patterns, true)
	if err != nil {
		return nil, err
	}
	if left > 0 {
		fmt.Printf("(%d patterns are beyond vectorscan and left out there)\n", left)
	}
	return []engine{
		{"vectorscan, lines", func(t *text) int {
			n := 0
			for i := range t.blocks {
				n += v.lines(t.blocks[i].bytes, t.blocks[i].ends)
			}
			return n
		}, v.close},
		{"vectorscan, blocks", func(t *text) int {
			n := 0
			for i := range t.blocks {
				n += w.block(t.blocks[i].bytes)
			}
			return n
		}, w.close},
	}, nil
}

// sample is measured nanoseconds per line.
type sample []float64

func (s sample) median() float64 {
	s = slices.Sorted(slices.Values(s))
	return s[len(s)/2]
}

func (s sample) String() string {
	return fmt.Sprintf("%10.0f (%.0f–%.0f)", s.median(), slices.Min(s), slices.Max(s))
}

// interleave runs the engines over a text in turns.
func interleave(engines []engine, t *text) (times []sample, hits []int) {
	times, hits = make([]sample, len(engines)), make([]int, len(engines))
	for round := -1; round < *rounds; round++ {
		for i, e := range engines {
			start := threadTime()
			hits[i] = e.scan(t)
			if d := threadTime() - start; round >= 0 { // the first one warms up
				times[i] = append(times[i], float64(d.Nanoseconds())/float64(t.lines))
			}
		}
	}
	return times, hits
}

func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		log.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// table prints a row for each engine.
func table(title string, engines []engine, times []sample, hits []int) {
	fmt.Printf("%s\n", title)
	for i, e := range engines {
		fmt.Printf("  %-20s %-28s ns/line   %8d hits\n", e.name, times[i], hits[i])
	}
}

func exprs(rules []matchtest.Rule) []string {
	var out []string
	for _, r := range rules {
		out = append(out, r.Pattern)
	}
	return out
}

// byRules measures the mixed corpus with more and more rules.
func byRules() error {
	all := matchtest.Rules(5000)
	whole := matchtest.Mixed(2**size<<20, all, 0.001, 1)
	half := bytes.IndexByte(whole[len(whole)/2:], '\n') + len(whole)/2 + 1
	t := newText(whole[:half])
	second := whole[half:]
	stats := match.Learn(second[:min(len(second), 512<<10)])
	fmt.Printf("Mixed corpus: %d MiB, %d lines of %d bytes; statistics from another %d KiB\n", *size, t.lines, half/t.lines, 512)
	for _, n := range []int{10, 100, 1000, 5000} {
		patterns := exprs(all[:n])
		trained, err := ours("match", patterns, stats)
		if err != nil {
			return err
		}
		untrained, err := ours("match, untrained", patterns, nil)
		if err != nil {
			return err
		}
		engines, err := peers(patterns)
		if err != nil {
			return err
		}
		engines = append([]engine{trained, untrained}, engines...)
		times, hits := interleave(engines, t)
		loop := regexps(patterns, t)
		table(fmt.Sprintf("%d rules", n), engines, times, hits)
		us := times[0].median()
		fmt.Printf("  %-20s %10.0f %32s\n", "loop over regexp", loop, "ns/line   (a sample of lines)")
		fmt.Printf("  match ÷ vectorscan: %.2f by lines, %.2f in blocks; untrained ÷ trained %.2f; regexp ÷ match %.0f\n",
			us/times[2].median(), us/times[3].median(), times[1].median()/us, loop/us)
		least := min(times[2].median(), times[3].median())
		if bound := map[int]float64{100: 0.8, 1000: 0.7, 5000: 0.6}[n]; bound > 0 {
			atMost(fmt.Sprintf("%d rules: time per line ÷ vectorscan's, the better of its two", n), us/least, bound)
		}
		if n == 1000 {
			atMost("1000 rules, stretch", us/least, 0.4)
			atLeast("1000 rules: a loop over regexp ÷ match", loop/us, 5000)
		}
		atMost(fmt.Sprintf("%d rules: untrained ÷ trained", n), times[1].median()/us, 2)
		for _, e := range engines {
			e.close()
		}
	}
	return nil
}

// regexps returns the time per line of a loop over package regexp.
func regexps(patterns []string, t *text) float64 {
	var res []*regexp.Regexp
	for _, p := range patterns {
		res = append(res, regexp.MustCompile(p))
	}
	var lines [][]byte // from all over the text
	n := max(100, 400_000/len(patterns))
	for i := range t.blocks {
		ls := t.blocks[i].lines
		lines = append(lines, ls[:min(len(ls), n/len(t.blocks)+1)]...)
	}
	start := threadTime()
	for _, l := range lines {
		for _, re := range res {
			re.Match(l)
		}
	}
	return float64((threadTime() - start).Nanoseconds()) / float64(len(lines))
}

// adverse measures texts that are hard to filter.
func adverse() error {
	rules := matchtest.Rules(1000)
	stats := match.Learn(matchtest.Mixed(512<<10, rules, 0.001, 2))
	const size = 8 << 20
	fmt.Printf("Adverse texts, 1000 rules, %d MiB each\n", size>>20)
	for _, c := range []struct {
		name  string
		text  []byte
		rules []matchtest.Rule
	}{
		{"ten whole literals in each line, no hit", matchtest.Flood(size, rules), rules},
		{"lines full of beginnings of matches", matchtest.Dense(size, rules), rules},
		{"every line hits", matchtest.Mixed(size, rules, 1, 3), rules},
		{"lines of 1 MiB", matchtest.Long(size, 1<<20), rules},
		{"ten rules more without a literal", matchtest.Mixed(size, rules, 0.001, 3), append(slices.Clone(rules), matchtest.Loose()...)},
		{"ten rules without a literal alone", matchtest.Mixed(size, rules, 0.001, 3), matchtest.Loose()},
	} {
		patterns := exprs(c.rules)
		us, err := ours("match", patterns, stats)
		if err != nil {
			return err
		}
		engines, err := peers(patterns)
		if err != nil {
			return err
		}
		engines = append([]engine{us}, engines...)
		times, hits := interleave(engines, newText(c.text))
		table(c.name, engines, times, hits)
		least := min(times[1].median(), times[2].median())
		atMost(c.name+": ÷ vectorscan's, the better of its two", times[0].median()/least, 2)
		for _, e := range engines {
			e.close()
		}
	}
	return nil
}

// building measures how long it takes to compile 1000 rules.
func building() error {
	patterns := exprs(matchtest.Rules(1000))
	stats := match.Learn(matchtest.Mixed(512<<10, matchtest.Rules(1000), 0.001, 2))
	var us, them []float64
	for range *rounds {
		start := threadTime()
		if _, err := compile(patterns, stats); err != nil {
			return err
		}
		us = append(us, float64(threadTime()-start)/1e6)
		start = threadTime()
		v, _, err := peer(patterns, false)
		if err != nil {
			return err
		}
		them = append(them, float64(threadTime()-start)/1e6)
		v.close()
	}
	fmt.Printf("Building 1000 rules: match %v ms, vectorscan %v ms\n", sample(us), sample(them))
	atMost("building 1000 rules ÷ vectorscan's", sample(us).median()/sample(them).median(), 0.1)
	return nil
}

type target struct {
	name         string
	value, bound float64
	least        bool
}

var targets []target

func atMost(name string, value, bound float64) {
	targets = append(targets, target{name, value, bound, false})
}
func atLeast(name string, value, bound float64) {
	targets = append(targets, target{name, value, bound, true})
}

func printTargets() {
	fmt.Println("Targets")
	for _, t := range targets {
		verdict, sign := "missed", "≤"
		if t.least {
			sign = "≥"
		}
		if c := cmp.Compare(t.value, t.bound); c == 0 || (c > 0) == t.least {
			verdict = "holds"
		}
		fmt.Printf("  %-7s %8.2f %s %-6g %s\n", verdict, t.value, sign, t.bound, t.name)
	}
}

func processor() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t: "))
		}
	}
	return runtime.GOARCH
}

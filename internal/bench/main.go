package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"logscan/internal/enginetest/private"
)

// part is a benchmark that can be run alone.
type part struct {
	name  string
	run   func(*bench) (*section, error)
	opt   bool // only when asked for
	alone bool // needs no Engine
}

var parts = []part{
	{name: "carry-120", run: func(b *bench) (*section, error) { return carry(b, load{b.pick(2_000_000, 400_000), 120, 1}) }},
	{name: "carry-200", run: func(b *bench) (*section, error) { return carry(b, load{b.pick(1_500_000, 300_000), 200, 1}) }},
	{name: "carry-1024", run: func(b *bench) (*section, error) { return carry(b, load{b.pick(600_000, 120_000), 1024, 1}) }},
	{name: "logs", run: logs},
	{name: "since", run: since},
	{name: "fifos", run: fifos},
	{name: "latency", run: latency},
	{name: "inway", run: inway},
	{name: "hostile", run: hostile},
	{name: "matcher", run: matcher},
	{name: "told", run: told, alone: true},
	{name: "search", run: search, alone: true},
	{name: "config", run: files, alone: true},
	{name: "scale", run: scale, opt: true},
}

// bench is what all parts share.
type bench struct {
	quick  bool
	runs   int
	rules  int    // loaded into logscan
	size   int    // MiB of text that is searched; 0 = as usual
	plugin string // plugin directory, as `make plugin` builds it
	tools  string // directory of the programs that buildTools builds
	// logcheck is where Debian's logcheck-database is unpacked.
	logcheck string
}

// pick returns n, or few with -quick.
func (b *bench) pick(n, few int) int {
	if b.quick {
		return few
	}
	return n
}

func main() {
	private.Main()
	var b bench
	quick := flag.Bool("quick", false, "fewer runs and lines: a few minutes, figures to go by and no more")
	scaling := flag.Bool("scale", false, "the part scale too")
	only := flag.String("run", "", "parts to run, separated by commas: "+strings.Join(partNames(), ", "))
	runs := flag.Int("runs", 0, "turns of each comparison; default 5, or 2 with -quick")
	out := flag.String("out", "build/bench", "directory for results; the report is DIR.md")
	plugin := flag.String("plugin", "build/plugin", "plugin directory")
	flag.StringVar(&b.logcheck, "logcheck", "build/tools", "directory where Debian's logcheck-database is unpacked")
	flag.IntVar(&b.size, "size", 0, "MiB of text that the part search looks through; default 1024, or 64 with -quick")
	profile := flag.String("cpuprofile", "", "file for a profile of the benchmark's own processor time; the parts told and search do their work in it")
	flag.IntVar(&b.rules, "rules", 1000, "rules loaded into logscan")
	flag.Parse()
	b.quick, b.runs = *quick, *runs
	if b.runs == 0 {
		b.runs = b.pick(5, 2)
	}
	stop, err := profiling(*profile)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	defer stop()
	if err := b.main(*only, *scaling, *plugin, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// profiling writes a profile to a file, until it is told to stop; "": none.
func profiling(name string) (stop func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, nil
}

func (b *bench) main(only string, scaling bool, plugin, out string) error {
	chosen, err := choose(only, scaling)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if slices.ContainsFunc(chosen, func(p part) bool { return !p.alone }) {
		if err := b.prepare(plugin); err != nil {
			return err
		}
	}
	// An interrupt ends us, and the Engine's keeper cleans up behind us.
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-interrupted
		os.Exit(130)
	}()
	for _, p := range chosen {
		began := time.Now()
		s, err := p.run(b)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		text := s.String(b, began)
		fmt.Println(text)
		if err := os.WriteFile(filepath.Join(out, p.name+".md"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return report(out)
}

// prepare has ready what parts with an Engine need.
func (b *bench) prepare(plugin string) (err error) {
	if os.Geteuid() != 0 {
		return fmt.Errorf("an Engine needs root: run it as root")
	}
	if b.plugin, err = filepath.Abs(plugin); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(b.plugin, "config.json")); err != nil {
		return fmt.Errorf("no plugin in %s: `make plugin` builds it, `make bench` does all", plugin)
	}
	b.tools, err = buildTools()
	return err
}

// choose returns the parts that a list names, separated by commas; without one,
// all that needn't be asked for.
func choose(list string, scaling bool) (chosen []part, err error) {
	if list == "" {
		for _, p := range parts {
			if !p.opt || scaling {
				chosen = append(chosen, p)
			}
		}
		return chosen, nil
	}
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-run %s: there is no part %q; the parts are %s", list, name, strings.Join(partNames(), ", "))
		}
		chosen = append(chosen, parts[i])
	}
	return chosen, nil
}

func partNames() (names []string) {
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// progress says what is going on, where a person may wait.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...)
}

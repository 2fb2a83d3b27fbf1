package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"logscan/internal/enginetest/private"
)

// part is a benchmark that can be run alone.
type part struct {
	name string
	run  func(*bench) (*section, error)
	opt  bool // only when asked for
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
	{name: "matcher", run: matcher},
	{name: "scale", run: scale, opt: true},
}

// bench is what all parts share.
type bench struct {
	quick  bool
	runs   int
	rules  int    // loaded into logscan
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
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.name
	}
	quick := flag.Bool("quick", false, "fewer runs and lines: a few minutes, figures to go by and no more")
	scaling := flag.Bool("scale", false, "the part scale too")
	only := flag.String("run", "", "parts to run, separated by commas: "+strings.Join(names, ", "))
	runs := flag.Int("runs", 0, "turns of each comparison; default 5, or 2 with -quick")
	out := flag.String("out", "build/bench", "directory for results; the report is DIR.md")
	plugin := flag.String("plugin", "build/plugin", "plugin directory")
	flag.StringVar(&b.logcheck, "logcheck", "build/tools", "directory where Debian's logcheck-database is unpacked")
	flag.IntVar(&b.rules, "rules", 1000, "rules loaded into logscan")
	flag.Parse()
	b.quick, b.runs = *quick, *runs
	if b.runs == 0 {
		b.runs = b.pick(5, 2)
	}
	if err := b.main(*only, *scaling, *plugin, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) main(only string, scaling bool, plugin, out string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("an Engine needs root: run it as root")
	}
	var chosen []part
	for _, p := range parts {
		if only == "" && (!p.opt || scaling) || contains(only, p.name) {
			chosen = append(chosen, p)
		}
	}
	if n := strings.Count(only, ",") + 1; only != "" && n != len(chosen) {
		return fmt.Errorf("-run %s: one of these is no part", only)
	}
	var err error
	if b.plugin, err = filepath.Abs(plugin); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(b.plugin, "config.json")); err != nil {
		return fmt.Errorf("no plugin in %s: `make plugin` builds it, `make bench` does all", plugin)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if b.tools, err = buildTools(); err != nil {
		return err
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

func contains(list, name string) bool {
	for _, s := range strings.Split(list, ",") {
		if s == name {
			return true
		}
	}
	return false
}

// progress says what is going on, where a person may wait.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...)
}

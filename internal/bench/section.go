package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// section is what one part found.
type section struct {
	title   string
	body    strings.Builder
	targets []target
}

// target is a bound that a figure must not pass.
type target struct {
	what       string
	got, bound float64
	unit       string // behind both; empty for ratios
}

func (s *section) say(format string, args ...any) {
	fmt.Fprintf(&s.body, format+"\n\n", args...)
}

func (s *section) target(what string, got, bound float64, unit string) {
	s.targets = append(s.targets, target{what, got, bound, unit})
}

// table writes a Markdown table.
func (s *section) table(head []string, rows [][]string) {
	line := func(cells []string) { fmt.Fprintf(&s.body, "| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	rule := make([]string, len(head))
	for i := range rule {
		rule[i] = "---:"
	}
	rule[0] = "---"
	line(rule)
	for _, r := range rows {
		line(r)
	}
	s.body.WriteByte('\n')
}

func (s *section) String(b *bench, began time.Time) string {
	var out strings.Builder
	how := ""
	if b.quick {
		how = ", -quick"
	}
	fmt.Fprintf(&out, "## %s\n\n%s, commit %s, took %s%s.\n\n%s", s.title, began.UTC().Format("2006-01-02 15:04 MST"), commit(), time.Since(began).Round(time.Second), how, s.body.String())
	if len(s.targets) == 0 {
		return out.String()
	}
	out.WriteString("| target | bound | measured | holds |\n| --- | ---: | ---: | --- |\n")
	for _, t := range s.targets {
		holds := "yes"
		if t.got > t.bound {
			holds = "**no**"
		}
		fmt.Fprintf(&out, "| %s | ≤ %s | %s | %s |\n", t.what, number(t.bound)+t.unit, number(t.got)+t.unit, holds)
	}
	out.WriteByte('\n')
	return out.String()
}

// report puts the parts' files together, in the order of parts.
func report(dir string) error {
	var out strings.Builder
	fmt.Fprintf(&out, "# logscan: measured\n\nBy `make bench`, on %s; %s.\n\n", machine(), versions())
	for _, name := range partNames() {
		b, err := os.ReadFile(filepath.Join(dir, name+".md"))
		if err == nil {
			out.Write(b)
		}
	}
	if err := os.WriteFile(dir+".md", []byte(out.String()), 0o644); err != nil {
		return err
	}
	progress("written to %s.md", dir)
	return nil
}

func machine() string {
	model := "an unknown processor"
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for in := bufio.NewScanner(f); in.Scan(); {
			if name, value, ok := strings.Cut(in.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d × %s", runtime.NumCPU(), model)
}

func versions() string {
	return fmt.Sprintf("Linux %s, %s, %s", output("uname", "-r"), output("dockerd", "--version"), runtime.Version())
}

func commit() string { return output("git", "describe", "--tags", "--always", "--dirty") }

func output(name string, args ...string) string {
	b, err := exec.Command(name, args...).Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

// series is one figure over all turns.
type series []float64

// ratios divides turn by turn.
func (s series) ratios(by series) series {
	out := make(series, min(len(s), len(by)))
	for i := range out {
		out[i] = s[i] / by[i]
	}
	return out
}

func (s series) quantile(q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	c := slices.Sorted(slices.Values(s))
	at := q * float64(len(c)-1)
	i := int(at)
	if i+1 == len(c) {
		return c[i]
	}
	return c[i] + (at-float64(i))*(c[i+1]-c[i])
}

func (s series) median() float64 { return s.quantile(.5) }

// String is the median and the spread.
func (s series) String() string {
	if len(s) == 0 {
		return "–"
	}
	if len(s) == 1 {
		return number(s[0])
	}
	return fmt.Sprintf("%s (%s–%s)", number(s.median()), number(s.quantile(0)), number(s.quantile(1)))
}

// number writes three digits.
func number(f float64) string {
	switch {
	case f == 0:
		return "0"
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	case f >= 0.095:
		return fmt.Sprintf("%.2f", f)
	}
	return fmt.Sprintf("%.2g", f)
}

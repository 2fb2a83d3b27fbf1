//go:build vectorscan

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp/syntax"
	"slices"
	"strings"
	"time"

	"logscan/internal/rule/match"
)

// logcheck compares package match with grep over the patterns of Debian's
// logcheck-database, unpacked in a directory, on lines made from them: the hits
// pattern by pattern, and the time for all at once beside grep's and ripgrep's.
func logcheck(dir string) error {
	eres, err := readPatterns(dir)
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(1, 1))
	var kept, exprs []string
	var trees []*syntax.Regexp
	for _, e := range eres {
		p := translate(e)
		tree, err := syntax.Parse(p, syntax.Perl)
		if err != nil {
			fmt.Printf("(left out: %s: %v)\n", e, err)
			continue
		}
		kept, exprs, trees = append(kept, e), append(exprs, p), append(trees, tree)
	}
	var text bytes.Buffer
	for range 4 {
		for _, tree := range trees {
			var line strings.Builder
			example(tree, r, &line)
			b := []byte(line.String())
			if r.IntN(4) == 0 && len(b) > 0 { // nearly a match
				b[r.IntN(len(b))] = '~'
			}
			text.Write(append(bytes.ReplaceAll(b, []byte("\n"), []byte(" ")), '\n'))
		}
	}
	tmp, err := os.MkdirTemp("", "logcheck")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	lines, all := filepath.Join(tmp, "lines"), filepath.Join(tmp, "patterns")
	if err := os.WriteFile(lines, text.Bytes(), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(all, []byte(strings.Join(kept, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	rust := filepath.Join(tmp, "translated")
	if err := os.WriteFile(rust, []byte(strings.Join(exprs, "\n")+"\n"), 0o600); err != nil {
		return err
	}

	stats := match.Learn(text.Bytes())
	m, err := compile(exprs, stats)
	if err != nil {
		return err
	}
	t := newText(text.Bytes())
	ours := make([][]int, len(exprs)) // numbers of lines, by pattern
	n := 0
	for i := range t.blocks {
		for _, l := range t.blocks[i].lines {
			n++
			for _, p := range m.Match(l, nil, nil) {
				ours[p] = append(ours[p], n)
			}
		}
	}
	hits, different := 0, 0
	for i, e := range kept {
		theirs, err := grep(e, lines)
		if err != nil {
			return fmt.Errorf("grep -E %s: %w", e, err)
		}
		hits += len(theirs)
		if !slices.Equal(theirs, ours[i]) {
			different++
			fmt.Printf("  differs: %s: %d lines, grep %d\n", e, len(ours[i]), len(theirs))
		}
	}
	fmt.Printf("logcheck-database: %d of %d patterns, %d lines, %d hits by grep -E; %d patterns differ\n", len(kept), len(eres), n, hits, different)

	var us []float64
	var buf [64]uint32
	for range *rounds {
		start := threadTime()
		for i := range t.blocks {
			for _, l := range t.blocks[i].lines {
				m.Match(l, nil, buf[:0])
			}
		}
		us = append(us, float64(threadTime()-start)/1e6)
	}
	fmt.Printf("  match, all hits of each line    %v ms of CPU\n", sample(us))
	for _, c := range [][]string{{"grep", "-c", "-E", "-f", all, lines}, {"rg", "-c", "--no-unicode", "--regex-size-limit", "1G", "--dfa-size-limit", "1G", "-f", rust, lines}} {
		d, err := cpuTime(c)
		if err != nil {
			fmt.Printf("  %s: %v\n", c[0], err)
			continue
		}
		fmt.Printf("  %-4s -f, whether any hits        %10.0f ms of CPU, its compilation included\n", c[0], float64(d)/1e6)
	}
	return nil
}

// readPatterns returns the package's patterns, each once.
func readPatterns(dir string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, ".d.") && !strings.Contains(path, ".d/") {
			return err
		}
		b, err := os.ReadFile(path)
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimRight(line, "\n"); strings.TrimSpace(line) != "" && line[0] != '#' && strings.Contains(path, "/logcheck/") {
				out = append(out, line)
			}
		}
		return err
	})
	slices.Sort(out)
	return slices.Compact(out), err
}

// translate makes of a GNU extended expression one as Go has it: a backslash in
// brackets is itself, {,n} begins at 0, \< and \> are boundaries, and \` and \'
// are the begin and the end.
func translate(ere string) string {
	var b strings.Builder
	for i := 0; i < len(ere); i++ {
		switch rest := ere[i:]; {
		case strings.HasPrefix(rest, `\<`), strings.HasPrefix(rest, `\>`):
			b.WriteString(`\b`)
			i++
		case strings.HasPrefix(rest, "\\`"):
			b.WriteString(`\A`)
			i++
		case strings.HasPrefix(rest, `\'`):
			b.WriteString(`\z`)
			i++
		case rest[0] == '\\' && len(rest) > 1:
			if c := rest[1]; strings.ContainsRune("wWsSbB", rune(c)) || !('a' <= c|0x20 && c|0x20 <= 'z') {
				b.WriteByte('\\')
			}
			b.WriteByte(rest[1])
			i++
		case strings.HasPrefix(rest, "{,"):
			b.WriteString("{0,")
			i++
		case rest[0] == '{' && (len(rest) == 1 || rest[1] < '0' || rest[1] > '9'):
			b.WriteString(`\{`)
		case rest[0] == '[':
			n := bracket(rest)
			class := strings.ReplaceAll(rest[1:n], `\`, `\\`)
			class = strings.ReplaceAll(strings.ReplaceAll(class, "[", `\[`), `\[:`, "[:") // ripgrep nests classes
			b.WriteString("[" + class)
			i += n - 1
		default:
			b.WriteByte(rest[0])
		}
	}
	return b.String()
}

// bracket returns the length of the bracket expression that s begins with.
func bracket(s string) int {
	i := 1
	if i < len(s) && s[i] == '^' {
		i++
	}
	if i < len(s) && s[i] == ']' {
		i++
	}
	for ; i < len(s) && s[i] != ']'; i++ {
		if strings.HasPrefix(s[i:], "[:") {
			if end := strings.Index(s[i:], ":]"); end > 0 {
				i += end + 1
			}
		}
	}
	return min(i+1, len(s))
}

// example writes a text that an expression matches, of ASCII.
func example(re *syntax.Regexp, r *rand.Rand, b *strings.Builder) {
	repeat := func(from, to int) {
		for range from + r.IntN(to-from+1) {
			example(re.Sub[0], r, b)
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		var in []rune
		for c := rune(' '); c < 127; c++ {
			for i := 0; i < len(re.Rune); i += 2 {
				if re.Rune[i] <= c && c <= re.Rune[i+1] {
					in = append(in, c)
				}
			}
		}
		if len(in) > 0 {
			b.WriteRune(in[r.IntN(len(in))])
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte(byte(' ' + r.IntN(95)))
	case syntax.OpStar:
		repeat(0, 4)
	case syntax.OpPlus:
		repeat(1, 5)
	case syntax.OpQuest:
		repeat(0, 1)
	case syntax.OpRepeat:
		most := re.Max
		if most < 0 {
			most = re.Min + 3
		}
		repeat(re.Min, most)
	case syntax.OpAlternate:
		example(re.Sub[r.IntN(len(re.Sub))], r, b)
	case syntax.OpConcat, syntax.OpCapture:
		for _, sub := range re.Sub {
			example(sub, r, b)
		}
	}
}

// grep returns the numbers of the lines that grep -E finds.
func grep(pattern, file string) ([]int, error) {
	cmd := exec.Command("grep", "-n", "-a", "-E", "-e", pattern, file)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if e, ok := err.(*exec.ExitError); ok && e.ExitCode() == 1 {
		return nil, nil
	}
	var numbers []int
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		n := 0
		if _, err := fmt.Sscanf(s.Text(), "%d:", &n); err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, err
}

// patience is how long another program may take.
const patience = 2 * time.Minute

func cpuTime(command []string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var why bytes.Buffer
	cmd.Stderr = &why
	if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() != 1 {
		if ctx.Err() != nil {
			return 0, fmt.Errorf("not done after %v", patience)
		}
		text := strings.TrimSpace(why.String())
		return 0, fmt.Errorf("%w: %s", err, text[max(0, len(text)-200):])
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

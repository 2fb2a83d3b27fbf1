package main

import "fmt"

// scale measures carry where containers, rules and lengths of lines differ.
func scale(b *bench) (*section, error) {
	e, err := b.start()
	if err != nil {
		return nil, err
	}
	defer e.Close()
	b.runs = max(2, b.runs-2)
	if err := e.installLogscan(rules(b.rules)); err != nil {
		return nil, err
	}
	s := &section{title: "How it scales"}
	s.say("As in “Carrying lines”, with json-file and logscan by turns, %d turns.", b.runs)
	ways := []way{jsonFile, ours}
	compare := func(cells []string, l load, rows *[][]string) error {
		got, err := e.turns(l, ways)
		if err != nil {
			return err
		}
		jf, mine := got[jsonFile.name], got[ours.name]
		*rows = append(*rows, append(cells, jf.wall.String(), mine.wall.String(), number(mine.wall.ratios(jf.wall).median()),
			number(float64(l.lines)/mine.wall.median()/1000), number(mine.cpu.ratios(jf.cpu).median()), number(mine.plugin.median()/float64(l.lines)*1e6), mine.lag.String()))
		return nil
	}
	some := func(steps ...int) []int {
		if b.quick {
			return []int{steps[0], steps[len(steps)/2]}
		}
		return steps
	}
	heads := []string{"json-file wall s", "logscan wall s", "ratio", "k lines/s", "CPU ratio", "plugin µs a line", "behind s"}

	var rows [][]string
	for _, n := range some(1, 5, 20, 50, 200) {
		l := load{b.pick(1_000_000, 200_000), 120, n}
		if err := compare([]string{fmt.Sprint(n)}, l, &rows); err != nil {
			return nil, err
		}
	}
	s.say("Containers, with %s in all:", load{b.pick(1_000_000, 200_000), 120, 1})
	s.table(append([]string{"containers"}, heads...), rows)

	rows = nil
	for _, n := range some(80, 120, 200, 500, 1000, 2000, 4000, 8000, 16000) {
		l := load{min(b.pick(1_000_000, 200_000), b.pick(300_000_000, 60_000_000)/n), n, 1}
		if err := compare([]string{fmt.Sprint(n), fmt.Sprint(l.lines / 1000)}, l, &rows); err != nil {
			return nil, err
		}
	}
	s.say("Length of lines:")
	s.table(append([]string{"bytes", "k lines"}, heads...), rows)

	rows = nil
	for _, n := range some(10, 100, 1000, 5000) {
		if err := e.setRules(rules(n)); err != nil {
			return nil, err
		}
		l := load{b.pick(1_000_000, 200_000), 120, 1}
		if err := compare([]string{fmt.Sprint(n), number(float64(resident(e.pluginPID(logscan))) / (1 << 20))}, l, &rows); err != nil {
			return nil, err
		}
	}
	s.say("Rules, with %s:", load{b.pick(1_000_000, 200_000), 120, 1})
	s.table(append([]string{"rules", "plugin's resident MiB"}, heads...), rows)
	return s, nil
}

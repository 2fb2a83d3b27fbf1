package main

import (
	"fmt"
	"strconv"
	"time"

	"logscan/internal/enginetest/gate"
	"logscan/internal/rule/match/matchtest"
)

// hostile measures how much containers whose lines are made to be dear to check
// delay the hits of others.
func hostile(b *bench) (*section, error) {
	const (
		writers, length, lines = 2, 1 << 20, 8 // hostile ones; bytes of a line, and how many a second each
		others, rate, mark     = 10, 50, 50    // lines a second of each; every so many'th is a hit
	)
	// As many hits as a container's bucket holds, so that none is held back.
	during := time.Duration(b.pick(28, 10)) * time.Second
	wide := b.rules / 20
	s := &section{title: "Hostile lines"}
	s.say("%d containers write %d lines a second of 1 MiB each, full of what each of %d rules looks for, as far as it can be had without a match; %d of the rules match over hundreds of bytes or over the whole line. "+
		"Meanwhile %d others write %d lines a second each, of which every %dth holds the time of its writing and is a hit, and a receiver on loopback compares, as in “From line to webhook”; first they do so alone. %s each. "+
		"The load was %s when this began.", writers, lines, b.rules+wide, wide, others, rate, mark, during, loadAverage())
	e, err := b.start()
	if err != nil {
		return nil, err
	}
	defer e.Close()
	r, err := startReceiver()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if err := e.installMarked(r, rulesOf(append(matchtest.Rules(b.rules), matchtest.Wide(wide)...))); err != nil {
		return nil, err
	}
	id, err := e.pluginID(logscan)
	if err != nil {
		return nil, err
	}
	ready := func(args ...string) (string, gate.Gate, error) {
		name, err := e.create(logscan, nil, args...)
		if err != nil {
			return "", gate.Gate{}, err
		}
		g, err := e.start(name)
		return name, g, err
	}
	// late returns how late the hits of the others are.
	late := func() (series, error) {
		var names []string
		var gates []gate.Gate
		for range others {
			name, g, err := ready("-n", strconv.Itoa(rate*int(during/time.Second)), "-rate", strconv.Itoa(rate), "-mark", strconv.Itoa(mark), "-stamp")
			if err != nil {
				return nil, err
			}
			names, gates = append(names, name), append(gates, g)
		}
		from := r.count()
		began := time.Now()
		for i, g := range gates {
			// Not in step with each other.
			time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / others)))
			if err := g.Open(); err != nil {
				return nil, err
			}
		}
		if _, err := e.docker(append([]string{"wait"}, names...)...); err != nil {
			return nil, err
		}
		want := from + others*rate*int(during/time.Second)/mark
		if err := e.await("all webhooks", func() bool { return r.count() >= want }); err != nil {
			return nil, fmt.Errorf("%w: %d of %d", err, r.count(), want)
		}
		got, _ := r.take()
		return got[from:], e.remove(names...)
	}
	alone, err := late()
	if err != nil {
		return nil, err
	}
	var hostiles []string
	for range writers {
		name, g, err := ready("-n", "0", "-rate", strconv.Itoa(lines), "-len", strconv.Itoa(length), "-hostile", strconv.Itoa(b.rules))
		if err != nil {
			return nil, err
		}
		hostiles = append(hostiles, name)
		if err := g.Open(); err != nil {
			return nil, err
		}
	}
	if err := e.await("hostile lines to be checked", func() bool { st, err := e.stats(id); return err == nil && st.Scan.GivenUp > 0 }); err != nil {
		return nil, err
	}
	beside, err := late()
	if err != nil {
		return nil, err
	}
	st, err := e.stats(id)
	if err != nil {
		return nil, err
	}
	if err := e.remove(hostiles...); err != nil {
		return nil, err
	}
	row := func(what string, ms series) []string {
		return []string{what, strconv.Itoa(len(ms)), number(ms.quantile(.5)), number(ms.quantile(.9)), number(ms.quantile(.99)), number(ms.quantile(1))}
	}
	s.table([]string{"line to webhook", "hits", "p50 ms", "p90 ms", "p99 ms", "most ms"}, [][]string{row("alone", alone), row("beside hostile lines", beside)})
	s.say("Rules gave up lines %d times, which `docker logscan rule stats` tells by rule.", st.Scan.GivenUp)
	s.target("hits beside hostile lines: late, p99", beside.quantile(.99), 500, " ms")
	return s, nil
}

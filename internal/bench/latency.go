package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest/gate"
	"logscan/internal/rule"
)

// latency measures the way of a line that matters, from the container to a
// receiver.
func latency(b *bench) (*section, error) {
	const containers, rate, mark = 20, 50, 25 // lines a second of each; every so many'th is a hit
	during := time.Duration(b.pick(30, 8)) * time.Second
	s := &section{title: "From line to webhook"}
	s.say("%d containers write %d lines a second each, line by line; every %dth holds the time of its writing and matches a rule without cooldown, "+
		"beside %d rules that it doesn't match. A trigger sends each hit to a receiver on loopback, without waiting for the lines behind it, and that compares. %s. "+
		"All clocks are this machine's one. The container takes its time just before it writes, the receiver before it reads the body. "+
		"Up to the Engine's own time in the line, the way is the container's and dockerd's; the rest is the plugin's, its disk's and the receiver's. "+
		"All of them wait for a core where others use the machine: its load was %s when this began.",
		containers, rate, mark, b.rules-1, during, loadAverage())
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
	if err := e.installMarked(r, rules(max(0, b.rules-1)), "LOGSCAN_BUCKET_REFILL=0"); err != nil {
		return nil, err
	}
	var names []string
	for range containers {
		name, err := e.create(logscan, nil, "-n", strconv.Itoa(rate*int(during/time.Second)), "-rate", strconv.Itoa(rate), "-mark", strconv.Itoa(mark), "-stamp")
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	var gates []gate.Gate
	for _, name := range names {
		g, err := e.start(name)
		if err != nil {
			return nil, err
		}
		gates = append(gates, g)
	}
	settled(e.DockerdPID(), e.pluginPID(logscan))
	counted := []int{e.DockerdPID(), e.pluginPID(logscan)}
	before, alone := cpu(counted...), cpu(counted[1])
	began := time.Now()
	for i, g := range gates {
		// Not in step with each other.
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / rate / containers * 7)))
		if err := g.Open(); err != nil {
			return nil, err
		}
	}
	if _, err := e.docker(append([]string{"wait"}, names...)...); err != nil {
		return nil, err
	}
	took := time.Since(began).Seconds()
	used, usedAlone := cpu(counted...)-before, cpu(counted[1])-alone
	want := containers * rate * int(during/time.Second) / mark
	if err := e.await("all webhooks", func() bool { return r.count() >= want }); err != nil {
		return nil, fmt.Errorf("%w: %d of %d", err, r.count(), want)
	}
	got, engine := r.take()
	row := func(what string, ms series) []string {
		return []string{what, number(ms.quantile(.5)), number(ms.quantile(.9)), number(ms.quantile(.99)), number(ms.quantile(1))}
	}
	s.table([]string{fmt.Sprintf("%d hits", len(got)), "p50 ms", "p90 ms", "p99 ms", "most ms"}, [][]string{
		row("line to webhook", got), row("of that, up to the Engine's time", engine),
	})
	s.say("CPU of one core: plugin %s, dockerd and plugin %s.", percent(usedAlone/took), percent(used/took))
	s.target("line to webhook: p50", got.quantile(.5), 10, " ms")
	s.target("line to webhook: p99", got.quantile(.99), 50, " ms")
	return s, nil
}

// receiver takes webhooks and notes how old their lines are.
type receiver struct {
	*http.Server
	url string

	mu     sync.Mutex
	seen   map[string]bool
	ms     series
	engine series // the part of it up to the Engine's time
}

// startReceiver starts one on loopback, to be closed.
func startReceiver() (*receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{url: "http://" + l.Addr().String() + "/", seen: map[string]bool{}}
	r.Server = &http.Server{Handler: r}
	go r.Serve(l)
	return r, nil
}

// installMarked installs logscan with rules and one more, for lines with MARK,
// and a trigger that sends all hits to r.
func (e *engine) installMarked(r *receiver, rules []rule.Rule, settings ...string) error {
	marked := rule.Rule{Name: "mark", Pattern: `^\d+ MARK \d+`, Severity: "warn", Streams: "all", Enabled: true}
	if err := e.installLogscan(append(rules, marked), append(settings, "LOGSCAN_ALLOW_TARGETS=127.0.0.1")...); err != nil {
		return err
	}
	id, err := e.pluginID(logscan)
	if err != nil {
		return err
	}
	c := api.Dial(controlSocket(id))
	defer c.Close()
	_, err = c.CreateTrigger(context.Background(), api.TriggerCreate{Name: "bench", ActionURL: r.url, TriggerFields: api.TriggerFields{"mode": "events", "context_wait_seconds": 0}})
	return err
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	now := time.Now().UnixNano()
	var body struct {
		Data struct {
			Message  string
			Metadata struct {
				LineTime time.Time `json:"line_time"`
			}
		}
	}
	if err := json.NewDecoder(req.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, rest, ok := strings.Cut(body.Data.Message, " MARK ")
	stamp, _, _ := strings.Cut(rest, " ")
	written, err := strconv.ParseInt(stamp, 10, 64)
	if !ok || err != nil {
		return // an event about something else
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if id := req.Header.Get("webhook-id"); !r.seen[id] {
		r.seen[id] = true
		r.ms = append(r.ms, float64(now-written)/1e6)
		r.engine = append(r.engine, float64(body.Data.Metadata.LineTime.UnixNano()-written)/1e6)
	}
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ms)
}

func (r *receiver) take() (all, engine series) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ms, r.engine
}

// loadAverage is the machine's, of the last minute.
func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	load, _, _ := strings.Cut(string(b), " ")
	return load
}

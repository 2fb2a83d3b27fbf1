package main

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"net"
	"time"

	_ "github.com/mattn/go-sqlite3"

	"logscan/internal/api"
	"logscan/internal/query"
	"logscan/internal/rule"
)

// trouble is something downstream of the journal that should not be felt by a
// container.
type trouble struct {
	name     string
	workload string
	begin    func() (end func() error, err error) // nil: nothing to do
	bound    float64                              // of normal; 0 for 1.1
}

// inway measures whether what goes on behind the journal is felt in front of it.
func inway(b *bench) (*section, error) {
	const storm = 20 // rules
	l := load{b.pick(1_000_000, 200_000), 120, 1}
	s := &section{title: "In nobody's way"}
	s.say("The same %s, and `docker stop` of a container that writes 1,000 lines a second, while all is well, while a webhook's receiver takes requests and never answers, "+
		"while every line hits each of %d rules, while another process has the database locked, so that nothing can be stored, and while %d searches look through all logs. "+
		"Everything else is as in “Carrying lines”. Of normal is the median of the turns' ratios; %d turns.", l, storm, query.DefaultQueries, b.runs)
	e, err := b.start()
	if err != nil {
		return nil, err
	}
	defer e.Close()
	all := rules(b.rules)
	for n := range storm {
		all = append(all, rule.Rule{Name: fmt.Sprintf("storm %d", n), WorkloadID: "storm", Pattern: `^\d+ `, Severity: "info", Streams: "all", Enabled: true})
	}
	all = append(all, rule.Rule{Name: "hang", WorkloadID: "hang", Pattern: `^\d+00 `, Severity: "error", Streams: "all", Enabled: true})
	if err := e.installLogscan(all, "LOGSCAN_ALLOW_TARGETS=127.0.0.1"); err != nil {
		return nil, err
	}
	id, err := e.pluginID(logscan)
	if err != nil {
		return nil, err
	}
	mute, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody answers
	if err != nil {
		return nil, err
	}
	defer mute.Close()
	c := api.Dial(controlSocket(id))
	defer c.Close()
	if _, err := c.CreateTrigger(context.Background(), api.TriggerCreate{Name: "hang", ActionURL: "http://" + mute.Addr().String() + "/", TriggerFields: api.TriggerFields{"mode": "events", "severities": "error"}}); err != nil {
		return nil, err
	}
	troubles := []trouble{
		{name: "all is well", workload: "well"},
		{name: "a receiver hangs", workload: "hang"},
		{name: "a storm of hits", workload: "storm"},
		{name: "the database is locked", workload: "well", begin: func() (func() error, error) { return lock(e.database(id)) }},
		{name: "four searches", workload: "well", begin: func() (func() error, error) { return searching(controlSocket(id)) }, bound: 1.05},
	}
	walls, stops := make([]series, len(troubles)), make([]series, len(troubles))
	for n := range b.runs {
		for i, t := range troubles {
			wall, stop, err := e.suffer(l, t)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
			walls[i], stops[i] = append(walls[i], wall), append(stops[i], stop)
			if err := e.await("all lines to be checked", func() bool { st, err := e.stats(id); return err == nil && st.Scan.Lag == 0 }); err != nil {
				return nil, err
			}
		}
		progress("%s: turn %d of %d", s.title, n+1, b.runs)
	}
	var rows [][]string
	for i, t := range troubles {
		wall, stop := walls[i].ratios(walls[0]).median(), stops[i].ratios(stops[0]).median()
		rows = append(rows, []string{t.name, walls[i].String(), number(wall), stops[i].String(), number(stop)})
		if i > 0 {
			bound := cmp.Or(t.bound, 1.1)
			s.target(t.name+": wall, of normal", wall, bound, "")
			s.target(t.name+": stop, of normal", stop, bound, "")
		}
	}
	s.table([]string{"while", "wall s", "of normal", "stop s", "of normal"}, rows)
	return s, nil
}

// suffer returns how long carrying lines took in a trouble, and stopping a
// container, in seconds.
func (e *engine) suffer(l load, t trouble) (wall, stop float64, err error) {
	w := way{name: t.name, driver: logscan, opts: []string{"workload=" + t.workload}}
	if t.begin != nil {
		end, err := t.begin()
		if err != nil {
			return 0, 0, err
		}
		defer func() {
			if eerr := end(); err == nil {
				err = eerr
			}
		}()
	}
	var m measured
	if err := e.carry(l, w, &m); err != nil {
		return 0, 0, err
	}
	name, err := e.create(w.driver, w.opts, "-n", "0", "-rate", "1000")
	if err != nil {
		return 0, 0, err
	}
	g, err := e.start(name)
	if err != nil {
		return 0, 0, err
	}
	if err := g.Open(); err != nil {
		return 0, 0, err
	}
	time.Sleep(time.Second)
	began := time.Now()
	if _, err := e.docker("stop", name); err != nil {
		return 0, 0, err
	}
	stop = time.Since(began).Seconds()
	return m.wall[0], stop, e.remove(name)
}

// lock keeps a database from being written until it is told to end.
func lock(path string) (end func() error, err error) {
	db, err := sql.Open("sqlite3", "file:"+path+"?mode=rw&_txlock=immediate&_busy_timeout=10000")
	if err != nil {
		return nil, err
	}
	tx, err := db.Begin()
	if err != nil {
		db.Close()
		return nil, err
	}
	return func() error {
		tx.Rollback()
		return db.Close()
	}, nil
}

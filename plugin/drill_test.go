package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/egress"
	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/rule"
	"logscan/internal/silence"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// drillRig is a plugin whose lines come from a docker command that is made up: all that
// follows a line is real.
type drillRig struct {
	*testPlugin
	router   *trigger.Router
	receiver *httptest.Server

	mu       sync.Mutex
	silences *silence.Set
	status   int               // what the receiver answers
	think    chan struct{}     // it answers when this is closed; nil: at once
	got      string            // all that it was sent
	images   string            // on the Engine
	labels   map[string]string // of the container that runs
	ran      []string
	run      func(ctx context.Context, container, workload, line string) error // docker run
}

func newDrillRig(t *testing.T) *drillRig {
	t.Helper()
	dir, err := os.MkdirTemp("", "drill") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	r := &drillRig{testPlugin: &testPlugin{t: t, socket: filepath.Join(dir, "s")}, router: trigger.NewRouter(), silences: silence.Compile(nil), status: 200, images: "other:latest\nbusybox:<none>\nmirror:5000/x/alpine:3\nbusybox:1"}
	r.run = r.write
	if r.store, err = store.Open(filepath.Join(dir, "logscan.db"), nil); err != nil {
		t.Fatal(err)
	}
	r.store.UseIncidents(r)
	r.receiver = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		think := r.think
		r.mu.Unlock()
		if think != nil {
			<-think
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got += string(body) + "\n"
		w.WriteHeader(r.status)
	}))
	targets := egress.Targets{Allow: []string{"127.0.0.1"}}
	worker := trigger.NewWorker(trigger.WorkerConfig{Store: r.store, Route: r.router.Match, Targets: targets})
	l, err := net.Listen("unix", r.socket)
	if err != nil {
		t.Fatal(err)
	}
	r.handler = api.New(api.Config{
		Rules: liveRules{r.store}, Worker: worker, Store: r.store, Scanner: fakeScanner{}, Ingest: fakeIngest{}, Journals: fakePlugin{},
		Reload: r.reload, CheckTarget: func(u string) error { return trigger.CheckTarget(u, targets) }, Logger: slog.New(slog.DiscardHandler),
	})
	srv := httptest.NewUnstartedServer(r.handler)
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { worker.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
		r.receiver.Close()
		srv.CloseClientConnections()
		srv.Close()
		r.store.Close()
		os.RemoveAll(dir)
	})
	return r
}

// Settings implements store.Incidents.
func (r *drillRig) Settings(int64) incident.Settings { return incident.Defaults }

// Policies implements store.Incidents.
func (r *drillRig) Policies() []*trigger.Policy { return r.router.Policies() }

// Silenced implements store.Incidents.
func (r *drillRig) Silenced(i *incident.Incident, at time.Time) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.silences.By(i, at)
}

func (r *drillRig) reload(ctx context.Context) error {
	triggers, err := r.store.Triggers(ctx)
	if err != nil {
		return err
	}
	silences, err := r.store.Silences(ctx)
	if err != nil {
		return err
	}
	r.router.Set(triggers)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.silences = silence.Compile(silences)
	return nil
}

// docker is the docker command.
func (r *drillRig) docker(ctx context.Context, args ...string) (string, error) {
	r.mu.Lock()
	r.ran = append(r.ran, strings.Join(args, " "))
	images := r.images
	r.mu.Unlock()
	switch {
	case args[0] == "image" && args[1] == "ls":
		return images, nil
	case args[0] == "image" && args[1] == "inspect":
		if !strings.Contains(images, args[len(args)-1]) {
			return "", errors.New("docker image: Error: No such image: " + args[len(args)-1])
		}
		return "sha256:1", nil
	case args[0] == "run":
		r.labels = map[string]string{}
		for k, a := range args {
			if a == "--label" {
				key, value, _ := strings.Cut(args[k+1], "=")
				r.labels[key] = value
			}
		}
		workload := strings.TrimPrefix(args[slices.Index(args, "--log-opt")+1], "workload=")
		return "", r.run(ctx, args[slices.Index(args, "--name")+1], workload, args[len(args)-1])
	}
	return "", nil
}

// write has a container write a line, and the rules find it.
func (r *drillRig) write(ctx context.Context, container, workload, line string) error {
	snapshot, _ := liveRules{r.store}.compile()
	now := time.Now()
	var state rule.State
	var events []event.Event
	for _, h := range snapshot.For(workload).Eval(&state, rule.Line{Stream: "stdout", TimeNano: now.UnixNano(), Text: []byte(line)}, nil) {
		events = append(events, event.Event{
			Source: event.Logscan, Severity: h.Rule.Severity, Message: h.Text, Time: now, Labels: r.labels,
			Metadata: map[string]any{
				"rule_id": h.Rule.ID, "rule_name": h.Rule.Name, "workload_id": workload, "container_name": container, "container_id": "1",
				"line_time": now.UTC().Format(time.RFC3339Nano),
			},
		})
	}
	_, err := r.store.Commit(ctx, store.Batch{Events: events}, r.router.Match)
	return err
}

// exec runs a command line that has to succeed.
func (r *drillRig) exec(args ...string) string {
	r.t.Helper()
	out, code := r.try(r.t.Context(), args...)
	if code != exitOK {
		r.t.Fatalf("%v: %d %s", args, code, out)
	}
	return out
}

func (r *drillRig) try(ctx context.Context, args ...string) (out string, code int) {
	var b strings.Builder
	c := &cli{in: strings.NewReader(""), out: &b, err: &b, docker: r.docker, getenv: func(string) string { return "" }, plugin: true}
	code = c.run(ctx, append([]string{"logscan", "--socket", r.socket}, args...))
	return b.String(), code
}

// after checks that a drill has left nothing behind: no rule but those there were, and
// no open incident.
func (r *drillRig) after(rules int, open ...string) {
	r.t.Helper()
	if n := strings.Count(r.exec("rule", "ls", "-q"), "\n"); n != rules {
		r.t.Errorf("%d rules are left, not %d:\n%s", n, rules, r.exec("rule", "ls"))
	}
	if got := r.exec("incident", "ls", "-q"); got != strings.Join(append(open, ""), "\n") {
		r.t.Errorf("open incidents: %q, want %q", got, open)
	}
}

// drilled runs a drill and compares what it prints with a pattern, line by line: . stands for
// newlines too, and each space stands for one or more.
func (r *drillRig) drilled(code int, want string, args ...string) {
	r.t.Helper()
	out, got := r.try(r.t.Context(), append([]string{"drill"}, args...)...)
	want = strings.ReplaceAll(strings.TrimSpace(want), " ", " +")
	if got != code || !regexp.MustCompile(`^(?s)`+want+`\n$`).MatchString(out) {
		r.t.Errorf("drill %v: %d\n%s\nwant %d\n%s", args, got, out, code, want)
	}
}

const drillHead = `STEP AFTER TRIGGER WHAT
line 0.0 ms - .*logscan drill [0-9a-f]{16}: this is a test; nothing is wrong.* \(container logscan-drill-[0-9a-f]{16}, workload %W\)
hit [0-9.]+ ms - event \d+ of rule %R
incident [0-9.]+ ms - \d+ opened
`

func head(workload, rule string) string {
	return strings.NewReplacer("%W", workload, "%R", rule).Replace(drillHead)
}

// A line that a drill has written is followed to the receiver's answer, and nothing of
// the drill stays.
func TestDrill(t *testing.T) {
	r := newDrillRig(t)
	r.exec("trigger", "add", "ops", r.receiver.URL)
	r.exec("trigger", "add", "other", r.receiver.URL, "--rule", "none")
	began := time.Now()
	r.drilled(exitOK, head("logscan-drill-[0-9a-f]{8}", "logscan-drill-[0-9a-f]{8}")+`queued [0-9.]+ ms ops msg_\w+
answered [0-9.]+ ms ops delivered with status 200
told in [0-9.]+ ms`, "ops")
	r.after(0)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	if !strings.Contains(r.got, ": this is a test; nothing is wrong") || strings.Count(r.got, "\n") != 1 {
		t.Errorf("the receiver got %s", r.got)
	}
	if show := r.exec("incident", "show", "1"); !strings.Contains(show, "By:         drill\n") || !strings.Contains(show, "  Told:     ops: msg_") || !strings.Contains(show, "is delivered with status 200") || !strings.Contains(show, "  Not told: other: left out by --rule\n") {
		t.Errorf("the incident is\n%s", show)
	}
	want := `^run --rm --pull never --network none --name logscan-drill-\w+ --log-driver logscan --log-opt workload=logscan-drill-\w+ --entrypoint sh busybox:1 -c printf '%s\\n' "\$1" drill logscan drill \w+: this is a test; nothing is wrong$`
	if last := r.ran[len(r.ran)-1]; !regexp.MustCompile(want).MatchString(last) {
		t.Errorf("docker %s", last)
	}

	// Whatever the trigger's filters are, the drill is what they accept.
	r.exec("trigger", "add", "night", r.receiver.URL, "--min-severity", "error", "--severity", "warn,critical", "--rule", "db-*", "--workload", "shop/*,x", "--label", "team=o*,tier", "--match", `^[A-Z]+\d: `)
	r.drilled(exitOK, head("shop/[0-9a-f]{8}", "db-[0-9a-f]{8}")+`queued [0-9.]+ ms night msg_\w+
answered [0-9.]+ ms night delivered with status 200
told in [0-9.]+ ms`, "night")
	r.after(0)
	if out := r.exec("incident", "show", "2", "--format", "{{.Severity}} {{.LastText}}"); !regexp.MustCompile(`^critical A1:  ?\(logscan drill`).MatchString(out) {
		t.Errorf("the line is %s", out)
	}

	if last := r.ran[len(r.ran)-1]; !regexp.MustCompile(` --label team=o[0-9a-f]{8} --label tier --entrypoint`).MatchString(last) {
		t.Errorf("docker %s", last)
	}

	// A trigger that is told of each event is told of the hit.
	r.exec("trigger", "add", "each", r.receiver.URL, "--mode", "events", "--label", "team=o*")
	r.drilled(exitOK, head("logscan-drill-[0-9a-f]{8}", "logscan-drill-[0-9a-f]{8}")+`queued [0-9.]+ ms each msg_\w+
answered [0-9.]+ ms each delivered with status 200
told in [0-9.]+ ms`, "each", "--severity", "warn")

	// As JSON, each step is an object.
	var steps []string
	for line := range strings.Lines(r.exec("drill", "ops", "--format", "json")) {
		var s struct {
			Step  string
			At    time.Time
			After float64 `json:"after_ms"`
		}
		if err := json.Unmarshal([]byte(line), &s); err != nil || s.At.IsZero() || s.After < 0 {
			t.Errorf("%s: %v", line, err)
		}
		steps = append(steps, s.Step)
	}
	if got := strings.Join(steps, " "); got != "line hit incident queued answered told" {
		t.Errorf("the steps are %s", got)
	}
}

// A drill of a rule follows all triggers.
func TestDrillOfARule(t *testing.T) {
	r := newDrillRig(t)
	r.exec("rule", "add", "oom", `^Out of (?P<what>\w+)`, "--severity", "warn")
	r.exec("rule", "add", "cut", `^x$`, "--workload", "shop/web")
	r.exec("trigger", "add", "ops", r.receiver.URL)
	r.exec("trigger", "add", "pager", r.receiver.URL, "--min-severity", "error")
	r.exec("trigger", "add", "each", r.receiver.URL, "--mode", "events", "--severity", "error")
	r.exec("trigger", "add", "off", r.receiver.URL, "--disabled")
	r.drilled(exitOK, strings.Replace(head("logscan-drill-[0-9a-f]{8}", "oom"), ".*logscan drill", "Out of x [(]logscan drill", 1)+`unwanted - pager left out by --min-severity
unwanted - each left out by --severity
queued [0-9.]+ ms ops msg_\w+
answered [0-9.]+ ms ops delivered with status 200
told in [0-9.]+ ms`, "--rule", "oom")
	r.after(2)

	// Where the pattern leaves no room, the line doesn't say that it is a drill.
	r.drilled(exitOK, `STEP .*line 0.0 ms - x \(container logscan-drill-\w+, workload shop/web\)
.*told in [0-9.]+ ms`, "--rule", "cut")

	// What is open already is not the drill's, and stays.
	if err := r.write(t.Context(), "web", "shop/web", "x"); err != nil {
		t.Fatal(err)
	}
	r.exec("trigger", "disable", "each")
	r.drilled(exitFailed, `STEP .*
incident [0-9.]+ ms - folded into 3, which is open
Error: nobody was told: the drill stopped at the incident: the line is of an incident that is told already, and there is nothing new to tell
Try: docker logscan incident ls`, "--rule", "cut", "x")
	r.after(2, "3")

	for want, args := range map[string][]string{
		"Error: rule oom doesn't match the line \"x\"\nTry: docker logscan rule test oom LINE":        {"--rule", "oom", "x"},
		"Error: rule cut holds in the workload shop/web alone\nTry: --workload shop/web, or none":     {"--rule", "cut", "--workload", "shop/db"},
		"Error: no rule \"nosuch\"\nTry: docker logscan rule ls":                                      {"--rule", "nosuch"},
		"Error: there is no image nosuch on the Engine\nTry: docker pull nosuch":                      {"--rule", "oom", "--image", "nosuch"},
		"Error: LINE must be one line\n.*":                                                            {"--rule", "oom", "a\nb"},
		"Error: --severity is for the drill of a trigger: a rule has its own\n.*":                     {"--rule", "oom", "--severity", "warn"},
		"Error: docker logscan drill takes 1 argument, not 0\n.*":                                     {},
		"Error: --timeout must be from 1s to 10m\n.*":                                                 {"--timeout", "1h", "ops"},
		"Error: trigger off is switched off: it tells nobody\nTry: docker logscan trigger enable off": {"off"},
		"Error: no trigger \"nosuch\"\nTry: docker logscan trigger ls":                                {"nosuch"},
	} {
		out, code := r.try(t.Context(), append([]string{"drill"}, args...)...)
		if !regexp.MustCompile(`^(?s)`+strings.ReplaceAll(want, " ", " +")+`\n$`).MatchString(out) || code == exitOK {
			t.Errorf("%v: %d\n%s", args, code, out)
		}
	}
	r.exec("rule", "disable", "cut")
	r.drilled(exitFailed, "Error: rule cut is switched off: it finds nothing\nTry: docker logscan rule enable cut", "--rule", "cut")
	r.exec("rule", "add", "oom-web", "Out of memory", "--overrides", "oom", "--workload", "shop/web")
	r.drilled(exitFailed, "Error: rule oom is overridden in the workload shop/web\nTry: docker logscan workload rules shop/web", "--rule", "oom", "--workload", "shop/web")
	r.exec("rule", "add", "more", "took (?P<ms>[0-9]+) ms", "--all", "GET|POST", "--ignore", "^logscan")
	r.drilled(exitOK, `STEP .*line 0.0 ms - took 1 ms GET \(logscan drill .*told in [0-9.]+ ms`, "--rule", "more")
	r.exec("rule", "add", "5xx", "--where", "http.status >= 500", "--where", "http.path != /health")
	r.drilled(exitOK, `STEP .*line 0.0 ms - \{"http":\{"status":500\},"msg":"logscan drill .*told in [0-9.]+ ms`, "--rule", "5xx")
	r.exec("rule", "add", "lines", `a\nb`)
	r.drilled(exitFailed, "Error: no line could be made of what the rule looks for: give one\nTry: docker logscan drill --rule lines LINE", "--rule", "lines")
	r.images = "other:latest"
	r.drilled(exitFailed, "Error: a container is run for the drill, and none of the images busybox, alpine, debian, ubuntu is on the Engine\nTry: docker pull busybox\n docker logscan drill --image IMAGE … .*", "--rule", "oom")
}

// Where nobody is told, it is said at which step and why, and what to do.
func TestDrillThatTellsNobody(t *testing.T) {
	r := newDrillRig(t)
	drill := func(want string, args ...string) {
		t.Helper()
		r.drilled(exitFailed, `STEP .*`+want, args...)
		r.after(0)
	}
	r.exec("trigger", "add", "ops", r.receiver.URL, "--group-interval", "0")
	r.status = 500
	drill(`answered [0-9.]+ ms ops pending: the receiver answered 500; tried again at \d\d:\d\d:\d\d
Error: nobody was told: the drill stopped at the answer: trigger ops: pending: the receiver answered 500; tried again .*
Try: docker logscan trigger test ops .*`, "ops")

	now := time.Now().UTC()
	r.exec("trigger", "add", "day", r.receiver.URL, "--active", now.Add(2*time.Hour).Format("15:00")+"-"+now.Add(3*time.Hour).Format("15:00"))
	drill(`held - day until \S+ \S+, outside of the trigger's hours
Error: nobody was told: the drill stopped at the message: trigger day holds it until .*
Try: docker logscan trigger show day`, "day")

	r.exec("trigger", "add", "ends", r.receiver.URL, "--notice", "resolved")
	drill(`unwanted - ends left out by --notice
Error: nobody was told: the drill stopped at the message: no trigger is for it; ends: left out by --notice
Try: docker logscan trigger show ends`, "ends")

	r.exec("silence", "add", "workload=logscan-*", "--for", "1h")
	drill(`silenced - ops held back by silence 1
Error: nobody was told: the drill stopped at the message: silence 1 holds it back from trigger ops
Try: docker logscan silence rm 1`, "ops")

	r.exec("silence", "rm", "1")
	r.mu.Lock()
	r.status, r.think = 200, make(chan struct{})
	r.mu.Unlock()
	r.exec("trigger", "add", "slow", r.receiver.URL)
	drill(`queued [0-9.]+ ms slow msg_\w+
waiting - slow no answer in time
Error: nobody was told: the drill stopped at the message: trigger slow has it, and did not get an answer in time
Try: docker logscan delivery ls
 docker logscan trigger test slow`, "slow", "--timeout", "1s")
	close(r.think)

	// It stops before, too.
	r.run = func(context.Context, string, string, string) error { return nil }
	drill(`line 0.0 ms .*
Error: the drill stopped at the hit: there was none of rule logscan-drill-\w+ in time
Try: docker logscan stats .*`, "--timeout", "1s", "ops")
	r.run = func(context.Context, string, string, string) error {
		return errors.New("docker run: no space left on device")
	}
	drill(`WHAT
Error: the drill stopped at the line: docker run: no space left on device`, "ops")
	if last := r.ran[len(r.ran)-1]; !strings.HasPrefix(last, "rm --force logscan-drill-") {
		t.Errorf("docker %s", last)
	}
}

// A drill that is interrupted tidies up, and what one left that was killed is removed by
// the next one.
func TestDrillIsInterrupted(t *testing.T) {
	r := newDrillRig(t)
	r.exec("trigger", "add", "ops", r.receiver.URL)
	ctx, cancel := context.WithCancel(t.Context())
	r.run = func(ctx context.Context, _, _, _ string) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	if out, code := r.try(ctx, "drill", "ops"); code != exitInterrupted {
		t.Errorf("%d %s", code, out)
	}
	r.after(0)

	r.run = r.write
	r.exec("rule", "add", "of-mine", "x", "--description", "Of a drill that ends by noon; the next drill removes it")
	r.exec("rule", "add", "under-way", "x", "--description", drillUntil+time.Now().Add(time.Minute).UTC().Format(time.RFC3339)+drillUntilEnd)
	r.exec("rule", "add", "killed", "x", "--description", drillUntil+time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)+drillUntilEnd)
	r.exec("drill", "ops")
	if left := r.exec("rule", "ls", "--format", "{{.Name}}"); left != "of-mine\nunder-way\n" {
		t.Errorf("the rules are %q", left)
	}
}

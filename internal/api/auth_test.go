package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// overNet serves a bench's API as it is served over TCP, and returns its
// address and the gate.
func overNet(t *testing.T, b *bench, total, perAddr int) (string, *Gate) {
	t.Helper()
	g := NewGate(b.tokens, nil, b.handler())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: SameOrigin(g)}
	l = (&Limit{Total: total, PerAddr: perAddr}).Apply(srv, l)
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return l.Addr().String(), g
}

func TestGate(t *testing.T) {
	b := newBench(t)
	b.reasons.Store(&[]Reason{{"settings", "LOGSCAN_X is bad"}})
	addr, g := overNet(t, b, 10, 10)
	var mu sync.Mutex
	var slept []time.Duration
	g.sleep = func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		slept = append(slept, d)
	}
	for _, tt := range []struct {
		name, method, path string
		header             http.Header
		status             int
		says, silent       string
		delayed            bool
	}{
		{"no token", "GET", rulesPath, nil, 401, "docker logscan token", "", false},
		{"no token, no such path", "GET", "/nothing", nil, 401, "", "", false},
		{"no token for metrics", "GET", metricsPath, nil, 401, "", "", false},
		{"no token for the description", "GET", "/openapi.json", nil, 401, "", "", false},
		{"no token for the stream", "GET", streamPath, nil, 401, "", "", false},
		{"no token for a change", "DELETE", rulesPath + "/1", nil, 401, "", "", false},
		{"health without a token", "GET", healthPath, nil, 200, `"degraded"`, "LOGSCAN_X", false},
		{"not quite health", "GET", healthPath + "/", nil, 401, "", "", false},
		{"health by another spelling", "GET", "/./healthz", nil, 401, "", "", false},
		{"wrong token", "GET", rulesPath, bearer(testToken + "x"), 401, "wrong", testToken, true},
		{"part of the token", "GET", rulesPath, bearer(testToken[:20]), 401, "wrong", "", true},
		{"wrong token for health", "GET", healthPath, bearer("x"), 401, "", "", true},
		{"other scheme", "GET", rulesPath, http.Header{"Authorization": {"Basic " + testToken}}, 401, "", "", true},
		{"token in the query", "GET", rulesPath + "?token=" + strings.ReplaceAll(testToken, " ", "+"), nil, 401, "", "", false},
		{"right token", "GET", rulesPath, bearer(testToken), 200, `"items"`, "", false},
		{"right token, other case", "GET", rulesPath, http.Header{"Authorization": {"bearer " + testToken}}, 200, `"items"`, "", false},
		{"health with the token", "GET", healthPath, bearer(testToken), 200, "LOGSCAN_X is bad", "", false},
		{"metrics with the token", "GET", metricsPath, bearer(testToken), 200, "logscan_lines_total", "", false},
		{"the token itself", "GET", tokenPath, bearer(testToken), 404, "unix socket", testToken, false},
		{"the token by another spelling", "GET", "/api/%74oken", bearer(testToken), 404, "unix socket", testToken, false},
		{"page of another site", "GET", rulesPath, with(bearer(testToken), "Origin", "https://evil.example.com"), 403, "origin", "", false},
		{"page without an origin", "GET", rulesPath, with(bearer(testToken), "Origin", "null"), 403, "origin", "", false},
		{"browser says cross-site", "GET", healthPath, http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403, "origin", "", false},
		{"browser says same-site", "POST", rulesPath, with(bearer(testToken), "Sec-Fetch-Site", "same-site"), 403, "origin", "", false},
		{"preflight", "OPTIONS", rulesPath, http.Header{"Origin": {"https://evil.example.com"}, "Access-Control-Request-Method": {"POST"}}, 403, "", "", false},
		{"own page", "GET", rulesPath, with(with(bearer(testToken), "Origin", "http://"+addr), "Sec-Fetch-Site", "same-origin"), 200, `"items"`, "", false},
		{"typed by hand", "GET", rulesPath, with(bearer(testToken), "Sec-Fetch-Site", "none"), 200, `"items"`, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			slept = nil
			req, err := http.NewRequest(tt.method, "http://"+addr+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range tt.header {
				req.Header[k] = v
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != tt.status || !bytes.Contains(body, []byte(tt.says)) || tt.silent != "" && bytes.Contains(body, []byte(tt.silent)) {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
			if tt.status >= 400 && resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("content type %q", resp.Header.Get("Content-Type"))
			}
			if tt.status == 401 && resp.Header.Get("WWW-Authenticate") == "" {
				t.Error("no WWW-Authenticate")
			}
			if resp.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Error("another origin is allowed")
			}
			mu.Lock()
			defer mu.Unlock()
			if (len(slept) > 0) != tt.delayed {
				t.Errorf("answered after %v", slept)
			}
		})
	}
	// The unix socket tells the token.
	if tok := must[Token](t)(b.Token(t.Context())); tok.Token != testToken || tok.Listen == "" {
		t.Errorf("%+v", tok)
	}
	// The client over TCP, its stream included.
	c := DialTCP("http://"+addr+"/", testToken)
	defer c.Close()
	must[[]Rule](t)(c.Rules(t.Context()))
	b.emit(hit(1, "warn", "r"))
	if got, _, err := collect(t.Context(), c, 0, EventQuery{}, 1); err != nil || len(got) != 1 {
		t.Errorf("stream over TCP: %v %v", got, err)
	}
	wrong := DialTCP("http://"+addr, "x")
	defer wrong.Close()
	_, err := wrong.Rules(t.Context())
	wantProblem(t, err, 401, "wrong")
}

func bearer(token string) http.Header {
	return http.Header{"Authorization": {"Bearer " + token}}
}

func with(h http.Header, name, value string) http.Header {
	h = h.Clone()
	h.Set(name, value)
	return h
}

// Each scope opens what it is for, and nothing beyond.
func TestScopes(t *testing.T) {
	b := newBench(t)
	addr, _ := overNet(t, b, 10, 10)
	ctx := t.Context()
	tokens := map[Scope]string{ScopeAdmin: testToken}
	for _, scope := range Scopes {
		made := must[NewToken](t)(b.CreateToken(ctx, TokenCreate{Name: "of " + string(scope), Scope: scope}))
		if made.ID == 0 || made.Scope != scope || len(made.Token) < 30 || made.CreatedAt.IsZero() {
			t.Fatalf("%+v", made)
		}
		tokens[scope] = made.Token
	}
	rule := must[Rule](t)(b.CreateRule(ctx, RuleCreate{Name: "r", Pattern: "x"}))
	url, secret := "https://h.example.com/s3cr3t", ""
	trigger := must[Trigger](t)(b.CreateTrigger(ctx, TriggerCreate{Name: "t", ActionURL: url}))
	whole, _ := json.Marshal(trigger)
	for _, tt := range []struct {
		need                     Scope
		method, path, body, says string
	}{
		{ScopeMetrics, "GET", metricsPath, "", "logscan_lines_total"},
		{ScopeRead, "GET", rulesPath, "", ""},
		{ScopeRead, "GET", rulesPath + "/1", "", ""},
		{ScopeRead, "GET", rulesPath + "/stats", "", ""},
		{ScopeRead, "GET", triggersPath, "", "********"},
		{ScopeRead, "GET", eventsPath, "", ""},
		{ScopeRead, "GET", deliveriesPath, "", ""},
		{ScopeRead, "GET", containersPath, "", ""},
		{ScopeRead, "GET", workloadsPath, "", ""},
		{ScopeRead, "GET", statsPath, "", ""},
		{ScopeRead, "GET", searchPath + "?pattern=x", "", "summary"},
		{ScopeRead, "GET", tailPath, "", "end"},
		{ScopeRead, "GET", "/openapi.json", "", ""},
		{ScopeRead, "GET", "/openapi.yaml", "", ""},
		{ScopeWrite, "POST", rulesPath + "/test", `{"pattern":"x","lines":["x"]}`, ""},
		{ScopeWrite, "PATCH", idPath(rulesPath, rule.ID), `{"enabled":false}`, ""},
		{ScopeWrite, "PATCH", idPath(triggersPath, trigger.ID), `{"enabled":false}`, ""},
		{ScopeWrite, "PATCH", idPath(triggersPath, trigger.ID), string(whole), ""},
		{ScopeAdmin, "PATCH", idPath(triggersPath, trigger.ID), `{"action_url":"https://thief.example.com/"}`, ""},
		{ScopeAdmin, "PATCH", idPath(triggersPath, trigger.ID), `{"action_secret":"another"}`, ""},
		{ScopeAdmin, "PATCH", idPath(triggersPath, trigger.ID), `{"action_secret":"","severities":"info"}`, ""},
		{ScopeAdmin, "POST", triggersPath, `{"name":"t2","action_url":"https://h.example.com/"}`, ""},
		{ScopeAdmin, "DELETE", triggersPath + "/99", "", ""},
		{ScopeAdmin, "GET", tokensPath, "", "of write"},
		{ScopeAdmin, "DELETE", tokensPath + "/99", "", ""},
		{ScopeAdmin, "GET", tokenPath, "", ""},
	} {
		for _, scope := range Scopes {
			req, err := http.NewRequest(tt.method, "http://"+addr+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = bearer(tokens[scope])
			if tt.body != "" {
				req.Header.Set("Content-Type", "application/json")
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if open := resp.StatusCode != 403; open != scope.includes(tt.need) || open && !bytes.Contains(body, []byte(tt.says)) {
				t.Errorf("%s %s %s by %s: %d %s", tt.method, tt.path, tt.body, scope, resp.StatusCode, body)
			} else if !open && (!bytes.Contains(body, []byte("scope is "+scope+"; this needs "))) {
				t.Errorf("%s by %s: %s", tt.path, scope, body)
			}
			stored, err := b.store.Trigger(ctx, trigger.ID)
			if err != nil || scope != ScopeAdmin && (stored.ActionURL != url || stored.ActionSecret != secret) {
				t.Errorf("%s has redirected the trigger", scope)
			}
			url, secret = stored.ActionURL, stored.ActionSecret
		}
	}
	// /healthz tells details to those who may read.
	b.reasons.Store(&[]Reason{{"settings", "LOGSCAN_X is bad"}})
	for _, scope := range Scopes {
		c := DialTCP("http://"+addr, tokens[scope])
		h := must[Health](t)(c.Health(ctx))
		c.Close()
		if told := h.Reasons[0].Detail != ""; told != scope.includes(ScopeRead) {
			t.Errorf("%s: %+v", scope, h)
		}
	}
}

// A token is shown once, kept as a hash alone, and good for nothing once it is
// removed, not even for the stream that it has opened.
func TestTokens(t *testing.T) {
	b := newBench(t)
	addr, _ := overNet(t, b, 10, 10)
	ctx := t.Context()
	made := must[NewToken](t)(b.CreateToken(ctx, TokenCreate{Name: "dash", Scope: ScopeRead}))
	c := DialTCP("http://"+addr, made.Token)
	defer c.Close()
	must[[]Rule](t)(c.Rules(ctx))
	ended := make(chan error)
	begun := make(chan struct{}, 2)
	go func() {
		ended <- c.Follow(ctx, 0, EventQuery{}, func(Event) error { begun <- struct{}{}; return nil })
	}()
	b.emit(hit(1, "warn", "r"))
	<-begun

	list := must[[]AccessToken](t)(b.Tokens(ctx))
	if len(list) != 1 || list[0] != made.AccessToken {
		t.Errorf("%+v", list)
	}
	if _, body := b.raw("GET", tokensPath, "", ""); strings.Contains(body, made.Token[10:]) {
		t.Errorf("the list shows the token: %s", body)
	}
	stored, err := b.store.Tokens(ctx)
	if err != nil || len(stored) != 1 || strings.Contains(fmt.Sprintf("%s %v", stored[0].Hash, stored[0]), made.Token[10:]) {
		t.Errorf("%+v, %v", stored, err)
	}
	_, err = b.CreateToken(ctx, TokenCreate{Name: "dash", Scope: ScopeAdmin})
	wantProblem(t, err, 422, "name", "another token's")
	_, err = b.CreateToken(ctx, TokenCreate{Name: "x", Scope: "root"})
	wantProblem(t, err, 422, "scope")
	for _, name := range []string{"", "a\x1b[2J", "a\nb", "\u202egnp.exe", strings.Repeat("x", 200)} {
		_, err = b.CreateToken(ctx, TokenCreate{Name: name, Scope: ScopeRead})
		wantProblem(t, err, 422, "name")
	}
	// Another process, as after a restart, knows it too.
	var later Tokens
	if err := later.Load(ctx, b.store); err != nil {
		t.Fatal(err)
	}
	if c, ok := later.find(stored[0].Hash); !ok || c.scope != ScopeRead {
		t.Errorf("%+v, %v", c, ok)
	}

	if err := b.DeleteToken(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, b.DeleteToken(ctx, made.ID), 404, "no such token")
	b.emit(hit(2, "warn", "r"))
	wantProblem(t, <-ended, 401, "wrong")
	if len(begun) > 0 {
		t.Error("the stream goes on")
	}
	_, err = c.Rules(ctx)
	wantProblem(t, err, 401, "wrong")
}

// Each operation's description has the refusals that it may meet.
func TestRefusalsAreDescribed(t *testing.T) {
	b := newBench(t)
	_, out := b.raw("GET", "/openapi.json", "", "")
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string
			RequestBody *struct{}
			Security    []map[string][]string
			Responses   map[string]struct{ Description string }
		}
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	n := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			n++
			want := []string{"401", "403", "429"}
			if op.RequestBody != nil {
				want = append(want, "413", "415", "422")
			}
			if !availableAlone[op.OperationID] {
				want = append(want, "499", "503")
			}
			if strings.Contains(path, "{") && path != workloadsPath+"/{id}"+effectiveRules {
				want = append(want, "404")
			}
			for _, status := range want {
				if op.Responses[status].Description == "" {
					t.Errorf("%s %s: no %s", method, path, status)
				}
			}
			if op.OperationID != "get-health" && (len(op.Security) == 0 || len(op.Security[0]["token"]) != 1) {
				t.Errorf("%s %s: no scope: %v", method, path, op.Security)
			}
		}
	}
	if n < 25 {
		t.Errorf("%d operations", n)
	}
	for _, tt := range []struct{ method, path, contentType, body, want string }{
		{"POST", rulesPath, "text/plain", "x", "415"},
		{"POST", rulesPath, "application/json", `{"name":"` + strings.Repeat("x", maxBody) + `"}`, "413"},
		{"POST", rulesPath, "application/json", `{"name":"x"}`, "422"},
		{"GET", rulesPath + "/99", "", "", "404"},
	} {
		if resp, body := b.raw(tt.method, tt.path, tt.contentType, tt.body); fmt.Sprint(resp.StatusCode) != tt.want {
			t.Errorf("%+v: %d %s", tt, resp.StatusCode, body)
		}
	}
}

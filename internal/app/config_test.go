package app

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

func env(m map[string]string) func(string) string {
	return func(k string) string { return m[k] }
}

func TestConfigDefaults(t *testing.T) {
	c := ConfigFromEnv(env(nil))
	if len(c.Problems) != 0 {
		t.Fatalf("defaults have problems: %v", c.Problems)
	}
	if c.FIFODir != "/run/docker/logging" || c.DataDir != "/run/docker/logging/.logscan" {
		t.Errorf("directories: %q, %q", c.FIFODir, c.DataDir)
	}
	if c.StoppedAge != 30*24*time.Hour || c.HoldMax != 256<<20 || c.BucketBurst != 30 || c.LogLevel != slog.LevelInfo {
		t.Errorf("defaults: %+v", c)
	}
}

func TestConfigValues(t *testing.T) {
	c := ConfigFromEnv(env(map[string]string{
		"LOGSCAN_DISK_BUDGET":    "10g",
		"LOGSCAN_STOPPED_AGE":    "0",
		"LOGSCAN_ALLOW_TARGETS":  " 127.0.0.1, 10.0.0.0/8 ,",
		"LOGSCAN_REFUSE_TARGETS": "own, 192.168.1.0/24",
		"LOGSCAN_LOG_LEVEL":      "debug",
		"LOGSCAN_LISTEN":         "[::1]:8414",
		"LOGSCAN_TOKEN":          " 0123456789abcdef ",
	}))
	if len(c.Problems) != 0 {
		t.Fatal(c.Problems)
	}
	if c.DiskBudget != 10<<30 || c.StoppedAge != 0 || c.LogLevel != slog.LevelDebug || c.Listen != "[::1]:8414" || c.Token != "0123456789abcdef" {
		t.Errorf("%+v", c)
	}
	if got := strings.Join(c.Targets.Allow, "|"); got != "127.0.0.1|10.0.0.0/8" {
		t.Errorf("targets %q", got)
	}
	if got := c.Targets; !got.RefuseOwn || len(got.Refuse) != 1 || got.Refuse[0].String() != "192.168.1.0/24" {
		t.Errorf("targets %+v", got)
	}
}

// A bad setting never stops the plugin: it is named, and the default holds.
func TestConfigBadSettings(t *testing.T) {
	for name, bad := range map[string]string{
		"LOGSCAN_LISTEN":          "8414",
		"LOGSCAN_TOKEN":           "too short",
		"LOGSCAN_DISK_BUDGET":     "-1",
		"LOGSCAN_HOLD_MAX":        "lots",
		"LOGSCAN_STOPPED_AGE":     "30",
		"LOGSCAN_BUCKET_BURST":    "0",
		"LOGSCAN_BUCKET_REFILL":   "-2s",
		"LOGSCAN_EVENTS_MAX":      "1e3",
		"LOGSCAN_QUERIES":         "65",
		"LOGSCAN_LOG_LEVEL":       "loud",
		"LOGSCAN_REDACT":          "yes",
		"LOGSCAN_REDACT_PATTERNS": "(",
	} {
		c := ConfigFromEnv(env(map[string]string{name: bad}))
		if len(c.Problems) != 1 || !strings.Contains(c.Problems[0].Error(), name) || !strings.Contains(c.Problems[0].Error(), "using") {
			t.Errorf("%s=%s: problems %v", name, bad, c.Problems)
		}
		want := ConfigFromEnv(env(nil))
		c.Problems = nil
		if got, want := c.HoldMax+c.DiskBudget+int64(c.BucketBurst+c.EventsMax+c.Queries)+int64(c.LogLevel)+int64(c.StoppedAge+c.BucketRefill),
			want.HoldMax+want.DiskBudget+int64(want.BucketBurst+want.EventsMax+want.Queries)+int64(want.LogLevel)+int64(want.StoppedAge+want.BucketRefill); got != want {
			t.Errorf("%s=%s: default not used", name, bad)
		}
	}
}

func TestConfigRedact(t *testing.T) {
	const text = "password=hunter2 sess-1"
	for want, set := range map[string]map[string]string{
		"password=[redacted] sess-1":     {},
		"password=[redacted] sess-1 ":    {"LOGSCAN_REDACT": "yes", "LOGSCAN_REDACT_PATTERNS": "("},
		"password=[redacted] [redacted]": {"LOGSCAN_REDACT_PATTERNS": `sess-\d+`},
		"password=hunter2 sess-1":        {"LOGSCAN_REDACT": "off"},
		"password=hunter2 sess-1 ":       {"LOGSCAN_REDACT": "off", "LOGSCAN_REDACT_PATTERNS": `sess-\d+`},
	} {
		if got := ConfigFromEnv(env(set)).Redact.Text(text); got != strings.TrimSpace(want) {
			t.Errorf("%v: %q", set, got)
		}
	}
}

func TestConfigListen(t *testing.T) {
	for _, bad := range []string{"8414", "localhost", "localhost:", "localhost:http", ":0", "1.2.3.4:70000", "http://1.2.3.4:80", "::1:80", "a b:80", "/run/x:1"} {
		c := ConfigFromEnv(env(map[string]string{"LOGSCAN_LISTEN": bad}))
		if len(c.Problems) != 1 || c.Listen != "" {
			t.Errorf("%q: %q, %v", bad, c.Listen, c.Problems)
		}
	}
	for _, good := range []string{":8414", "0.0.0.0:8414", "[::1]:1", "logs.example.com:65535"} {
		if c := ConfigFromEnv(env(map[string]string{"LOGSCAN_LISTEN": good})); len(c.Problems) != 0 || c.Listen != good {
			t.Errorf("%q: %q, %v", good, c.Listen, c.Problems)
		}
	}
}

// What is wrong with a token is told without telling the token.
func TestConfigTokenStaysIn(t *testing.T) {
	for _, bad := range []string{"s3cr3t", "s3cr3t with spaces that is long", "s3cr3t\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		c := ConfigFromEnv(env(map[string]string{"LOGSCAN_TOKEN": bad}))
		if len(c.Problems) != 1 || c.Token != "" || strings.Contains(c.Problems[0].Error(), "s3cr3t") {
			t.Errorf("%q: %q, %v", bad, c.Token, c.Problems)
		}
	}
}

func TestConfigAllowTargets(t *testing.T) {
	c := ConfigFromEnv(env(map[string]string{"LOGSCAN_ALLOW_TARGETS": "10.0.0.0/8,300.0.0.0/8,host"}))
	if len(c.Problems) != 1 || !strings.Contains(c.Problems[0].Error(), "300.0.0.0/8") {
		t.Errorf("%v", c.Problems)
	}
}

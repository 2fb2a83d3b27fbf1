package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const body = `{"type":"logscan.hit","data":{"severity":"error","message":"Out of memory","metadata":{"container_name":"web","rule_name":"oom"}}}`

// TestReceiver runs it as the program does, until it has what it waits for.
func TestReceiver(t *testing.T) {
	for _, secret := range []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "any text"} {
		file := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r, w := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			ended <- run(t.Context(), "127.0.0.1:0", file, 1, w)
			w.Close()
		}()
		out := bufio.NewReader(r)
		line, err := out.ReadString('\n')
		url, ok := strings.CutPrefix(strings.TrimSpace(line), "Listening on ")
		if !ok {
			t.Fatalf("began with %q, %v, %v", line, err, <-ended)
		}
		var said bytes.Buffer
		copied := make(chan struct{})
		go func() { io.Copy(&said, out); close(copied) }()

		good, err := newVerifier(secret)
		if err != nil {
			t.Fatal(err)
		}
		other, _ := newVerifier("another")
		for _, c := range []struct {
			name   string
			signer *webhooks.Webhook
			at     time.Time
			body   string
			status int
		}{
			{"signed with another secret", other, time.Now(), body, 401},
			{"signed an hour ago", good, time.Now().Add(-time.Hour), body, 401},
			{"changed on its way", good, time.Now(), strings.Replace(body, "Out", "All", 1), 401},
			{"not signed", nil, time.Now(), body, 401},
			{"good", good, time.Now(), body, 204},
		} {
			req, _ := http.NewRequest("POST", url, strings.NewReader(c.body))
			req.Header.Set(webhooks.HeaderWebhookID, "msg_1")
			req.Header.Set(webhooks.HeaderWebhookTimestamp, strconv.FormatInt(c.at.Unix(), 10))
			if c.signer != nil {
				s, err := c.signer.Sign("msg_1", c.at, []byte(body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set(webhooks.HeaderWebhookSignature, s)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != c.status {
				t.Errorf("%s: %d, want %d", c.name, res.StatusCode, c.status)
			}
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		<-copied
		if s := said.String(); strings.Count(s, "Refused") != 4 || strings.Count(s, "Verified msg_1") != 1 || !strings.Contains(s, `message    "Out of memory"`) {
			t.Errorf("it said:\n%s", s)
		}
	}
}

func TestReceiverNeedsASecret(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("whsec_!\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"", empty, empty + "-not-there", broken} {
		if err := run(t.Context(), "127.0.0.1:0", file, 1, io.Discard); err == nil {
			t.Errorf("secret file %q is good enough", file)
		}
	}
}

// Receiver shows the webhooks that logscan sends, as an example of what is to be
// done with one and to see them arrive:
//
//	go run ./internal/enginetest/receiver -secret-file ops.secret
//
// It verifies each signature with the Go library of Standard Webhooks, prints
// what came, and answers 204; what is not signed with the secret, or signed more
// than five minutes ago, is refused with 401. It listens on loopback.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// maxBody is more than any event of logscan takes.
const maxBody = 1 << 20

func main() {
	addr := flag.String("addr", "127.0.0.1:8099", "where to listen")
	secretFile := flag.String("secret-file", "", "file with the trigger's secret (required)")
	n := flag.Int("n", 0, "end after so many verified webhooks; 0 = never")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *secretFile, *n, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "receiver:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr, secretFile string, n int, out io.Writer) error {
	if secretFile == "" {
		return errors.New("say with -secret-file where the trigger's secret is")
	}
	secret, err := os.ReadFile(secretFile)
	if err != nil {
		return err
	}
	verifier, err := newVerifier(strings.TrimRight(string(secret), "\r\n"))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	ctx, done := context.WithCancel(ctx)
	defer done()
	srv := &http.Server{
		Handler:           &receiver{verifier: verifier, out: out, left: n, done: done},
		ReadHeaderTimeout: 10 * time.Second,
	}
	fmt.Fprintf(out, "Listening on http://%s/\n", l.Addr())
	answered := make(chan error, 1)
	context.AfterFunc(ctx, func() { answered <- srv.Shutdown(context.Background()) })
	if err := srv.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return <-answered // the last answer is still on its way
}

// newVerifier takes a secret as a trigger does: whsec_ and base64, or any other
// text.
func newVerifier(secret string) (*webhooks.Webhook, error) {
	if secret == "" {
		return nil, errors.New("the secret is empty")
	}
	if strings.HasPrefix(secret, "whsec_") {
		w, err := webhooks.NewWebhook(secret)
		if err != nil {
			return nil, errors.New("the secret begins with whsec_, and what follows is not base64")
		}
		return w, nil
	}
	return webhooks.NewWebhookRaw([]byte(secret))
}

// webhook is what is shown of a payload.
type webhook struct {
	Type string `json:"type"`
	Test bool   `json:"test"`
	Data struct {
		Severity string         `json:"severity"`
		Message  string         `json:"message"`
		Metadata map[string]any `json:"metadata"`
	} `json:"data"`
}

type receiver struct {
	verifier *webhooks.Webhook
	out      io.Writer
	done     func()

	mu   sync.Mutex // guards what follows, and keeps reports apart
	left int        // webhooks until done; 0 and below: never
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	id := req.Header.Get(webhooks.HeaderWebhookID)
	if err := r.verifier.Verify(body, req.Header); err != nil {
		fmt.Fprintf(r.out, "Refused %q: %v\n", id, err)
		http.Error(w, "not signed with the secret", http.StatusUnauthorized)
		return
	}
	var hook webhook
	if err := json.Unmarshal(body, &hook); err != nil {
		fmt.Fprintf(r.out, "Refused %q: signed, but not JSON: %v\n", id, err)
		http.Error(w, "not JSON", http.StatusBadRequest)
		return
	}
	fmt.Fprintf(r.out, "Verified %s: signed with the secret, %d bytes\n", id, len(body))
	kind := hook.Type
	if hook.Test {
		kind += " (test)"
	}
	for _, field := range [][2]any{
		{"type", kind},
		{"severity", hook.Data.Severity},
		{"container", hook.Data.Metadata["container_name"]},
		{"rule", hook.Data.Metadata["rule_name"]},
		{"message", fmt.Sprintf("%q", hook.Data.Message)},
	} {
		if field[1] != nil {
			fmt.Fprintf(r.out, "  %-10s %v\n", field[0], field[1])
		}
	}
	w.WriteHeader(http.StatusNoContent)
	if r.left--; r.left == 0 {
		r.done()
	}
}

package egress

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// DefaultTimeout is how long an answer may take.
	DefaultTimeout = 10 * time.Second
	// maxHeader bounds the headers of an answer, and what is read of its body,
	// if only to be able to use the connection again.
	maxHeader = 64 << 10
	// keep is how much of an answer's body is kept if nothing else is said.
	keep = 8 << 10
	// MaxWait bounds what a receiver may ask to wait.
	MaxWait = 24 * time.Hour
)

// Failure is why there was no answer, in words that are safe to show.
type Failure string

func (f Failure) Error() string { return string(f) }

// Answer is what a receiver said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // its beginning, of Client.Keep
	At     time.Time
}

// RetryAfter reads that header: seconds or a date. It is 0 where there is none, and
// a day at most.
func (a Answer) RetryAfter() time.Duration {
	v := strings.TrimSpace(a.Header.Get("Retry-After"))
	if v == "" {
		return 0
	}
	var wait time.Duration
	if n, err := strconv.ParseUint(v, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		wait = time.Duration(min(n, uint64(MaxWait/time.Second))) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		wait = at.Sub(a.At)
	}
	return max(0, min(wait, MaxWait))
}

// Client sends requests. It is safe concurrently.
type Client struct {
	Guard   *Guard
	Timeout time.Duration // of a request with its answer
	Keep    int64         // how much of an answer's body is kept, in bytes
	Now     func() time.Time
	http    *http.Client
}

// NewClient takes the default timeout for 0, and time.Now for a nil now.
func NewClient(g *Guard, timeout time.Duration, now func() time.Time) *Client {
	if now == nil {
		now = time.Now
	}
	return &Client{
		Guard: g, Timeout: cmp.Or(timeout, DefaultTimeout), Keep: keep, Now: now,
		http: &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				DialContext:            g.Dial,
				MaxResponseHeaderBytes: maxHeader,
				DisableCompression:     true,
				MaxIdleConnsPerHost:    2,
				IdleConnTimeout:        30 * time.Second,
			},
		},
	}
}

// Do sends a request once and reads its answer. The error is a Failure.
func (c *Client) Do(req *http.Request) (Answer, error) {
	ctx, cancel := context.WithTimeout(req.Context(), c.Timeout)
	defer cancel()
	at := c.Now()
	req.Header.Set("User-Agent", "logscan")
	// It is not sent, but lets the transport try again where the receiver has just
	// closed the idle connection: receivers know what came twice by its id.
	if _, ok := req.Header["Idempotency-Key"]; !ok {
		req.Header["Idempotency-Key"] = nil
	}
	resp, err := c.http.Do(req.WithContext(ctx))
	if err != nil {
		return Answer{}, c.failure(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, c.Keep)) // the status says most
	io.Copy(io.Discard, io.LimitReader(resp.Body, maxHeader-c.Keep))
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: body, At: at}, nil
}

// Close closes the connections that nobody uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) failure(err error) Failure {
	if f := Describe(err, c.Timeout); f != "" {
		return f
	}
	return "the receiver's answer is not HTTP, or too large"
}

// Describe puts a failure to connect, or to hear from who was connected to, into
// words of our own; "" for another failure. What the libraries say may hold the
// URL, or bytes that the peer sent.
func Describe(err error, timeout time.Duration) Failure {
	var (
		known    Failure
		refused  refusal
		dns      *net.DNSError
		errno    syscall.Errno
		record   tls.RecordHeaderError
		alert    tls.AlertError
		verify   *tls.CertificateVerificationError
		hostname x509.HostnameError
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &refused):
		return Failure(refused)
	case errors.As(err, &dns) && dns.IsNotFound:
		return "the receiver's name does not exist"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return Failure(fmt.Sprintf("no answer within %v", timeout))
	case errors.As(err, &dns):
		return "the receiver's name could not be resolved"
	case errors.As(err, &hostname):
		return "the receiver's certificate is for another name"
	case errors.As(err, &verify):
		return "the receiver's certificate is not trusted or not valid now"
	case errors.As(err, &record):
		return "the receiver does not speak TLS"
	case errors.As(err, &alert):
		return "the receiver refused the TLS handshake"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the receiver closed the connection without an answer"
	case errors.As(err, &errno):
		return Failure(errno.Error())
	}
	return ""
}

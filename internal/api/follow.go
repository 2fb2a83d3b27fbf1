package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

const (
	// followPatience is how long Follow tries to get back a stream that broke:
	// longer than an upgrade of the plugin takes.
	followPatience = 30 * time.Second
	maxStreamLine  = 4 << 20
)

// FromNow as Follow's lastID asks for events that are yet to come.
const FromNow int64 = -1

// Follow calls fn with every event after lastID that q selects, in order, until
// ctx ends or fn fails; it returns that error. A stream that breaks, as when
// the plugin is restarted, is taken up where it ended. Of q, only the filters
// count.
func (c *Client) Follow(ctx context.Context, lastID int64, q EventQuery, fn func(Event) error) error {
	q.After, q.Before, q.Limit = 0, 0, 0
	err := persist(ctx, func() (bool, error) { return c.follow(ctx, &lastID, q, fn) })
	if errors.Is(err, errLost) {
		return fmt.Errorf("event stream: %w", err)
	}
	return err
}

// errLost means that a stream which broke can't be taken up again.
var errLost = errors.New("the plugin doesn't come back")

// persist calls once again and again, which reads a stream that may break and returns
// whether it came to be, until ctx ends, it returns a stopped, or it is refused; it returns
// that error. So it does where the stream has never come to be, or doesn't for a while.
func persist(ctx context.Context, once func() (bool, error)) error {
	var down time.Time // since when it is broken
	wait := 50 * time.Millisecond
	for connected := false; ; {
		ok, err := once()
		if ok {
			connected, down, wait = true, time.Time{}, 50*time.Millisecond
		}
		var stop *stopped
		var refused *Problem
		switch {
		case errors.As(err, &stop):
			return stop.err
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &refused) && refused.Status < 500:
			return err
		case !connected:
			return err
		}
		if down.IsZero() {
			down = time.Now()
		}
		if time.Since(down) > followPatience {
			return fmt.Errorf("%w: %w", errLost, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, 2*time.Second)
	}
}

// stopped is what the caller's function returned.
type stopped struct{ err error }

func (s *stopped) Error() string { return s.err.Error() }

// follow reads one stream; connected tells whether it got as far as its first
// message.
func (c *Client) follow(ctx context.Context, lastID *int64, q EventQuery, fn func(Event) error) (connected bool, err error) {
	h := http.Header{"Accept": {"text/event-stream"}}
	if *lastID >= 0 {
		h.Set("Last-Event-ID", strconv.FormatInt(*lastID, 10))
	}
	resp, err := c.send(ctx, http.MethodGet, streamPath, q.values(), h, nil)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	err = readStream(resp.Body, func(m message) error {
		connected = true
		switch m.event {
		case "ping":
			var p Ping
			if err := json.Unmarshal(m.data, &p); err != nil {
				return fmt.Errorf("event stream: %w", err)
			}
			*lastID = p.LastID
		case "", "message":
			var ev Event
			if err := json.Unmarshal(m.data, &ev); err != nil {
				return fmt.Errorf("event stream: %w", err)
			}
			if err := fn(ev); err != nil {
				return &stopped{err}
			}
			*lastID = ev.ID
		}
		return nil
	})
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return connected, err
}

// message is one of a stream of server-sent events.
type message struct {
	event string
	data  []byte
}

// readStream parses server-sent events (HTML standard, 9.2.6) until r ends.
func readStream(r io.Reader, fn func(message) error) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 4096), maxStreamLine)
	m := message{}
	some := false
	for sc.Scan() {
		line := bytes.TrimSuffix(sc.Bytes(), []byte("\r"))
		if len(line) == 0 {
			if some {
				if err := fn(m); err != nil {
					return err
				}
			}
			m, some = message{}, false
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "event":
			m.event = string(value)
		case "data":
			if some {
				m.data = append(m.data, '\n')
			}
			if len(m.data)+len(value) > maxStreamLine {
				return bufio.ErrTooLong
			}
			m.data = append(m.data, value...)
			some = true
		}
	}
	return sc.Err()
}

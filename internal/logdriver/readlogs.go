package logdriver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"github.com/docker/docker/daemon/logger"

	"logscan/internal/entry"
	"logscan/internal/journal"
	"logscan/internal/supervisor"
)

const (
	// writeSize is about how many bytes are sent at once.
	writeSize = 192 << 10
	// bigAnswer is how many bytes at once make buffers that aren't kept while
	// there is nothing to send.
	bigAnswer = 32 << 10
	// wholeMax is how long the entries of an answer may be that is sent in one
	// step, with its header.
	wholeMax = supervisor.AtOnce - 1<<10
	// keepalive is how often a silent follower is sent something that its user
	// doesn't see: only so does the Engine notice that the user has left.
	keepalive = 5 * time.Second
	// keepaliveSource is no stream, so that nobody is shown the entry.
	keepaliveSource = "logscan"
)

// readLogs answers `docker logs`, as json-file would: the tail is taken first,
// then all before the first entry not older than since is left out, and the first
// after until ends it.
func (d *Driver) readLogs(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	var req readRequest
	if err := decode(w, r, &req); err != nil {
		http.Error(w, "logscan: "+err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case d.readers <- struct{}{}:
		defer func() { <-d.readers }()
	default:
		http.Error(w, fmt.Sprintf("logscan: %d `docker logs` are being answered, and there can't be more; end some and try again", cap(d.readers)), http.StatusServiceUnavailable)
		return
	}
	d.cfg.Ingest.Flush(ctx, req.Info.ContainerID) // what was written before the question belongs to the answer
	j, err := d.cfg.Journals.Acquire(req.Info.ContainerID)
	if errors.Is(err, journal.ErrNotFound) {
		return
	}
	if err != nil {
		d.log.Error("docker logs", "container", req.Info.ContainerID, "err", err)
		http.Error(w, "logscan: "+err.Error(), http.StatusInternalServerError)
		return
	}
	defer j.Release()
	if !req.Config.Follow { // which the Engine asks for of a container that runs alone
		j.Asked()
	}
	s := &server{
		j: j, w: w, flush: http.NewResponseController(w).Flush, whole: func(b []byte) error { return answerWhole(w, b) }, keepalive: d.keepalive,
		since: nano(req.Config.Since), until: nano(req.Config.Until), left: math.MaxInt64,
	}
	if err := s.serve(ctx, req.Config); err != nil && ctx.Err() == nil {
		d.log.Debug("docker logs ended early", "container", req.Info.ContainerID, "err", err)
	}
}

// answerWhole answers with b, in one Write, which net/http wouldn't. So there is
// no instant at which a part of the answer is sent, and the call can't be
// repeated any more.
func answerWhole(w http.ResponseWriter, b []byte) error {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	defer conn.Close()
	var out bytes.Buffer
	answer := http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(b)), Body: io.NopCloser(bytes.NewReader(b)), Close: true}
	if err := answer.Write(&out); err != nil {
		return err
	}
	_, err = conn.Write(out.Bytes())
	return err
}

// nano returns a time in the entries' unit; 0 where it isn't set.
func nano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// server sends one answer.
type server struct {
	j            *journal.Journal
	w            io.Writer
	flush        func() error
	whole        func([]byte) error // sends an answer that nothing was sent of
	keepalive    time.Duration
	since, until int64 // 0 = not set; since also once it was found
	left         int64 // frames that still belong to the answer
	out          []byte
	done         bool // the entry that ends it was seen
	begun        bool // a part of the answer was sent
}

func (s *server) serve(ctx context.Context, cfg logger.ReadConfig) error {
	start := s.j.State()
	follow := cfg.Follow && start.Attached > 0
	from, end := start.First, start.End
	var err error
	switch {
	case cfg.Tail >= 0:
		if from, err = s.j.SeekTail(int64(cfg.Tail)); err != nil {
			return err
		}
		// What was written until then has shifted the tail. What is written from
		// then on doesn't belong to it.
		end = s.j.State().End
		if !follow {
			s.left = int64(cfg.Tail)
		}
	case s.since != 0:
		if from, err = s.j.SeekTime(s.since); err != nil {
			return err
		}
	}
	r := s.j.NewReader(from)
	defer func() { r.Close() }()
	if !follow {
		return s.copyAll(ctx, r, end)
	}
	if err := s.flush(); err != nil { // its user waits for the beginning
		return err
	}
	beat := time.NewTicker(s.keepalive)
	defer beat.Stop()
	for {
		changed := s.j.Changed()
		st := s.j.State()
		end = st.End
		if st.Ends != start.Ends {
			end = st.LastEnd
		}
		before := r.Offset()
		if err := s.copy(ctx, r, end); err != nil || s.done || st.Ends != start.Ends {
			return err
		}
		if r.Offset() != before {
			beat.Reset(s.keepalive)
		}
		if r.Offset()-before >= bigAnswer { // many followers wait, and none needs its buffers for that
			off := r.Offset()
			r.Close()
			r, s.out = s.j.NewReader(off), nil
		}
		r.Release()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case now := <-beat.C:
			t := max(now.UnixNano(), nano(cfg.Since)) // within what the Engine lets through
			if s.until != 0 {
				t = min(t, s.until)
			}
			s.out = entry.Append(s.out[:0], &entry.Entry{Source: keepaliveSource, TimeNano: t})
			if err := s.sendNow(); err != nil {
				return err
			}
		}
	}
}

// copyAll sends what the reader has up to the offset end, which is all of the
// answer.
func (s *server) copyAll(ctx context.Context, r *journal.Reader, end int64) error {
	err := s.gather(ctx, r, end)
	switch {
	case ctx.Err() != nil:
		return err
	case !s.begun && len(s.out) <= wholeMax:
		return errors.Join(err, s.whole(s.out))
	}
	return errors.Join(err, s.sendNow())
}

// copy sends what the reader has up to the offset end.
func (s *server) copy(ctx context.Context, r *journal.Reader, end int64) error {
	if err := s.gather(ctx, r, end); err != nil {
		return err
	}
	return s.sendNow()
}

// gather adds what the reader has up to the offset end, and sends of it what is
// much.
func (s *server) gather(ctx context.Context, r *journal.Reader, end int64) error {
	for !s.done && r.Offset() < end {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		block, off, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if off >= end { // retention has removed all up to there
			r.SetOffset(end)
			break
		}
		for off < end && len(block) > 0 && !s.done {
			rest, err := s.add(block, end-off)
			if err != nil {
				return err
			}
			off += int64(len(block) - len(rest))
			block = rest
		}
		if len(s.out) >= writeSize {
			if err := s.send(); err != nil {
				return err
			}
		}
		r.SetOffset(off) // the block may have reached beyond end
	}
	return nil
}

// add puts the frames that block begins with into the answer, those of them that
// are wanted, and returns what follows them: all up to within, which is where the
// answer ends, or one frame.
func (s *server) add(block []byte, within int64) (rest []byte, err error) {
	if s.left == 0 {
		s.done = true
		return block, nil
	}
	if s.since == 0 && s.until == 0 {
		var n int64
		part := block[:min(int64(len(block)), within)]
		if s.out, rest, n = entry.AppendAllServed(s.out, part, s.left); n > 0 {
			s.left -= n
			return block[len(part)-len(rest):], nil
		}
	}
	frame, rest, err := entry.Next(block)
	if err != nil {
		return block, err
	}
	s.left-- // the tail is taken first, so that those left out count too
	if s.since != 0 || s.until != 0 {
		t, err := entry.Time(frame[entry.HeaderLen:])
		if err != nil || t < s.since && s.since != 0 {
			return rest, nil
		}
		if s.until != 0 && t > s.until {
			s.done = true
			return rest, nil
		}
		s.since = 0 // found; clocks may step back, and what follows belongs to the answer
	}
	s.out, _ = entry.AppendServed(s.out, frame)
	return rest, nil
}

// sendNow sends what was added, and has it arrive whatever follows.
func (s *server) sendNow() error {
	if err := s.send(); err != nil {
		return err
	}
	return s.flush()
}

// send sends what was added. The end of it may wait for what is sent next, which
// spares a write.
func (s *server) send() error {
	if len(s.out) == 0 {
		return nil
	}
	s.begun = true
	_, err := s.w.Write(s.out)
	s.out = s.out[:0]
	return err
}

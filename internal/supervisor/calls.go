package supervisor

import (
	"cmp"
	"encoding/binary"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// heldMax bounds the calls that wait for their answer to begin; more of them
	// wait in the socket's backlog.
	heldMax = 16 << 10
	// filesSpare is how many descriptors are left for other things than calls.
	filesSpare = 100
	// endedMax is how many workers may end of themselves while they have a call,
	// which has then been handed on twice. Then it is hung up on: it may be what
	// ends them.
	endedMax = 3
	// hadMax is the same for workers that may end for any reason, such as somebody
	// who kills them.
	hadMax = 100
	// roomAgain is how soon it is looked again whether there is room for one more
	// descriptor.
	roomAgain = 50 * time.Millisecond
)

// What a worker says of a call: its id, 8 bytes, and one of these.
const (
	saysHas   = 'h' // it has it
	saysAgain = 'a' // it had no room for it: once more
	saysTaken = 't' // the answer has begun
	saidLen   = 9
)

// calls accepts the connections to one socket and hands each to the worker,
// which gets an id, and as descriptors the connection and a file (a memfd) in
// which it keeps what it has read from it. The same stay open here until the
// worker says that the answer has begun, so that those whose worker has ended are
// handed to the next. Nothing is read from or written to either here.
type calls struct {
	log  *slog.Logger
	most int

	mu      sync.Mutex // guards all below
	changed *sync.Cond
	last    uint64
	held    map[uint64]*call
	queue   []*call // of those, the ones to hand out next
	to      *net.UnixConn
}

type call struct {
	id         uint64
	conn, file int
	has        bool // the worker does
	had, ended int  // workers that ended while they had it; of those, of themselves
}

func newCalls(log *slog.Logger) *calls {
	c := &calls{log: log, most: heldMax, held: map[uint64]*call{}}
	c.changed = sync.NewCond(&c.mu)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		c.most = int(min(heldMax, max(limit.Cur, 2*filesSpare)-filesSpare) / 2)
	}
	return c
}

// accept takes what comes to a listening socket until that is closed.
func (c *calls) accept(l *os.File) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	for {
		c.mu.Lock()
		for len(c.held) >= c.most {
			c.changed.Wait()
		}
		c.mu.Unlock()
		var conn int
		var acceptErr error
		// Not by a net.Listener, which would have each connection watched.
		err := raw.Read(func(fd uintptr) bool {
			conn, _, acceptErr = unix.Accept4(int(fd), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			return acceptErr != unix.EAGAIN
		})
		if err != nil {
			return err
		}
		if acceptErr != nil {
			if acceptErr != unix.EINTR && acceptErr != unix.ECONNABORTED {
				c.log.Warn("calls wait", "err", acceptErr)
				time.Sleep(roomAgain)
			}
			continue
		}
		file, err := memfd()
		for ; err != nil; file, err = memfd() {
			c.log.Warn("a call waits", "err", err)
			time.Sleep(roomAgain)
		}
		c.mu.Lock()
		c.last++
		call := &call{id: c.last, conn: conn, file: file}
		c.held[call.id] = call
		c.queue = append(c.queue, call)
		c.changed.Broadcast()
		c.mu.Unlock()
	}
}

// memfd makes a file in memory.
func memfd() (int, error) {
	fd, err := unix.MemfdCreate("call", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate("call", unix.MFD_CLOEXEC)
	}
	return fd, err
}

// serve hands calls to the worker at the other end of conn until that has
// closed it. What it had then, and all that it didn't get to, is for the next.
func (c *calls) serve(conn *net.UnixConn) {
	c.mu.Lock()
	c.to = conn
	c.mu.Unlock()
	var giving sync.WaitGroup
	giving.Go(func() { c.give(conn) })
	c.listen(conn)
	c.mu.Lock()
	c.to = nil
	c.changed.Broadcast()
	c.mu.Unlock()
	conn.Close() // ends a write that waits
	giving.Wait()

	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = slices.Collect(maps.Values(c.held))
	slices.SortFunc(c.queue, func(a, b *call) int { return cmp.Compare(a.id, b.id) })
}

// ended gives up what may have ended the worker, after serve: of itself, or not.
func (c *calls) ended(ofItself bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, call := range c.held {
		if !call.has {
			continue
		}
		call.has = false
		call.had++
		if ofItself {
			call.ended++
		}
		if call.had >= hadMax || call.ended >= endedMax {
			c.log.Error("a call is given up: every worker that had it has ended", "workers", call.had)
			c.dropLocked(call) // give passes over it
		}
	}
}

// give hands out calls, the oldest first.
func (c *calls) give(conn *net.UnixConn) {
	for {
		c.mu.Lock()
		for len(c.queue) == 0 && c.to == conn {
			c.changed.Wait()
		}
		if c.to != conn {
			c.mu.Unlock()
			return
		}
		call := c.queue[0]
		c.queue = c.queue[1:]
		there := c.held[call.id] == call
		c.mu.Unlock()
		if !there {
			continue
		}
		id := binary.BigEndian.AppendUint64(nil, call.id)
		for {
			_, _, err := conn.WriteMsgUnix(id, unix.UnixRights(call.conn, call.file), nil)
			if err == nil {
				break
			}
			c.mu.Lock()
			ended := c.to != conn
			c.mu.Unlock()
			if ended {
				return // serve looks after the call
			}
			// It has just ended, or the kernel has no room.
			time.Sleep(roomAgain)
		}
	}
}

// listen hears what the worker says, until it has ended.
func (c *calls) listen(conn *net.UnixConn) {
	var said [saidLen]byte
	for {
		n, err := conn.Read(said[:])
		if err != nil {
			return
		}
		c.mu.Lock()
		if call := c.held[binary.BigEndian.Uint64(said[:])]; n == saidLen && call != nil {
			switch said[saidLen-1] {
			case saysHas:
				call.has = true
			case saysAgain:
				c.queue = append(c.queue, call)
			case saysTaken:
				c.dropLocked(call)
			}
			c.changed.Broadcast()
		}
		c.mu.Unlock()
	}
}

// dropLocked closes a call here. Where its worker has it open, it goes on.
func (c *calls) dropLocked(call *call) {
	unix.Close(call.conn)
	unix.Close(call.file)
	delete(c.held, call.id)
}

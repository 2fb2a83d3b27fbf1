package supervisor

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

const (
	// statusEnv carries the Status to a worker, and tells it that it is one.
	statusEnv = "LOGSCAN_WORKER"
	// exitsMax is how many ends a Status remembers.
	exitsMax = 5
	// What a worker inherits after its standard files: its end of the calls, and
	// from there on the sockets and other files.
	callsFile = 3
	firstFile = 4
)

// Status is what a worker is told about those before it.
type Status struct {
	Restarts int    `json:"restarts"` // workers that ended since the plugin's start
	InARow   int    `json:"in_a_row"` // of those, the latest ones that ended soon after their start
	Exits    []Exit `json:"exits"`    // the last few, the latest last
	Files    int    `json:"files"`    // from firstFile on
}

// Exit is the end of a worker.
type Exit struct {
	At    time.Time     `json:"at"`
	After time.Duration `json:"after"` // it had run that long
	Why   string        `json:"why"`   // its exit status or the signal
}

// Last describes the latest exit; empty if there was none.
func (s Status) Last() Exit {
	if len(s.Exits) == 0 {
		return Exit{}
	}
	return s.Exits[len(s.Exits)-1]
}

func (s *Status) ended(start time.Time, after time.Duration, why string) {
	s.Restarts++
	if after >= shortLife {
		s.InARow = 0
	}
	s.InARow++
	s.Exits = append(s.Exits, Exit{At: start.Add(after), After: after, Why: why})
	s.Exits = s.Exits[max(0, len(s.Exits)-exitsMax):]
}

// IsWorker tells whether a supervisor started this process.
func IsWorker() bool { return os.Getenv(statusEnv) != "" }

// Inherit returns, in a worker, what to accept connections from: the calls that
// the supervisor hands out first, then its n sockets. And it returns its other
// files and what became of the workers before. It is called once.
func Inherit(n int) ([]net.Listener, []*os.File, Status, error) {
	var st Status
	if err := json.Unmarshal([]byte(os.Getenv(statusEnv)), &st); err != nil {
		return nil, nil, st, fmt.Errorf("%s: %w", statusEnv, err)
	}
	os.Unsetenv(statusEnv)
	if err := noCore(); err != nil {
		return nil, nil, st, err
	}
	calls, err := inheritCalls()
	if err != nil {
		return nil, nil, st, err
	}
	ls := []net.Listener{calls}
	for fd := firstFile; fd < firstFile+n; fd++ {
		f := os.NewFile(uintptr(fd), "socket")
		l, err := net.FileListener(f) // a duplicate
		f.Close()
		if err != nil {
			return nil, nil, st, fmt.Errorf("inherited socket %d: %w", fd, err)
		}
		ls = append(ls, l)
	}
	var files []*os.File
	for fd := firstFile + n; fd < firstFile+st.Files; fd++ {
		syscall.CloseOnExec(fd)
		files = append(files, os.NewFile(uintptr(fd), "inherited"))
	}
	return ls, files, st, nil
}

func inheritCalls() (*handed, error) {
	f := os.NewFile(callsFile, "calls")
	conn, err := net.FileConn(f) // a duplicate
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("inherited calls: %w", err)
	}
	return &handed{from: conn.(*net.UnixConn)}, nil
}

package supervisor

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// statusEnv carries the Status to a worker, and tells it that it is one.
	statusEnv = "LOGSCAN_WORKER"
	// exitsMax is how many ends a Status remembers.
	exitsMax = 5
	// What a worker inherits after its standard files: its end of the calls, what
	// it gives signs of life with, and from there on the sockets and other files.
	callsFile = 3
	signsFile = 4
	firstFile = 5
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

// Inherited is what a worker has from its supervisor.
type Inherited struct {
	Calls   net.Listener   // accepts the calls that the supervisor hands out
	Sockets []net.Listener // the others
	Files   []*os.File
	Status  Status // what became of the workers before
	signs   *os.File
}

// Alive tells the supervisor that this worker does what it is there for. Once it
// has been called, the worker is killed if it isn't called again (Config.Hung).
func (in *Inherited) Alive() {
	unix.Write(int(in.signs.Fd()), []byte{1, 0, 0, 0, 0, 0, 0, 0}) // full: it wasn't looked at
}

// Inherit returns, in a worker, what it has from its supervisor, n sockets among
// it. It is called once.
func Inherit(n int) (*Inherited, error) {
	in := &Inherited{}
	if err := json.Unmarshal([]byte(os.Getenv(statusEnv)), &in.Status); err != nil {
		return nil, fmt.Errorf("%s: %w", statusEnv, err)
	}
	os.Unsetenv(statusEnv)
	if err := noCore(); err != nil {
		return nil, err
	}
	calls, err := inheritCalls()
	if err != nil {
		return nil, err
	}
	in.Calls = calls
	syscall.CloseOnExec(signsFile)
	in.signs = os.NewFile(signsFile, "signs of life")
	for fd := firstFile; fd < firstFile+n; fd++ {
		f := os.NewFile(uintptr(fd), "socket")
		l, err := net.FileListener(f) // a duplicate
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("inherited socket %d: %w", fd, err)
		}
		in.Sockets = append(in.Sockets, l)
	}
	for fd := firstFile + n; fd < firstFile+in.Status.Files; fd++ {
		syscall.CloseOnExec(fd)
		in.Files = append(in.Files, os.NewFile(uintptr(fd), "inherited"))
	}
	return in, nil
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

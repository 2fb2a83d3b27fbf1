package app

import (
	"cmp"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"

	"logscan/internal/api"
	"logscan/internal/egress"
	"logscan/internal/query"
	"logscan/internal/redact"
	"logscan/internal/rule"
)

// Config is everything that can be set from outside. Each field but the
// directories is a setting of the plugin (`docker plugin set`), documented in
// config.json; the defaults live here because an upgraded plugin starts
// without the settings that its new version brought.
type Config struct {
	FIFODir   string // where dockerd puts the containers' FIFOs
	DataDir   string // journal, attachment records, database
	SocketDir string // where the Engine and the CLI look for our sockets

	ConfigDir    string // files that declare rules, triggers and silences, where such are mounted
	EngineSocket string // the Engine's own, where it is mounted: to learn of removed containers

	LogLevel     slog.Level
	DiskBudget   int64            // bytes for all journals and the database together; 0 = none
	StoppedAge   time.Duration    // logs of a container that stopped longer ago are removed; 0 = never
	HoldMax      int64            // bytes kept beyond max-file for lines not yet scanned
	BucketBurst  int              // hits a container may have at once
	BucketRefill time.Duration    // one more hit after each of these
	EventsMax    int              // events kept
	EventsAge    time.Duration    // events kept for
	Queries      int              // of kept logs, at once
	Redact       *redact.Redactor // what is told of lines; nil: nothing is redacted
	Targets      egress.Targets
	Listen       string // HOST:PORT of the API over TCP; "" = none
	Token        string // opens it; "" = the generated one
	URL          string // at which people reach Listen from where they read messages; "" = they don't
	// TrustedProxies are believed about whom they speak for.
	TrustedProxies api.Proxies

	Version   string
	Inherited *Inherited // from the supervisor; nil: there is none, and Run listens itself
	Problems  []error    // settings that could not be used, and what is used instead
}

// engineSocket is where config.json mounts the Engine's socket, or /dev/null.
const engineSocket = "/run/docker.sock"

// configMount is where config.json mounts files that declare rules, triggers and
// silences, or what is none of that.
const configMount = "/etc/logscan"

// ConfigFromEnv reads the settings. It cannot fail: a plugin that refused to
// start over a setting would block every container that logs to it, so a bad
// one is reported in Problems and replaced by its default.
func ConfigFromEnv(getenv func(string) string) Config {
	r := settings{getenv: getenv}
	fifoDir := r.str("LOGSCAN_FIFO_DIR", "/run/docker/logging")
	c := Config{
		FIFODir:      fifoDir,
		DataDir:      r.str("LOGSCAN_DATA_DIR", fifoDir+"/.logscan"),
		SocketDir:    r.str("LOGSCAN_SOCKET_DIR", "/run/docker/plugins"),
		EngineSocket: engineSocket,
		ConfigDir:    configMount,
		DiskBudget:   r.size("LOGSCAN_DISK_BUDGET", "0"),
		StoppedAge:   r.duration("LOGSCAN_STOPPED_AGE", "720h"),
		HoldMax:      r.size("LOGSCAN_HOLD_MAX", "256m"),
		BucketBurst:  r.number("LOGSCAN_BUCKET_BURST", "30"),
		BucketRefill: r.duration("LOGSCAN_BUCKET_REFILL", "2s"),
		EventsMax:    r.number("LOGSCAN_EVENTS_MAX", "100000"),
		EventsAge:    r.duration("LOGSCAN_EVENTS_AGE", "2160h"),
		Queries:      r.numberUpTo(query.Setting, strconv.Itoa(query.DefaultQueries), query.MaxQueries),
		Redact:       r.redactor("LOGSCAN_REDACT", "LOGSCAN_REDACT_PATTERNS"),
		Targets:      r.targets("LOGSCAN_ALLOW_TARGETS", "LOGSCAN_REFUSE_TARGETS"),
		Listen:       r.address("LOGSCAN_LISTEN"),
		Token:        r.token("LOGSCAN_TOKEN"),
		URL:          r.url("LOGSCAN_URL"),
		LogLevel:     r.level("LOGSCAN_LOG_LEVEL"),

		TrustedProxies: r.networks("LOGSCAN_TRUSTED_PROXIES"),
	}
	c.Problems = r.problems
	return c
}

type settings struct {
	getenv   func(string) string
	problems []error
}

func (s *settings) str(name, fallback string) string {
	if v := strings.TrimSpace(s.getenv(name)); v != "" {
		return v
	}
	return fallback
}

// parse reads one setting with conv, falling back to its default where the
// value is bad.
func parse[T any](s *settings, name, fallback, want string, conv func(string) (T, error)) T {
	v, err := conv(s.str(name, fallback))
	if err != nil {
		s.problems = append(s.problems, fmt.Errorf("setting %s=%q is not %s; using %s", name, s.getenv(name), want, cmp.Or(fallback, "none")))
		v, _ = conv(fallback)
	}
	return v
}

// url reads where this is reached, without a slash at the end.
func (s *settings) url(name string) string {
	return parse(s, name, "", "a URL such as https://logs.example.com", func(v string) (string, error) {
		if v == "" {
			return "", nil
		}
		u, err := url.Parse(v)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return "", strconv.ErrSyntax
		}
		return strings.TrimSuffix(u.String(), "/"), nil
	})
}

func (s *settings) size(name, fallback string) int64 {
	return parse(s, name, fallback, "a size such as 10g", func(v string) (int64, error) {
		n, err := units.RAMInBytes(v)
		if err == nil && n < 0 {
			err = strconv.ErrRange
		}
		return n, err
	})
}

func (s *settings) duration(name, fallback string) time.Duration {
	return parse(s, name, fallback, "a duration such as 720h (0 = never)", func(v string) (time.Duration, error) {
		d, err := time.ParseDuration(v)
		if err == nil && d < 0 {
			err = strconv.ErrRange
		}
		return d, err
	})
}

func (s *settings) number(name, fallback string) int {
	return s.wholeNumber(name, fallback, "a whole number above 0", math.MaxInt)
}

func (s *settings) numberUpTo(name, fallback string, most int) int {
	return s.wholeNumber(name, fallback, fmt.Sprintf("a whole number from 1 to %d", most), most)
}

func (s *settings) wholeNumber(name, fallback, want string, most int) int {
	return parse(s, name, fallback, want, func(v string) (int, error) {
		n, err := strconv.Atoi(v)
		if err == nil && (n <= 0 || n > most) {
			err = strconv.ErrRange
		}
		return n, err
	})
}

func (s *settings) level(name string) slog.Level {
	return parse(s, name, "info", "one of debug, info, warn, error", func(v string) (l slog.Level, err error) {
		err = l.UnmarshalText([]byte(v))
		return l, err
	})
}

// redactor reads whether secrets are redacted, and which further ones.
func (s *settings) redactor(whether, further string) *redact.Redactor {
	on := parse(s, whether, "on", "on or off", func(v string) (bool, error) {
		if v != "on" && v != "off" {
			return false, strconv.ErrSyntax
		}
		return v == "on", nil
	})
	r := parse(s, further, "", fmt.Sprintf("a regular expression (RE2) of at most %d bytes", rule.MaxPattern), func(v string) (*redact.Redactor, error) {
		if v != "" {
			if err := rule.CheckPattern(v); err != nil {
				return nil, err
			}
		}
		return redact.New(v)
	})
	if !on {
		return nil
	}
	return r
}

func (s *settings) address(name string) string {
	return parse(s, name, "", "HOST:PORT such as 127.0.0.1:8414", func(v string) (string, error) {
		if v == "" {
			return "", nil
		}
		host, port, err := net.SplitHostPort(v)
		if err != nil || strings.ContainsAny(host, "/ \t") {
			return "", strconv.ErrSyntax
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", strconv.ErrRange
		}
		return v, nil
	})
}

// minToken is how long a token of one's own has to be: it may be guessed at
// from the network.
const minToken = 16

// token never repeats what was set.
func (s *settings) token(name string) string {
	v := s.str(name, "")
	switch {
	case v == "":
	case len(v) < minToken:
		s.problems = append(s.problems, fmt.Errorf("setting %s is shorter than %d characters; using the generated token", name, minToken))
		return ""
	case strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }):
		s.problems = append(s.problems, fmt.Errorf("setting %s has characters other than visible ASCII; using the generated token", name))
		return ""
	}
	return v
}

func (s *settings) list(name string) []string {
	var out []string
	for _, v := range strings.Split(s.getenv(name), ",") {
		if v = strings.TrimSpace(v); v != "" {
			out = append(out, v)
		}
	}
	return out
}

// ownTargets stands among refused targets for the host's own addresses.
const ownTargets = "own"

func (s *settings) targets(allow, refuse string) (t egress.Targets) {
	t.Allow = s.list(allow)
	for _, a := range t.Allow {
		if _, err := netip.ParsePrefix(a); strings.Contains(a, "/") && err != nil {
			s.problems = append(s.problems, fmt.Errorf("setting %s: %q is neither a host nor a CIDR such as 127.0.0.0/8; leaving it out", allow, a))
		}
	}
	t.Refuse = s.networks(refuse, ownTargets)
	t.RefuseOwn = slices.Contains(s.list(refuse), ownTargets)
	return t
}

// networks reads CIDRs, and addresses as networks of one. Words that mean
// something else are passed over.
func (s *settings) networks(name string, words ...string) (out []netip.Prefix) {
	for _, v := range s.list(name) {
		if slices.Contains(words, v) {
			continue
		}
		p, err := netip.ParsePrefix(v)
		if err != nil {
			var ip netip.Addr
			if ip, err = netip.ParseAddr(v); err == nil {
				p, err = ip.Prefix(ip.BitLen())
			}
		}
		if err != nil {
			s.problems = append(s.problems, fmt.Errorf("setting %s: %q is neither an address nor a CIDR such as 10.0.0.0/8; leaving it out", name, v))
			continue
		}
		out = append(out, p.Masked())
	}
	return out
}

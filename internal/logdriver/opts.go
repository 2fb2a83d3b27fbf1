package logdriver

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/docker/docker/daemon/logger"
	"github.com/docker/go-units"

	"logscan/internal/journal"
	"logscan/internal/labels"
	"logscan/internal/nearest"
	"logscan/internal/rule"
)

const (
	// maxFileMax bounds max-file: each file takes an inode, and a place in memory.
	maxFileMax = 10_000
	// regexMax bounds a regular expression, in bytes.
	regexMax = 4096
)

// Option is a log-opt that we know.
type Option struct {
	Name    string
	Want    string // what it may be
	Default string // what it is where it isn't said; "" = nothing
	Meaning string // for those who set it
}

// Options are the log-opts. The last ones are the Engine's own, which it hands on to
// us as well.
var Options = []Option{
	{"max-size", "a size such as 20m, or -1 for no limit", "20971520", "size at which a segment of the log is rotated; 20m is 20,000,000 bytes. Segments have at least 64 KiB and at most 1 GiB, whatever is said"},
	{"max-file", fmt.Sprintf("a whole number above 0 and at most %d", maxFileMax), "5", "segments kept, the current one included"},
	{"compress", "true or false", "true", "compress rotated segments (zstd)"},
	{"workload", fmt.Sprintf("a name of at most %d printable characters", rule.MaxWorkload), "", "what the container is a replica of"},
	{"scan", "on or off", "on", "off: keep the log, but check no rules"},
	{"record-start", fmt.Sprintf("a regular expression (RE2) of at most %d bytes", rule.MaxPattern), "", "what the first line of each record matches, in its first 4096 bytes; without it, records are known by their form"},
	{"tag", "a Go template, as in Docker's log tags", "", "kept with the log (container.json)"},
	{"labels", "label names, separated by commas", "", "labels to keep with the log"},
	{"labels-regex", fmt.Sprintf("a regular expression (RE2) of at most %d bytes", regexMax), "", "labels to keep, by their names"},
	{"env", "names of environment variables, separated by commas", "", "environment variables to keep with the log; no others are kept"},
	{"env-regex", fmt.Sprintf("a regular expression (RE2) of at most %d bytes", regexMax), "", "environment variables to keep, by their names"},

	{"mode", "blocking or non-blocking", "blocking", "Docker's own; non-blocking lets Docker drop lines before they reach any driver"},
	{"max-buffer-size", "a size such as 4m", "", "Docker's own, for non-blocking"},
	{"cache-disabled", "true or false", "", "Docker's own; without effect"},
	{"cache-max-size", "a size such as 20m", "", "Docker's own; without effect"},
	{"cache-max-file", "a whole number above 0", "", "Docker's own; without effect"},
	{"cache-compress", "true or false", "", "Docker's own; without effect"},
}

// options says what each may be.
var options = func() map[string]string {
	m := make(map[string]string, len(Options))
	for _, o := range Options {
		m[o.Name] = o.Want
	}
	return m
}()

// optionError says which log-opt is wrong and what would be right.
func optionError(name, value string) error {
	return fmt.Errorf("log-opt %s=%q is not valid: it must be %s", name, cut(value, shownMax), options[name])
}

func unknownOption(name string) error {
	known := slices.Sorted(maps.Keys(options))
	meant, _ := nearest.Name(name, known)
	return fmt.Errorf("unknown log-opt %q for log driver logscan; did you mean %q (%s)? The log-opts are: %s",
		cut(name, shownMax), meant, options[meant], strings.Join(known, ", "))
}

// logOpts are a container's, checked.
type logOpts struct {
	journal.Container
	labels, env *regexp.Regexp // nil: none
}

// ParseLogOpts checks a container's log-opts and returns what is to be kept
// about it. Nothing of its environment is, but what the env and env-regex
// log-opts name.
func ParseLogOpts(info logger.Info) (journal.Container, error) {
	o := logOpts{Container: journal.Container{
		ID:      info.ContainerID,
		Name:    cut(strings.TrimPrefix(info.ContainerName, "/"), nameMax),
		Image:   cut(info.ContainerImageName, nameMax),
		ImageID: cut(info.ContainerImageID, nameMax),
		Scan:    true,
		Options: journal.DefaultOptions,
		Created: info.ContainerCreated.UTC(),
		Started: time.Now().UTC(),
	}}
	for _, name := range slices.Sorted(maps.Keys(info.Config)) {
		if strings.HasPrefix(name, labels.Prefix) {
			continue // as a label of that name: what is wrong of it is told, and keeps nothing from starting
		}
		if options[name] == "" {
			return o.Container, unknownOption(name)
		}
		if !o.set(name, info.Config[name]) {
			return o.Container, optionError(name, info.Config[name])
		}
	}
	if o.Options.MaxFile == 1 || o.Options.MaxSize < 0 {
		if _, asked := info.Config["compress"]; asked && o.Options.Compress {
			return o.Container, fmt.Errorf("log-opt compress=true needs rotated files to compress: set max-file above 1 and max-size other than -1")
		}
		o.Options.Compress = false
	}

	if info.Config["tag"] != "" {
		tag, err := expandTag(info)
		if err != nil {
			return o.Container, fmt.Errorf("%w: %v", optionError("tag", info.Config["tag"]), err)
		}
		o.Tag = tag
	}
	o.Attrs = bound(o.attributes(info), attrMax, attrsMax)
	o.Labels = bound(told(info.ContainerLabels), labelMax, labelsMax)
	o.Declared, o.LeftOut = labels.Own(info.ContainerLabels, info.Config)
	if o.Workload == "" {
		o.Workload = workload(labels.Workload(o.Declared), info.ContainerLabels, o.Name, o.ID)
	}
	if on, ok := labels.Enabled(o.Declared); ok && info.Config["scan"] == "" {
		o.Scan = on
	}
	return o.Container, nil
}

// set applies one log-opt; false if its value is none that it may have.
func (o *logOpts) set(name, value string) bool {
	var err error
	switch name {
	case "max-size":
		if value == "-1" {
			o.Options.MaxSize = -1
			return true
		}
		o.Options.MaxSize, err = units.FromHumanSize(value) // as local and json-file do: 1k is 1000
		return err == nil && o.Options.MaxSize > 0 && o.Options.MaxSize < math.MaxInt64/4
	case "max-file":
		o.Options.MaxFile, err = strconv.Atoi(value)
		return err == nil && o.Options.MaxFile > 0 && o.Options.MaxFile <= maxFileMax
	case "compress":
		o.Options.Compress, err = strconv.ParseBool(value)
		return err == nil
	case "labels-regex":
		return parseRegex(&o.labels, value)
	case "env-regex":
		return parseRegex(&o.env, value)
	case "workload":
		o.Workload = value
		return value != "" && printable(value)
	case "record-start":
		o.RecordStart = value
		return rule.CheckPattern(value) == nil
	case "scan":
		o.Scan = value == "on" || value == "true"
		return o.Scan || value == "off" || value == "false"
	}
	return true
}

// parseRegex compiles a regular expression that isn't too long; one that is
// empty names nothing.
func parseRegex(re **regexp.Regexp, expr string) bool {
	if len(expr) > regexMax {
		return false
	}
	if expr == "" {
		return true
	}
	var err error
	*re, err = regexp.Compile(expr)
	return err == nil
}

// attributes returns the labels and variables that log-opts name, as
// logger.Info.ExtraAttributes does, which compiles regular expressions anew. Of
// a label and a variable of one name it is the variable.
func (o *logOpts) attributes(info logger.Info) map[string]string {
	env := map[string]string{}
	for _, e := range info.ContainerEnv {
		if name, value, ok := strings.Cut(e, "="); ok {
			env[name] = value
		}
	}
	out := map[string]string{}
	take := func(from map[string]string, names string, re *regexp.Regexp) {
		for _, name := range strings.Split(names, ",") {
			if value, ok := from[name]; ok && names != "" {
				out[name] = value
			}
		}
		if re == nil {
			return
		}
		for name, value := range from {
			if re.MatchString(name) {
				out[name] = value
			}
		}
	}
	take(info.ContainerLabels, info.Config["labels"], o.labels)
	take(env, info.Config["env"], o.env)
	return out
}

func printable(s string) bool {
	return len(s) <= rule.MaxWorkload && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) < 0
}

// told is labels without those that declare something: triggers and silences see the
// others, for which there would be no room.
func told(all map[string]string) map[string]string {
	out := maps.Clone(all)
	maps.DeleteFunc(out, func(key, _ string) bool { return labels.Declares(key) })
	return out
}

// workload names what a container is a replica of. What it declares is passed over, as
// other labels are, where it can't be a name: it is not worth keeping a container from
// starting.
func workload(declared string, l map[string]string, name, id string) string {
	candidates := []string{declared, l["com.docker.swarm.service.name"]}
	if p, s := l["com.docker.compose.project"], l["com.docker.compose.service"]; p != "" && s != "" {
		candidates = append(candidates, p+"/"+s)
	}
	for _, w := range candidates {
		if w != "" && printable(w) {
			return w
		}
	}
	if !printable(name) { // no Engine gives such a name
		return cut(id, 12)
	}
	return name
}

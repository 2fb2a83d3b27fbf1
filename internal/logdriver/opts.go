package logdriver

import (
	"fmt"
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
)

// options are the log-opts we know, with what each may be. The last ones are
// the Engine's own, which it hands on to us as well.
var options = map[string]string{
	"max-size":     "a size such as 20m, or -1 for no limit",
	"max-file":     "a whole number above 0",
	"compress":     "true or false",
	"tag":          "a Go template, as in Docker's log tags",
	"labels":       "label names, separated by commas",
	"labels-regex": "a regular expression (RE2)",
	"env":          "names of environment variables, separated by commas",
	"env-regex":    "a regular expression (RE2)",
	"workload":     "a name of at most 128 printable characters",
	"scan":         "on or off",

	"mode":            "blocking or non-blocking",
	"max-buffer-size": "a size such as 4m",
	"cache-disabled":  "true or false",
	"cache-max-size":  "a size such as 20m",
	"cache-max-file":  "a whole number above 0",
	"cache-compress":  "true or false",
}

// optionError says which log-opt is wrong and what would be right.
func optionError(name, value string) error {
	return fmt.Errorf("log-opt %s=%q is not valid: it must be %s", name, cut(value, shownMax), options[name])
}

func unknownOption(name string) error {
	known := make([]string, 0, len(options))
	for o := range options {
		known = append(known, o)
	}
	slices.Sort(known)
	nearest := slices.MinFunc(known, func(a, b string) int { return distance(name, a) - distance(name, b) })
	return fmt.Errorf("unknown log-opt %q for log driver logscan; did you mean %q (%s)? The log-opts are: %s",
		cut(name, shownMax), nearest, options[nearest], strings.Join(known, ", "))
}

// distance is Levenshtein's: the edits between two short names.
func distance(a, b string) int {
	if len(a) > 64 {
		a = a[:64]
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// ParseLogOpts checks a container's log-opts and returns what is to be kept
// about it. Nothing of its environment is, but what the env and env-regex
// log-opts name.
func ParseLogOpts(info logger.Info) (journal.Container, error) {
	c := journal.Container{
		ID:      info.ContainerID,
		Name:    cut(strings.TrimPrefix(info.ContainerName, "/"), nameMax),
		Image:   cut(info.ContainerImageName, nameMax),
		ImageID: cut(info.ContainerImageID, nameMax),
		Scan:    true,
		Options: journal.DefaultOptions,
		Created: info.ContainerCreated.UTC(),
		Started: time.Now().UTC(),
	}
	names := make([]string, 0, len(info.Config))
	for name := range info.Config {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if options[name] == "" {
			return c, unknownOption(name)
		}
		if !setOption(&c, name, info.Config[name]) {
			return c, optionError(name, info.Config[name])
		}
	}
	if c.Options.MaxFile == 1 || c.Options.MaxSize < 0 {
		if _, asked := info.Config["compress"]; asked && c.Options.Compress {
			return c, fmt.Errorf("log-opt compress=true needs rotated files to compress: set max-file above 1 and max-size other than -1")
		}
		c.Options.Compress = false
	}

	if info.Config["tag"] != "" {
		tag, err := expandTag(info)
		if err != nil {
			return c, fmt.Errorf("%w: %v", optionError("tag", info.Config["tag"]), err)
		}
		c.Tag = tag
	}
	attrs, err := info.ExtraAttributes(nil)
	if err != nil {
		return c, err
	}
	c.Attrs = boundAttrs(attrs)
	if c.Workload == "" {
		c.Workload = workload(info, c.Name)
	}
	return c, nil
}

// setOption applies one log-opt; false if its value is none that it may have.
func setOption(c *journal.Container, name, value string) bool {
	var err error
	switch name {
	case "max-size":
		if value == "-1" {
			c.Options.MaxSize = -1
			return true
		}
		c.Options.MaxSize, err = units.FromHumanSize(value) // as local and json-file do: 1k is 1000
		return err == nil && c.Options.MaxSize > 0 && c.Options.MaxSize < math.MaxInt64/4
	case "max-file":
		c.Options.MaxFile, err = strconv.Atoi(value)
		return err == nil && c.Options.MaxFile > 0
	case "compress":
		c.Options.Compress, err = strconv.ParseBool(value)
		return err == nil
	case "labels-regex", "env-regex":
		_, err = regexp.Compile(value)
		return err == nil && len(value) <= 4096
	case "workload":
		c.Workload = value
		return value != "" && printable(value)
	case "scan":
		c.Scan = value == "on" || value == "true"
		return c.Scan || value == "off" || value == "false"
	}
	return true
}

const workloadMax = 128

func printable(s string) bool {
	return len(s) <= workloadMax && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) < 0
}

// workload names what a container is a replica of. A label that can't be a name
// is passed over: it is not worth keeping a container from starting.
func workload(info logger.Info, name string) string {
	l := info.ContainerLabels
	candidates := []string{l["logscan.workload"], l["com.docker.swarm.service.name"]}
	if p, s := l["com.docker.compose.project"], l["com.docker.compose.service"]; p != "" && s != "" {
		candidates = append(candidates, p+"/"+s)
	}
	for _, w := range candidates {
		if w != "" && printable(w) {
			return w
		}
	}
	if !printable(name) { // no Engine gives such a name
		return cut(info.ContainerID, 12)
	}
	return name
}

package where

import (
	"bytes"
	"strings"
)

// level says how bad a line is. The zero level is none.
type level uint8

const (
	noLevel level = iota
	levelTrace
	levelDebug
	levelInfo
	levelWarn
	levelError
	levelFatal
)

// Levels are their names, from the least to the worst.
var Levels = []string{"trace", "debug", "info", "warn", "error", "fatal"}

func (l level) String() string {
	if l == noLevel {
		return ""
	}
	return Levels[l-1]
}

// levelNames are what levels are called, in lower case.
var levelNames = map[string]level{
	"trace": levelTrace, "trc": levelTrace, "trac": levelTrace, "trce": levelTrace, "tracing": levelTrace,
	"finest": levelTrace, "finer": levelTrace, "verbose": levelTrace, "vrb": levelTrace, "silly": levelTrace,
	"debug": levelDebug, "dbg": levelDebug, "dbug": levelDebug, "debu": levelDebug, "fine": levelDebug, "config": levelDebug,
	"debug1": levelDebug, "debug2": levelDebug, "debug3": levelDebug, "debug4": levelDebug, "debug5": levelDebug,
	"info": levelInfo, "inf": levelInfo, "information": levelInfo, "informational": levelInfo,
	"notice": levelInfo, "note": levelInfo, "log": levelInfo, "success": levelInfo,
	"warn": levelWarn, "warning": levelWarn, "wrn": levelWarn, "warnin": levelWarn,
	"error": levelError, "err": levelError, "erro": levelError, "eror": levelError, "severe": levelError, "fail": levelError,
	"fatal": levelFatal, "fata": levelFatal, "ftl": levelFatal, "critical": levelFatal, "crit": levelFatal, "crt": levelFatal,
	"alert": levelFatal, "emerg": levelFatal, "emergency": levelFatal, "panic": levelFatal, "pani": levelFatal, "dpanic": levelFatal,
}

const longestLevel = len("informational")

// levelNamed returns the level of a name in any case.
func levelNamed(name []byte) level {
	var lower [longestLevel]byte
	if len(name) < 3 || len(name) > longestLevel {
		return noLevel
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	return levelNames[string(lower[:len(name)])]
}

// levelLetter returns the level that a letter stands for.
func levelLetter(c byte) level {
	switch c {
	case 'T', 'V':
		return levelTrace
	case 'D':
		return levelDebug
	case 'I', 'N':
		return levelInfo
	case 'W':
		return levelWarn
	case 'E':
		return levelError
	case 'F', 'C', 'A':
		return levelFatal
	}
	return noLevel
}

// syslogLevel returns the level of a syslog severity, from 0 to 7.
func syslogLevel(n int) level {
	return [...]level{levelFatal, levelFatal, levelFatal, levelError, levelWarn, levelInfo, levelInfo, levelDebug}[n&7]
}

// levelKey is a key whose value may be a line's level.
type levelKey uint8

const (
	noKey     levelKey = iota
	namedKey           // a name, or a number of syslog, bunyan, pino or Monolog
	otelKey            // a number of OpenTelemetry
	pythonKey          // a number of Python's
	weakKey            // as namedKey, but may be something else: it counts where no other does
	letterKey          // MongoDB's letters; it may be something else too
)

// levelKeys are these keys in lower case; a dot is also for a key in an object.
var levelKeys = map[string]levelKey{
	"level": namedKey, "lvl": namedKey, "severity": namedKey, "log.level": namedKey, "loglevel": namedKey, "log_level": namedKey,
	"levelname": namedKey, "level_name": namedKey, "severity_text": namedKey, "severitytext": namedKey, "@l": namedKey,
	"record.level.name": namedKey,
	"severitynumber":    otelKey, "severity_number": otelKey,
	"levelno":  pythonKey,
	"priority": weakKey,
	"s":        letterKey,
}

const longestLevelKey = len("severity_number")

// levelKeyOf returns what a logfmt pair's key is.
func levelKeyOf(key []byte) levelKey {
	var lower [longestLevelKey]byte
	if len(key) < 2 || len(key) > longestLevelKey {
		return noKey
	}
	for i, c := range key {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	return levelKeys[string(lower[:len(key)])]
}

// levelValue returns the level that a key's value says.
func levelValue(key levelKey, value []byte) level {
	value = bytes.TrimSpace(withoutColors(value))
	if key == letterKey {
		if len(value) == 1 || len(value) == 2 && value[0] == 'D' && '1' <= value[1] && value[1] <= '5' {
			return levelLetter(value[0])
		}
		return noLevel
	}
	if n := digits(value); n == len(value) && 0 < n && n <= 3 {
		return levelNumber(key, int(mantissa(value)))
	}
	// What slog says of levels between others, such as WARN+2, is the lower one.
	if at := bytes.IndexAny(value, "+-"); at > 0 && digits(value[at+1:]) == len(value)-at-1 {
		value = value[:at]
	}
	return levelNamed(value)
}

func levelNumber(key levelKey, n int) level {
	switch {
	case key == otelKey && 1 <= n && n <= 24:
		return levelTrace + level((n-1)/4)
	case key == otelKey:
	case key == pythonKey:
		if 10 <= n && n < 60 {
			return levelDebug + level(n/10-1)
		}
	case n < 8:
		return syslogLevel(n)
	case 10 <= n && n < 70:
		return levelTrace + level(n/10-1)
	case 100 <= n && n < 700:
		return [...]level{levelDebug, levelInfo, levelWarn, levelError, levelFatal, levelFatal}[n/100-1]
	}
	return noLevel
}

// withoutColors leaves out the escape sequences around a text.
func withoutColors(text []byte) []byte {
	for len(text) > 0 && text[0] == escape {
		text = text[escapeLength(text):]
	}
	if at := bytes.IndexByte(text, escape); at >= 0 {
		text = text[:at]
	}
	return text
}

const escape = 0x1b

// escapeLength is how long the escape sequence is that a text begins with.
func escapeLength(text []byte) int {
	if len(text) < 2 || text[1] != '[' {
		return 1
	}
	for i := 2; i < len(text); i++ {
		if c := text[i]; c >= '@' && c <= '~' {
			return i + 1
		}
	}
	return len(text)
}

// levelTexts are the paths in JSON that may lead to a line's level, each with its key.
func levelTexts() (paths [][]string, keys []levelKey) {
	for name, key := range levelKeys {
		for _, cased := range cases(name) {
			paths, keys = append(paths, []string{cased}), append(keys, key)
			if nested := strings.Split(cased, "."); len(nested) > 1 {
				paths, keys = append(paths, nested), append(keys, key)
			}
		}
	}
	return paths, keys
}

// cases are the ways in which people write a key.
func cases(name string) []string {
	switch name {
	case "s", "@l", "log.level", "record.level.name":
		return []string{name}
	case "loglevel":
		return []string{name, "logLevel", "LogLevel", "LOGLEVEL"}
	case "severitytext":
		return []string{name, "severityText", "SeverityText"}
	case "severitynumber":
		return []string{name, "severityNumber", "SeverityNumber"}
	}
	return []string{name, strings.ToUpper(name[:1]) + name[1:], strings.ToUpper(name)}
}

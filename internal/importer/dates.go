package importer

import (
	"errors"
	"regexp"
	"strings"

	"logscan/internal/importer/regex"
	"logscan/internal/rule"
)

// Parts of times, as fail2ban takes them (server/strptime.py), in RE2.
const (
	hours = `\d\d?:\d\d:\d\d`
	clock = ` ?` + hours
	zone  = `(?:Z|UTC|GMT|[+\-]\d\d(?::?\d\d)?)`
	month = `[A-Za-z]{3}`
	day   = `[ \d]?\d`
)

// usualTime is a time in the forms that fail2ban knows by itself
// (server/datedetector.py): it takes the one that it finds out of a line before it looks
// for anything else there.
const usualTime = `(?:\d{4}[\-/.]\d\d?[\-/.]` + day + `(?:T|  ?)` + hours + `(?:[.,]\d+)?(?:\s*` + zone + `)?` +
	`|(?:(?:[A-Z]{3,5}|` + zone + `) )?(?:` + month + ` )?` + month + ` ` + day + `(?: \d{4})? ` + clock + `(?:\.\d+)?(?: \d{4})?` +
	`|` + day + `[\-/]\d\d?[\-/]\d\d(?:\d\d)?(?: |:)` + clock + `(?:\.\d+)?` +
	`|` + day + `[\-/]` + month + `[\-/]\d{4}[ :]?` + hours + `(?:\.\d+)?(?: ` + zone + `)?` +
	`|\d{6}  ?` + hours + `|` + month + ` ` + day + `, \d{4} ` + hours + ` [AaPp][Mm]|` + month + `-\d\d-\d\d ` + clock +
	`|\d{8}(?:T|  ?)\d{6}(?:[.,]\d+)?(?:\s*` + zone + `)?|\d{10}(?:\.\d{3,6})?|@[0-9a-f]{24}|` + hours + `)`

// letters are what % and these stand for in a datepattern; those with Ex are stricter.
var letters = strings.NewReplacer(
	"%ExY", `\d{4}`, "%Exy", `\d\d`, "%Exm", `\d\d`, "%Exd", `\d\d`, "%ExH", `\d\d`, "%ExM", `\d\d`, "%ExS", `\d\d`,
	"%Y", `\d{4}`, "%y", `\d\d`, "%m", `\d\d?`, "%d", `[ \d]?\d`, "%H", `\d\d?`, "%k", ` ?\d\d?`, "%I", `\d\d?`, "%M", `\d\d?`, "%S", `\d\d?`,
	"%f", `\d+`, "%b", month, "%B", `[A-Za-z]+`, "%a", `[A-Za-z]{3}`, "%p", `[AaPp][Mm]`, "%z", zone, "%Z", `[A-Z]{3,5}`, "%j", `\d{3}`,
	"{DATE}", usualTime, "(?P<_sep>[-/.])", `[\-/.]`, "(?P=_sep)", `[\-/.]`,
)

var (
	capture  = regexp.MustCompile(`(?:^|[^\\])\((?:[^?]|$)`)
	bracketd = `^[^\[]*\[({DATE})`
)

var errDates = errors.New("its datepattern has dates in the midst of lines, which fail2ban takes out before it looks")

// dates is a datepattern as an expression of the times that are taken out of lines.
func dates(pattern string) (string, error) {
	var all []string
	usual := strings.TrimSpace(pattern) == ""
	for _, line := range strings.Split(pattern, "\n") {
		line = strings.TrimSpace(line)
		switch line {
		case "":
			continue
		case "{^LN-BEG}", "{DATE}", "^{DATE}", bracketd:
			usual = true
			continue
		}
		one := strings.TrimPrefix(strings.TrimPrefix(line, "{^LN-BEG}"), "^")
		switch strings.ToUpper(one) {
		case "EPOCH":
			one = `\d{10}(?:\.\d{3,6})?`
		case "TAI64N":
			one = `@[0-9a-f]{24}`
		default:
			if capture.MatchString(strings.ReplaceAll(one, "(?P<_sep>[-/.])", "")) {
				return "", errDates
			}
			one = letters.Replace(one)
		}
		node, err := regex.Python(one)
		if err == nil {
			err = node.Check()
		}
		if err == nil {
			err = rule.CheckPattern(one)
		}
		if err != nil || strings.Contains(one, "%") {
			return "", errors.New("its datepattern has forms that aren't known here")
		}
		all = append(all, node.String())
	}
	if usual {
		all = append(all, usualTime)
	}
	return strings.Join(all, "|"), nil
}

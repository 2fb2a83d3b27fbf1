package importer

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"logscan/internal/event"
	"logscan/internal/fields"
	"logscan/internal/rule"
)

// fail2ban reads jails, or filters: jail.conf and what belongs to it, a directory with
// filter.d, filter.d itself, or files of it. Source of the format: jail.conf(5) and the
// readers of fail2ban (client/filterreader.py, client/jailreader.py,
// server/failregex.py).
//
// An expression of a filter becomes a rule of kind count: fail2ban bans an address that
// has maxretry failures within findtime, and here that is a hit.
func (d *draft) fail2ban(paths []string) error {
	f := &fail2ban{draft: d}
	for _, path := range paths {
		if err := f.path(path); err != nil {
			return err
		}
	}
	if d.read == 0 && len(d.left) == 0 {
		return fmt.Errorf("there is neither a jail nor a filter in %s", clean(strings.Join(paths, " ")))
	}
	if len(d.rules) > 0 {
		d.about = append(d.about, "",
			"fail2ban bans addresses; here somebody is told of them. Each expression of a filter counts",
			"for itself: who fails in two ways is told when one of them has happened often enough.",
			"The first part of a pattern is a time, which fail2ban takes out of a line before it looks.",
			"Say by names, images or labels for which containers a rule is: it is for all else.")
	}
	return nil
}

type fail2ban struct{ *draft }

// jail is what a filter is read with.
type jail struct {
	name    string
	at      string
	filter  string // path
	given   map[string]string
	options *scope // nil: there is only a filter
	retries int64
	within  int64 // seconds
	notes   []string
}

// Defaults of fail2ban's jail.conf.
const (
	usualRetries = 5
	usualWithin  = 600 // seconds
)

func (f *fail2ban) path(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		if strings.HasPrefix(filepath.Base(path), "jail.") || filepath.Base(filepath.Dir(path)) == "jail.d" {
			return f.jails([]string{path}, filepath.Dir(path))
		}
		return f.filter(jail{filter: path, retries: usualRetries, within: usualWithin})
	}
	var jails []string
	for _, pattern := range []string{"jail.conf", "jail.d/*.conf", "jail.local", "jail.d/*.local"} {
		found, err := filepath.Glob(filepath.Join(escapeGlob(path), pattern))
		if err != nil {
			return err
		}
		jails = append(jails, found...)
	}
	if len(jails) > 0 {
		return f.jails(jails, path)
	}
	if below := filepath.Join(path, "filter.d"); exists(below) {
		path = below
	}
	found, err := filepath.Glob(filepath.Join(escapeGlob(path), "*.conf"))
	if err != nil {
		return err
	}
	slices.Sort(found)
	for _, file := range found {
		if err := f.filter(jail{filter: file, retries: usualRetries, within: usualWithin}); err != nil {
			return err
		}
	}
	return nil
}

// escapeGlob is a path as filepath.Glob takes it.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// jails reads files of jails, and the filters of those that are enabled.
func (f *fail2ban) jails(paths []string, dir string) error {
	all := newINI()
	for _, p := range paths {
		if err := f.files.load(all, p, nil); err != nil {
			return err
		}
	}
	for !exists(filepath.Join(dir, "filter.d")) && dir != filepath.Dir(dir) && filepath.Base(dir) == "jail.d" {
		dir = filepath.Dir(dir)
	}
	var off []string
	at := ""
	for _, name := range all.order {
		if name == "INCLUDES" {
			continue
		}
		given := map[string]string{"fail2ban_version": "1", "fail2ban_confpath": dir, "known/chain": "<known/chain>"}
		s := &scope{ini: all, section: name, given: given}
		on, from, ok, err := s.get("enabled")
		if err != nil {
			f.lose(from.at(), "jail "+name, err.Error())
			continue
		}
		if !ok || !slices.Contains([]string{"1", "yes", "true", "on"}, strings.ToLower(on)) {
			off = append(off, name)
			at = paths[0]
			continue
		}
		if err := f.jail(s, dir); err != nil {
			return err
		}
	}
	if len(off) > 0 {
		for len(off) > 0 { // some on each line
			n := min(12, len(off))
			f.lose(at, "the jails "+strings.Join(off[:n], ", "), "they are not enabled; to have one all the same, import its filter: filter.d/NAME.conf")
			off = off[n:]
		}
	}
	return nil
}

// firstAt is where the first option of a section stands.
func (s *scope) firstAt() string {
	var first iniValue
	for _, v := range s.sections[s.section].options {
		if first.file == "" || v.line < first.line {
			first = v
		}
	}
	return first.at()
}

var filterForm = regexp.MustCompile(`(?s)^([^\[\s]+)\s*(?:\[(.*)\])?\s*$`)
var filterOption = regexp.MustCompile(`(?s)^\s*([\w\-.]+)=(?:"([^"]*)"|'([^']*)'|([^,\]]*))(?:,|\]\s*\[|$)`)

// jail reads an enabled jail.
func (f *fail2ban) jail(s *scope, dir string) error {
	j := jail{name: s.section, at: s.firstAt(), options: s, given: map[string]string{}}
	fail := func(err error) error {
		f.read++
		f.lose(j.at, "jail "+j.name, err.Error())
		return nil
	}
	number := func(option string, usual int64, read func(string) (int64, error)) (int64, error) {
		text, _, ok, err := s.get(option)
		if err != nil || !ok || text == "" {
			return usual, err
		}
		n, err := read(text)
		if err != nil {
			return 0, fmt.Errorf("%s = %s: %w", option, clean(text), err)
		}
		return n, nil
	}
	var err error
	if j.retries, err = number("maxretry", usualRetries, func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }); err != nil {
		return fail(fmt.Errorf("maxretry: it is no number"))
	}
	if j.within, err = number("findtime", usualWithin, seconds); err != nil {
		return fail(err)
	}
	text, _, _, err := s.get("filter")
	if err != nil {
		return fail(err)
	}
	m := filterForm.FindStringSubmatch(text)
	if m == nil {
		return fail(fmt.Errorf("it has no filter whose name is known: %s", clean(text)))
	}
	j.filter = filepath.Join(dir, "filter.d", m[1]+".conf")
	for rest := m[2]; strings.TrimSpace(rest) != ""; {
		o := filterOption.FindStringSubmatch(rest)
		if o == nil {
			return fail(fmt.Errorf("the options of its filter can't be read: %s", clean(m[2])))
		}
		j.given[strings.ToLower(o[1])] = strings.TrimSpace(o[2] + o[3] + o[4])
		rest = rest[len(o[0]):]
	}
	if !exists(j.filter) && !exists(strings.TrimSuffix(j.filter, ".conf")+".local") {
		return fail(fmt.Errorf("its filter isn't there: %s", j.filter))
	}
	for option, why := range map[string]string{
		"bantime": "", "action": "", // of each jail: it is said once
		"ignorecommand": "logscan runs nothing",
		"ignoreip":      "rules know no addresses that they are not for; write an ignore",
		"maxmatches":    "",
	} {
		if text, from, ok, err := s.get(option); why != "" && err == nil && ok && text != "" {
			f.part(&j.notes, from.at(), option, why)
		}
	}
	if text, _, ok, err := s.get("logpath"); err == nil && ok {
		j.notes = append(j.notes, "fail2ban reads "+clean(text)+".")
	}
	for _, option := range []string{"failregex", "ignoreregex", "prefregex", "datepattern", "usedns", "maxlines", "journalmatch"} {
		if sec := s.sections[s.section]; sec != nil {
			if _, own := sec.options[option]; own {
				text, _, _, err := s.get(option)
				if err != nil {
					return fail(err)
				}
				j.given[option] = text
			}
		}
	}
	return f.filter(j)
}

var timeUnit = regexp.MustCompile(`^\s*(\d+(?:\.\d+)?)\s*(s|sec|secs|seconds?|m|mi|min|mins|minutes?|h|hours?|d|days?|w|we|weeks?|mo|months?|y|ye|years?)?`)

// seconds is a time of fail2ban: 600, 10m, 1d 12h.
func seconds(text string) (int64, error) {
	unit := map[byte]float64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 7 * 86400, 'y': 31557600}
	total, rest := 0.0, strings.TrimSpace(text)
	for rest != "" {
		m := timeUnit.FindStringSubmatch(rest)
		if m == nil {
			return 0, fmt.Errorf("it is no time")
		}
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return 0, fmt.Errorf("it is no time")
		}
		switch {
		case m[2] == "":
		case strings.HasPrefix(m[2], "mo"):
			n *= 31557600.0 / 12
		default:
			n *= unit[m[2][0]]
		}
		total += n
		rest = strings.TrimSpace(rest[len(m[0]):])
	}
	return int64(total), nil
}

// definition is a filter with all that it refers to.
type definition struct {
	fail, ignore []string
	prefix       string
	maxlines     string
	times        string // an expression of those that are taken out of lines
	at           string
}

// define reads a filter.
func (f *fail2ban) define(j jail) (def definition, err error) {
	all := newINI()
	for _, p := range withLocal(j.filter) {
		if err := f.files.load(all, p, nil); err != nil {
			return def, err
		}
	}
	given := map[string]string{"logtype": "file"}
	if sec := all.sections["Definition"]; sec != nil {
		if _, own := sec.options["logtype"]; own {
			delete(given, "logtype")
		}
	}
	for k, v := range j.given {
		given[k] = v
	}
	s := &scope{ini: all, section: "Definition", given: given}
	def.at = j.filter
	value := func(option string) (string, iniValue) {
		from, _ := s.raw(option)
		text, ok, e := s.tagged(option)
		if e == nil && ok {
			text, e = s.tags(text)
		}
		if e != nil && err == nil {
			err = fmt.Errorf("%s: %w", option, e)
		}
		return text, from
	}
	text, from := value("failregex")
	if from.file != "" {
		def.at = from.at()
	}
	for _, line := range strings.Split(text, "\n") {
		if line != "" {
			def.fail = append(def.fail, line)
		}
	}
	text, _ = value("ignoreregex")
	for _, line := range strings.Split(text, "\n") {
		if line != "" {
			def.ignore = append(def.ignore, line)
		}
	}
	def.prefix, _ = value("prefregex")
	def.maxlines, _ = value("maxlines")
	var e error
	text, _ = value("datepattern")
	if def.times, e = dates(text); e != nil && err == nil && len(def.fail) > 0 {
		err = e
	}
	return def, err
}

// filter makes rules of a filter.
func (f *fail2ban) filter(j jail) error {
	if j.name == "" {
		j.name = strings.TrimSuffix(filepath.Base(j.filter), filepath.Ext(j.filter))
	}
	def, err := f.define(j)
	if def.at == "" {
		return err // a file that can't be read
	}
	if err != nil {
		f.read++
		f.lose(def.at, "filter "+j.name, err.Error())
		return nil
	}
	if len(def.fail) == 0 {
		return nil // it is for others to include
	}
	var ignore []string
	for _, text := range def.ignore {
		pattern, err := def.ignoring(text)
		if err != nil {
			f.read += len(def.fail)
			f.lose(def.at, "filter "+j.name, "its ignoreregex "+err.Error())
			return nil
		}
		ignore = append(ignore, pattern)
	}
	for n, text := range def.fail {
		f.read++
		what := fmt.Sprintf("filter %s, expression %d", j.name, n+1)
		if lines, _ := strconv.Atoi(def.maxlines); lines > 1 && strings.Contains(text, "<SKIPLINES>") {
			f.lose(def.at, what, "it is about several lines at once; a rule of kind sequence may say it, see kinds.md")
			continue
		}
		ways, err := def.failing(text)
		if err != nil {
			f.lose(def.at, what, err.Error())
			continue
		}
		came := true
		for _, w := range ways {
			r := rule.New()
			r.Name = "fail2ban-" + j.name
			r.Pattern, r.All, r.By = w.pattern, w.all, fields.List[string](w.by)
			r.Ignore = joined(append(slices.Clone(ignore), w.ignore...))
			r.Severity = event.Warn
			if j.retries > 1 {
				r.Kind, r.Per, r.AtLeast, r.WithinSeconds = rule.KindCount, rule.PerWorkload, j.retries, j.within
			}
			notes := append([]string{"It was " + clean(text)}, append(slices.Clone(j.notes), w.notes...)...)
			if _, ok := f.rule(def.at, what, r, notes); !ok {
				came = false
			}
		}
		if came {
			f.over++
		}
	}
	return f.bounded()
}

package importer

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// ini is a file of fail2ban with those that it includes, merged: sections by name, with
// their options. Source of the form: Python's configparser, and what fail2ban adds to it
// (client/configparserinc.py): [INCLUDES], %(section/option)s, known/.
type ini struct {
	sections map[string]*iniSection
	order    []string
	defaults *iniSection
}

type iniSection struct {
	options map[string]iniValue // by name in small letters
	before  map[string]iniValue // what a later file replaced
}

type iniValue struct {
	text string
	file string
	line int
}

func (v iniValue) at() string { return fmt.Sprintf("%s:%d", v.file, v.line) }

const (
	maxIncludes   = 50      // files that include each other, deep
	maxExpansion  = 1 << 18 // bytes of a value with what it refers to
	maxReferences = 2000    // of a value
)

func newINI() *ini {
	return &ini{sections: map[string]*iniSection{}, defaults: newINISection()}
}

func newINISection() *iniSection {
	return &iniSection{options: map[string]iniValue{}, before: map[string]iniValue{}}
}

// load reads a file, what it includes, and what stands beside it as .local.
func (f *files) load(into *ini, path string, above []string) error {
	if slices.Contains(above, path) {
		return nil // fail2ban skips what includes itself
	}
	if len(above) > maxIncludes {
		return fmt.Errorf("%s: files include each other more than %d deep", path, maxIncludes)
	}
	above = append(slices.Clone(above), path)
	b, err := f.read(path, false)
	if err != nil {
		return err
	}
	one, err := parseINI(path, string(b))
	if err != nil {
		return err
	}
	include := func(option string) error {
		s := one.sections["INCLUDES"]
		if s == nil {
			return nil
		}
		for _, name := range strings.Split(s.options[option].text, "\n") {
			if name = strings.TrimSpace(name); name == "" {
				continue
			}
			if !filepath.IsAbs(name) {
				name = filepath.Join(filepath.Dir(path), name)
			}
			for _, p := range withLocal(name) {
				if err := f.load(into, p, above); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := include("before"); err != nil {
		return err
	}
	into.merge(one)
	return include("after")
}

// withLocal is a file, if there it is, and the one beside it with its local changes.
func withLocal(path string) (all []string) {
	for _, p := range []string{path, strings.TrimSuffix(path, filepath.Ext(path)) + ".local"} {
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() && !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// merge has the options of another file replace those that are there.
func (c *ini) merge(o *ini) {
	for k, v := range o.defaults.options {
		c.defaults.options[k] = v
	}
	for _, name := range o.order {
		to := c.sections[name]
		if to == nil {
			to = newINISection()
			c.sections[name] = to
			c.order = append(c.order, name)
		}
		for k, v := range o.sections[name].options {
			if was, ok := to.options[k]; ok {
				to.before[k] = was
			}
			to.options[k] = v
		}
	}
}

// parseINI reads one file.
func parseINI(path, text string) (*ini, error) {
	c := newINI()
	var now *iniSection
	option, indent := "", 0
	blank := "" // empty lines of a value, if more follow
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		value, commented := uncommented(line)
		if value == "" {
			if !commented && option != "" {
				blank += "\n"
			}
			continue
		}
		at := len(line) - len(strings.TrimLeft(line, " \t\v\f"))
		if now != nil && option != "" && at > indent {
			v := now.options[option]
			v.text += blank + "\n" + value
			now.options[option], blank = v, ""
			continue
		}
		indent, blank = at, ""
		if strings.HasPrefix(value, "[") && strings.Contains(value, "]") {
			name := value[1:strings.LastIndexByte(value, ']')]
			option = ""
			if name == "DEFAULT" {
				now = c.defaults
				continue
			}
			if now = c.sections[name]; now == nil {
				now = newINISection()
				c.sections[name] = now
				c.order = append(c.order, name)
			}
			continue
		}
		name, text, ok := cutAny(value, "=:")
		switch {
		case now == nil:
			return nil, fmt.Errorf("%s:%d: an option stands before any [section]", path, i+1)
		case !ok || strings.TrimSpace(name) == "":
			return nil, fmt.Errorf("%s:%d: it is neither a [section] nor OPTION = VALUE: %s", path, i+1, clean(value[:min(len(value), 60)]))
		}
		option = strings.ToLower(strings.TrimSpace(name))
		now.options[option] = iniValue{strings.TrimSpace(text), path, i + 1}
	}
	return c, nil
}

func cutAny(s, seps string) (before, after string, ok bool) {
	if at := strings.IndexAny(s, seps); at >= 0 {
		return s[:at], s[at+1:], true
	}
	return s, "", false
}

// uncommented is a line without its comment, and whether it has one.
func uncommented(line string) (string, bool) {
	trimmed := strings.TrimSpace(line)
	if strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, ";") {
		return "", true
	}
	for at := 0; ; {
		next := strings.IndexByte(line[at:], ';')
		if next < 0 {
			return trimmed, false
		}
		at += next
		if at == 0 || strings.IndexByte(" \t\v\f", line[at-1]) >= 0 {
			return strings.TrimSpace(line[:at]), true
		}
		at++
	}
}

var percentName = regexp.MustCompile(`^%\(([^)]+)\)s`)

// scope finds options: those that are given first, then those of a section.
type scope struct {
	*ini
	section string
	given   map[string]string
}

// get is an option with what %(…)s in it stands for; ok is false where there is none.
func (s *scope) get(option string) (text string, from iniValue, ok bool, err error) {
	from, ok = s.raw(option)
	if !ok {
		return "", from, false, nil
	}
	left := maxReferences
	text, err = s.interpolate(from.text, 0, &left)
	return text, from, true, err
}

// raw is an option as it stands.
func (s *scope) raw(option string) (iniValue, bool) {
	if v, ok := s.given[strings.ToLower(option)]; ok {
		return iniValue{text: v}, true
	}
	of, name, other := strings.Cut(option, "/")
	option = strings.ToLower(option)
	if other {
		return s.other(of, strings.ToLower(name))
	}
	if option == "__name__" {
		return iniValue{text: s.section}, true
	}
	if sec := s.sections[s.section]; sec != nil {
		if v, ok := sec.options[option]; ok {
			return v, true
		}
	}
	v, ok := s.defaults.options[option]
	return v, ok
}

// other is an option of another section, known/… of what a later file replaced.
func (s *scope) other(section, option string) (iniValue, bool) {
	from := map[string]iniValue{}
	switch sec := s.sections[section]; {
	case section == "known" && s.sections[s.section] != nil:
		from = s.sections[s.section].before
	case section != "default" && sec != nil:
		from = sec.options
	}
	if v, ok := from[option]; ok {
		return v, true
	}
	v, ok := s.defaults.options[option]
	return v, ok
}

// interpolate replaces %(name)s, at most ten deep as Python does.
func (s *scope) interpolate(text string, depth int, left *int) (string, error) {
	if depth > 10 {
		return "", fmt.Errorf("%%(…)s are more than 10 deep in one another")
	}
	var b strings.Builder
	for {
		at := strings.IndexByte(text, '%')
		if at < 0 {
			b.WriteString(text)
			return b.String(), nil
		}
		b.WriteString(text[:at])
		text = text[at:]
		m := percentName.FindStringSubmatch(text)
		switch {
		case strings.HasPrefix(text, "%%"):
			b.WriteByte('%')
			text = text[2:]
			continue
		case m == nil:
			return "", fmt.Errorf("%% has neither %% nor (name)s behind it: %s", clean(text[:min(len(text), 20)]))
		}
		v, ok := s.raw(m[1])
		if !ok {
			return "", fmt.Errorf("there is no option %s, which %s means", clean(m[1]), clean(m[0]))
		}
		if *left--; *left < 0 {
			return "", fmt.Errorf("it refers to too much")
		}
		value, err := s.interpolate(v.text, depth+1, left)
		if err != nil {
			return "", err
		}
		b.WriteString(value)
		if b.Len() > maxExpansion {
			return "", fmt.Errorf("what it stands for is longer than %d bytes", maxExpansion)
		}
		text = text[len(m[0]):]
	}
}

// tagged is what <name> stands for: an option of [Init] goes before others.
func (s *scope) tagged(name string) (string, bool, error) {
	if _, given := s.given[strings.ToLower(name)]; !given && s.sections["Init"] != nil {
		init := &scope{ini: s.ini, section: "Init", given: s.given}
		if _, ok := s.sections["Init"].options[strings.ToLower(name)]; ok {
			text, _, ok, err := init.get(name)
			return text, ok, err
		}
	}
	text, _, ok, err := s.get(name)
	return text, ok, err
}

var tag = regexp.MustCompile(`<([^ <>]+)>`)

// tags replaces <name> by options, also where replacing makes new ones.
func (s *scope) tags(text string) (string, error) {
	for left := maxReferences; ; {
		var b strings.Builder
		rest, changed := text, false
		for {
			m := tag.FindStringSubmatchIndex(rest)
			if m == nil {
				b.WriteString(rest)
				break
			}
			name := rest[m[2]:m[3]]
			value, ok, err := s.tagged(name)
			if err != nil || !ok {
				b.WriteString(rest[:m[1]]) // it is none: a part of the expression
				rest = rest[m[1]:]
				continue
			}
			if left--; left < 0 {
				return "", fmt.Errorf("<%s> stands for itself, or for too much", clean(name))
			}
			changed = true
			b.WriteString(rest[:m[0]])
			b.WriteString(value)
			rest = rest[m[1]:]
			if b.Len() > maxExpansion {
				return "", fmt.Errorf("what it stands for is longer than %d bytes", maxExpansion)
			}
		}
		if text = b.String(); !changed {
			return text, nil
		}
	}
}

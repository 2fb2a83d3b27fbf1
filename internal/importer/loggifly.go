package importer

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"logscan/internal/event"
	"logscan/internal/fields"
	"logscan/internal/importer/regex"
	"logscan/internal/rule"
	"logscan/internal/trigger"
)

// loggifly reads a config.yaml of LoggiFly, of version 1 or 2. Source of the format: its
// documentation (docs/guide, docs/v1.8/guide) and its models (app/config/models). Its
// keywords match anywhere and in any case; its expressions are Python's, in any case
// where regex_case_sensitive is false, as it is by default in version 1.
func (d *draft) loggifly(path string, b []byte) error {
	l := &loggifly{draft: d, yamlFile: &yamlFile{name: path}, overrides: map[string][]string{}, told: map[string]bool{}}
	top, err := l.parse(b)
	if err != nil {
		return err
	}
	if !l.isMap(top) {
		return fmt.Errorf("%s: it is no config.yaml of LoggiFly, whose top is a mapping", path)
	}
	err = l.guard(func() { l.config(top) })
	if err != nil {
		return err
	}
	return d.bounded()
}

type loggifly struct {
	*draft
	*yamlFile
	old       bool // version 1
	multiline bool
	told      map[string]bool                 // settings, by place and name
	overrides map[string][]string             // rules by the key of a notification of their own
	channels  map[string]func(notes []string) // that make its trigger
	order     []string                        // its keys
	plain     []string                        // rules that have none
	globalURL *yaml.Node                      // of ntfy
}

// level is a mapping whose settings hold for what is below it.
type level struct {
	node   *yaml.Node
	up     *level
	shared bool // it is for more than one rule of LoggiFly's: it is told of once
}

// setting is the nearest value of a key, by any of its names, and where it stands.
func (l *loggifly) setting(v *level, names ...string) (value *yaml.Node) {
	for ; v != nil; v = v.up {
		for _, p := range l.pairs(v.node) {
			if slices.Contains(names, p.key) && p.value.ShortTag() != "!!null" {
				return p.value
			}
		}
	}
	return nil
}

// target is which containers keywords are for.
type target struct {
	names    []string // globs; nil: any
	services []string // globs of Swarm's services
	stacks   []string
	off      bool
	notes    []string
	what     string // for names of rules
}

func (l *loggifly) config(top *yaml.Node) {
	containers := l.get(top, "containers")
	l.old = l.text(l.get(top, "version")) != "2" && l.get(top, "global") == nil && l.get(top, "swarm") == nil && !l.isSource(containers)
	settings := l.get(top, "settings")
	l.globalURL = l.get(l.get(l.get(top, "notifications"), "ntfy"), "url")
	l.multiline = l.get(settings, "multi_line_entries") == nil || l.truth(l.get(settings, "multi_line_entries"))
	l.about = append(l.about, "",
		"LoggiFly sends a message for each line that matches; here an incident is told once, and",
		"counts the lines that follow.")
	for _, p := range l.pairs(top) {
		switch p.key {
		case "version", "settings", "notifications", "containers", "swarm", "global", "global_keywords", "swarm_services", "hosts":
		default:
			if !strings.HasPrefix(p.key, "x-") { // for anchors
				l.lose(l.line(p.line), p.key, "it is no key of LoggiFly's that is known")
			}
		}
	}
	l.settings(settings)
	if l.old {
		l.version1(top, settings)
	} else {
		l.version2(top)
	}
	l.notifications(l.get(top, "notifications"))
}

// isSource reports whether a mapping is as version 2 has it, not containers by name.
func (l *loggifly) isSource(n *yaml.Node) bool {
	return l.isList(l.get(n, "rules")) || l.isList(l.get(n, "groups"))
}

// settings tells of those of the program; those that rules inherit are told with them.
func (l *loggifly) settings(settings *yaml.Node) {
	for _, p := range l.pairs(settings) {
		why := ""
		switch p.key {
		case "multi_line_entries":
			if !l.multiline {
				continue
			}
			why = "lines that belong together are found by their form, see rules.md"
		case "log_level", "reload_config", "compact_summary_message":
			why = "it is about LoggiFly itself"
		case "system_notifications", "disable_start_message", "disable_shutdown_message", "disable_config_reload_message", "disable_monitor_event_message", "disable_container_event_message":
			why = "what logscan says about itself are events; a trigger with sources: system tells them"
		case "monitor_all_containers", "monitor_all_swarm_services", "excluded_containers", "excluded_swarm_services":
			continue // see version1
		default:
			if l.old && l.inherited(p.key) {
				continue
			}
			why = "it is no setting of LoggiFly's that is known"
		}
		l.lose(l.line(p.line), "settings."+p.key, why)
	}
}

func (l *loggifly) version1(top, settings *yaml.Node) {
	root := &level{node: settings, shared: true}
	var names []string
	watched := l.get(top, "containers")
	for _, p := range l.pairs(watched) {
		names = append(names, p.key)
	}
	global := &target{names: names, what: "any"}
	if l.truth(l.get(settings, "monitor_all_containers")) {
		global.names = nil
		for _, n := range l.items(l.get(settings, "excluded_containers")) {
			l.part(&global.notes, l.at(n), "excluded_containers: "+l.text(n), "rules have no names that they are not for; it is watched too")
		}
	}
	l.lost(settings, "monitor_all_swarm_services", "keywords of each service are rules; those for all services, global_keywords, are rules for all containers")
	l.lost(settings, "excluded_swarm_services", "rules have no names that they are not for")
	if len(names) > 0 || global.names == nil && l.truth(l.get(settings, "monitor_all_containers")) || len(l.pairs(l.get(top, "swarm_services"))) == 0 {
		l.keywords(l.get(top, "global_keywords"), root, global)
	} else {
		all := *global
		all.notes = append(all.notes, "In LoggiFly it is for the Swarm services that are named, here for all containers.")
		l.keywords(l.get(top, "global_keywords"), root, &all)
	}
	l.named(watched, root, false)
	l.named(l.get(top, "swarm_services"), root, true)
	for _, host := range l.pairs(l.get(top, "hosts")) {
		l.lose(l.line(host.line), "hosts."+host.key, "each host has a logscan of its own: apply there what of this file is for it")
		l.named(l.get(host.value, "containers"), &level{host.value, root, true}, false)
		l.named(l.get(host.value, "swarm_services"), &level{host.value, root, true}, true)
	}
}

// named reads containers, or services, by name, as version 1 has them.
func (l *loggifly) named(n *yaml.Node, up *level, swarm bool) {
	for _, p := range l.pairs(n) {
		t := &target{names: []string{p.key}, what: p.key}
		if swarm {
			t = &target{services: []string{p.key}, what: p.key}
			t.notes = append(t.notes, "A stack of that name is meant by LoggiFly too; for one, the label is com.docker.stack.namespace="+p.key)
		}
		l.keywords(p.value, &level{p.value, up, false}, t)
	}
}

// lost notes a key that is there.
func (l *loggifly) lost(n *yaml.Node, key, why string) {
	for _, p := range l.pairs(n) {
		if p.key == key {
			l.lose(l.line(p.line), key, why)
		}
	}
}

func (l *loggifly) version2(top *yaml.Node) {
	global := l.get(top, "global")
	root := &level{node: l.get(global, "defaults"), shared: true}
	var names []string
	any := false
	for _, source := range []string{"containers", "swarm"} {
		for _, r := range l.rulesOf(l.get(top, source)) {
			t := l.target(r.value, source == "swarm")
			any = any || slices.Contains(t.names, "*") || len(t.services)+len(t.stacks) > 0
			names = append(names, t.names...)
		}
	}
	if any {
		names = nil
	}
	slices.Sort(names)
	names = slices.Compact(names)
	l.keywords(global, root, &target{names: names, what: "any"})
	for _, p := range l.pairs(global) {
		if p.key != "keywords" && p.key != "defaults" && p.key != "container_events" {
			l.lose(l.line(p.line), "global."+p.key, "it is no key of LoggiFly's that is known")
		}
	}
	for _, source := range []string{"containers", "swarm"} {
		l.source(l.get(top, source), root, source == "swarm")
	}
}

// rulesOf are the rules of a source, of its groups too.
func (l *loggifly) rulesOf(n *yaml.Node) (all []pair) {
	for _, r := range l.items(l.get(n, "rules")) {
		all = append(all, pair{"", r, r.Line})
	}
	for _, g := range l.items(l.get(n, "groups")) {
		for _, r := range l.items(l.get(g, "rules")) {
			all = append(all, pair{"", r, r.Line})
		}
	}
	return all
}

// source reads containers, swarm, or a group of one of them.
func (l *loggifly) source(n *yaml.Node, up *level, swarm bool) {
	if n == nil {
		return
	}
	own := &level{l.get(n, "defaults"), up, true}
	var all target
	any := false
	for _, r := range l.rulesOf(n) {
		t := l.target(r.value, swarm)
		any = any || slices.Contains(t.names, "*")
		all.names, all.services, all.stacks = append(all.names, t.names...), append(all.services, t.services...), append(all.stacks, t.stacks...)
	}
	if any {
		all.names = nil
	}
	all.what = "any"
	for _, p := range l.pairs(n) {
		switch p.key {
		case "rules", "groups", "defaults", "keywords", "container_events":
		case "scope":
			l.lose(l.line(p.line), "scope.hosts", "each host has a logscan of its own: apply what follows only there")
		case "never_monitor":
			for _, key := range l.pairs(p.value) {
				for _, name := range l.items(key.value) {
					l.lose(l.at(name), "never_monitor: "+l.text(name), "rules have no names that they are not for; a container of another log driver has no rules anyway")
				}
			}
		default:
			l.lose(l.line(p.line), p.key, "it is no key of LoggiFly's that is known")
		}
	}
	l.keywords(n, own, &all)
	for _, r := range l.items(l.get(n, "rules")) {
		t := l.target(r, swarm)
		for _, p := range l.pairs(l.get(l.get(r, "match"), "exclude")) {
			for _, name := range l.items(p.value) {
				l.part(&t.notes, l.at(name), "exclude: "+l.text(name), "rules have no names that they are not for; it is watched too")
			}
		}
		if scope := l.get(r, "scope"); scope != nil {
			l.part(&t.notes, l.at(scope), "scope.hosts", "each host has a logscan of its own: apply it only there")
		}
		l.keywords(r, &level{r, own, false}, t)
	}
	for _, g := range l.items(l.get(n, "groups")) {
		l.source(g, own, swarm)
	}
}

// target reads which containers a rule of version 2 is for.
func (l *loggifly) target(r *yaml.Node, swarm bool) *target {
	t := &target{what: l.text(l.get(r, "id"))}
	include := l.get(l.get(r, "match"), "include")
	t.names = append(l.texts(l.get(r, "container_name")), l.texts(l.get(include, "container_names"))...)
	t.services = append(l.texts(l.get(r, "service_name")), l.texts(l.get(include, "service_names"))...)
	t.stacks = append(l.texts(l.get(r, "stack_name")), l.texts(l.get(include, "stack_names"))...)
	if n := l.get(r, "enabled"); n != nil && !l.truth(n) {
		t.off = true
	}
	if t.what == "" {
		for _, names := range [][]string{t.names, t.services, t.stacks} {
			if t.what == "" && len(names) > 0 {
				t.what = names[0]
			}
		}
	}
	return t
}

// keywords makes rules of the keywords of a mapping, and tells of all else in it.
func (l *loggifly) keywords(n *yaml.Node, at *level, t *target) {
	list := l.get(n, "keywords")
	for _, item := range l.items(list) {
		l.keyword(item, at, t, nil)
	}
	for _, item := range l.items(l.get(n, "keywords_with_attachment")) { // of old versions
		l.keyword(item, at, t, func(r *rule.Rule) { r.Before = 20 })
	}
	for _, key := range []string{"container_events", "action_keywords"} {
		for _, item := range l.items(l.get(n, key)) {
			what := l.text(item)
			if what == "" {
				what = l.text(l.get(item, "event"))
			}
			why := "logscan reads what containers write, and not the Engine's events; a rule of kind run watches how containers end and start, see kinds.md"
			if key == "action_keywords" {
				what, why = "", "logscan starts, stops and restarts nothing: keep it in keywords without the action"
			}
			l.read++
			l.lose(l.at(item), strings.TrimSuffix(key+": "+what, ": "), why)
		}
	}
	if l.isSource(n) || l.get(n, "defaults") != nil {
		return
	}
	for _, p := range l.pairs(n) {
		switch p.key {
		case "keywords", "keywords_with_attachment", "action_keywords", "container_events", "match", "container_name", "service_name", "stack_name", "id", "enabled", "scope", "rules", "groups", "never_monitor", "defaults":
		case "hosts":
			l.lose(l.line(p.line), "hosts of "+t.what, "each host has a logscan of its own: apply it only there")
		default:
			if !l.inherited(p.key) {
				l.lose(l.line(p.line), t.what+"."+p.key, "it is no key of LoggiFly's that is known")
			}
		}
	}
}

// renamed are settings that version 1 calls otherwise.
var renamed = map[string]string{
	"notification_cooldown": "trigger_cooldown", "action_cooldown": "container_action_cooldown", "hide_regex_in_title": "hide_full_regex",
	"excluded_keywords": "ignore_keywords", "disable_notifications": "disable_trigger_notifications", "action": "container_action",
	"notification_title": "title_template", "json_template": "message_template", "template": "message_template", "olivetin_action_id": "olivetin_actions",
}

// known are settings that keywords inherit, with why there is nothing for them here; ""
// where there is.
var known = map[string]string{
	"ignore_keywords": "", "attach_logfile": "", "attachment_lines": "", "trigger_cooldown": "", "regex_case_sensitive": "", "disable_trigger_notifications": "",
	"ntfy_priority": "", "ntfy_topic": "", "ntfy_url": "", "ntfy_token": "", "ntfy_username": "", "ntfy_password": "", "apprise_url": "", "webhook_url": "",
	"trigger_on":                "",
	"title_template":            "its template is Jinja2's; a trigger has a title, a Go template, see triggers.md",
	"message_template":          "its template is Jinja2's; a trigger has a body, a Go template, see triggers.md",
	"hide_full_regex":           "messages have the line, and not the expression",
	"merge_matches":             "each rule has incidents of its own; messages about a workload are grouped",
	"container_action":          "logscan starts, stops and restarts nothing",
	"container_action_cooldown": "logscan starts, stops and restarts nothing",
	"olivetin_actions":          "logscan runs nothing; a webhook can",
	"olivetin_url":              "logscan runs nothing; a webhook can",
	"olivetin_username":         "logscan runs nothing; a webhook can",
	"olivetin_password":         "logscan runs nothing; a webhook can",
	"ntfy_tags":                 "messages have logscan's tags",
	"ntfy_icon":                 "messages have no icon",
	"ntfy_click":                "a tap opens logscan's page",
	"ntfy_markdown":             "messages are text",
	"ntfy_actions":              "messages have logscan's buttons",
	"ntfy_headers":              "messages have logscan's headers",
	"webhook_headers":           "webhooks have logscan's headers, and a signature",
}

// inherited reports whether a setting is one that keywords inherit.
func (l *loggifly) inherited(key string) bool {
	if to := renamed[key]; to != "" {
		key = to
	}
	_, ok := known[key]
	return ok
}

// keyword makes a rule of a keyword.
func (l *loggifly) keyword(item *yaml.Node, up *level, t *target, change func(*rule.Rule)) {
	l.read++
	at := l.at(item)
	own := &level{item, up, false}
	r := rule.New()
	notes := slices.Clone(t.notes)
	var parts []*yaml.Node
	what := l.text(item)
	switch {
	case what != "":
		own = up
		parts = []*yaml.Node{item}
	case l.isMap(item):
		for _, key := range []string{"keyword", "regex"} {
			if v := l.get(item, key); v != nil {
				parts, what = []*yaml.Node{item}, l.text(v)
			}
		}
		for _, key := range []string{"all_of", "keyword_group"} {
			if v := l.get(item, key); v != nil {
				parts = l.items(v)
				what = strings.Join(l.words(parts), " ")
			}
		}
	}
	if len(parts) == 0 {
		l.lose(at, "a keyword", "it has neither keyword, nor regex, nor all_of")
		return
	}
	label := "keyword " + strconv.Quote(what)
	fold := l.old
	if v := l.setting(own, "regex_case_sensitive"); v != nil {
		fold = !l.truth(v)
	}
	for i, part := range parts {
		pattern, err := l.pattern(part, fold)
		if err != nil {
			l.lose(l.at(part), label, err.Error())
			return
		}
		if i == 0 {
			r.Pattern = pattern
		} else {
			r.All = append(r.All, pattern)
		}
	}
	var err error
	if r.Ignore, err = l.ignored(own, fold); err != nil {
		l.lose(at, label, "what it ignores "+err.Error())
		return
	}
	r.Record = l.multiline && len(r.All)+len(r.Ignore) > 0
	l.apply(&r, item, own, &notes)
	if change != nil {
		change(&r)
	}
	if t.off {
		r.State = rule.Off
	}
	if on := l.get(item, "trigger_on"); on != nil {
		r.Kind = rule.KindCount
		usual := rule.New() // there is no cooldown
		r.CooldownSeconds, r.CooldownBy = usual.CooldownSeconds, usual.CooldownBy
		r.AtLeast, r.WithinSeconds = l.number(l.get(on, "count"), 0), l.number(l.get(on, "timeframe"), 0)
	}
	prefix := ""
	if t.what != "" && t.what != "any" {
		prefix = t.what + "-"
	}
	r.Name = prefix + what
	l.place(at, label, r, own, t, notes)
}

// words are the texts of keywords.
func (l *loggifly) words(items []*yaml.Node) (all []string) {
	for _, item := range items {
		for _, n := range []*yaml.Node{item, l.get(item, "keyword"), l.get(item, "regex")} {
			if s := l.text(n); s != "" {
				all = append(all, s)
			}
		}
	}
	return all
}

// pattern is the expression of a keyword that is no group.
func (l *loggifly) pattern(item *yaml.Node, fold bool) (string, error) {
	if s := l.text(item); s != "" {
		return regex.Quote(s, true), nil
	}
	if s := l.text(l.get(item, "keyword")); s != "" {
		return regex.Quote(s, true), nil
	}
	s := l.text(l.get(item, "regex"))
	if s == "" {
		return "", fmt.Errorf("it has neither keyword nor regex")
	}
	n, err := regex.Python(s)
	if err == nil {
		err = n.Check()
	}
	if err != nil {
		return "", fmt.Errorf("the expression %w", err)
	}
	if out := n.String(); !fold || strings.HasPrefix(out, "(?i:") {
		return out, nil
	} else {
		return "(?i)" + out, nil
	}
}

// ignored are the expressions of all levels of what is ignored.
func (l *loggifly) ignored(v *level, fold bool) (all fields.Texts, err error) {
	for ; v != nil; v = v.up {
		for _, key := range []string{"ignore_keywords", "excluded_keywords"} {
			for _, item := range l.items(l.get(v.node, key)) {
				pattern, err := l.pattern(item, fold)
				if err != nil {
					return nil, err
				}
				if !slices.Contains(all, pattern) {
					all = append(all, pattern)
				}
			}
		}
	}
	return joined(all), nil
}

// apply takes settings over, and tells of those that have no counterpart.
func (l *loggifly) apply(r *rule.Rule, item *yaml.Node, own *level, notes *[]string) {
	if v := l.setting(own, "trigger_cooldown", "notification_cooldown"); v != nil {
		r.CooldownSeconds, r.CooldownBy = l.number(v, 0), rule.ByRule
	}
	if v := l.setting(own, "attach_logfile"); v != nil && l.truth(v) {
		r.Before = min(l.number(l.setting(own, "attachment_lines"), 20), rule.MaxContext)
	}
	if v := l.setting(own, "disable_trigger_notifications", "disable_notifications"); v != nil && l.truth(v) {
		r.State = rule.Shadow
	}
	r.Severity = severity(l.text(l.setting(own, "ntfy_priority")), r.Severity)
	for v := own; v != nil; v = v.up {
		for _, p := range l.pairs(v.node) {
			key := p.key
			if to := renamed[key]; to != "" {
				key = to
			}
			if why := known[key]; why != "" && v.shared {
				if at := l.line(p.line); !l.told[at+p.key] {
					l.told[at+p.key] = true
					l.lose(at, p.key, why)
				}
			} else if why != "" {
				l.part(notes, l.line(p.line), p.key, why)
			} else if _, ok := known[key]; !ok && v.node == item {
				switch key {
				case "keyword", "regex", "all_of", "keyword_group":
				default:
					l.part(notes, l.line(p.line), p.key, "it is no key of LoggiFly's that is known")
				}
			}
		}
	}
}

// number is a whole number, or a default.
func (l *loggifly) number(n *yaml.Node, usual int64) int64 {
	if v, err := strconv.ParseInt(l.text(n), 10, 64); err == nil {
		return v
	}
	return usual
}

// severity is that of a priority of ntfy, such that ntfy gets the same priority back.
func severity(priority string, usual event.Severity) event.Severity {
	switch strings.ToLower(priority) {
	case "5", "max", "urgent":
		return event.Critical
	case "4", "high":
		return event.Error
	case "3", "default":
		return event.Warn
	case "1", "2", "low", "min":
		return event.Info
	}
	return usual
}

// brackets are a set of characters in a name, as Python's fnmatch has it.
var brackets = regexp.MustCompile(`\[!?\]?[^\]]*\]`)

// place adds a rule, one for each service or stack, and remembers by what it is told.
func (l *loggifly) place(at, label string, r rule.Rule, own *level, t *target, notes []string) {
	var globs []string
	for _, name := range t.names {
		if name == "*" {
			globs = nil
			break
		}
		if set := brackets.FindString(name); set != "" {
			name = brackets.ReplaceAllString(name, "?")
			l.part(&notes, at, set, "names have no sets of characters; "+name+" has any one there")
		}
		if strings.Contains(name, ",") {
			l.lose(at, label, "the name "+name+" has a comma, which ends a name here")
			return
		}
		globs = append(globs, name)
	}
	r.Names = globs
	labels := []fields.List[string]{}
	for _, s := range t.services {
		if len(t.stacks) == 0 {
			labels = append(labels, fields.List[string]{"com.docker.swarm.service.name=" + s})
		}
		for _, stack := range t.stacks {
			labels = append(labels, fields.List[string]{"com.docker.swarm.service.name=" + s, "com.docker.stack.namespace=" + stack})
		}
	}
	if len(t.services) == 0 {
		for _, stack := range t.stacks {
			labels = append(labels, fields.List[string]{"com.docker.stack.namespace=" + stack})
		}
	}
	if len(labels) == 0 {
		labels = append(labels, nil)
	} else if len(t.names) > 0 { // of containers, and of services: two rules
		labels = append(labels, nil)
	}
	came := false
	for _, wanted := range labels {
		one := r
		if one.Labels = wanted; wanted != nil {
			one.Names = nil
		}
		name, ok := l.rule(at, label, one, notes)
		if ok {
			came = true
			l.tell(name, own)
		}
	}
	if came {
		l.over++
	}
}

// tell remembers by which notifications a rule is told.
func (l *loggifly) tell(name string, own *level) {
	special := ""
	for _, key := range []string{"ntfy_topic", "ntfy_url", "ntfy_token", "ntfy_username", "ntfy_password", "apprise_url", "webhook_url"} {
		if v := l.setting(own, key); v != nil {
			special += fmt.Sprintf("%s@%d ", key, v.Line)
		}
	}
	if special == "" {
		l.plain = append(l.plain, name)
		return
	}
	if l.overrides[special] == nil {
		l.order = append(l.order, special)
		if l.channels == nil {
			l.channels = map[string]func([]string){}
		}
		l.channels[special] = func(rules []string) { l.special(own, rules) }
	}
	l.overrides[special] = append(l.overrides[special], name)
}

// notifications makes triggers.
func (l *loggifly) notifications(n *yaml.Node) {
	var made []string
	if len(l.order) == 0 || len(l.plain) > 0 {
		for _, p := range l.pairs(n) {
			switch p.key {
			case "ntfy":
				made = append(made, l.ntfyTrigger(p.value, func(key string) *yaml.Node { return l.get(p.value, key) }, "ntfy")...)
			case "apprise":
				made = append(made, l.appriseTrigger(l.get(p.value, "url"), l.line(p.line), "apprise")...)
			case "webhook":
				made = append(made, l.webhookTrigger(l.get(p.value, "url"), l.line(p.line), "webhook")...)
			default:
				l.lose(l.line(p.line), "notifications."+p.key, "it is no notification of LoggiFly's that is known")
			}
			for _, key := range l.pairs(p.value) {
				if why := known[p.key+"_"+key.key]; why != "" {
					l.lose(l.line(key.line), p.key+"."+key.key, why)
				}
			}
		}
	}
	if len(l.order) > 0 { // else all are told of all
		l.tells(l.plain, made)
	}
	for _, special := range l.order {
		l.channels[special](l.overrides[special])
	}
}

// special makes the triggers of rules that have settings of notifications of their own,
// where these aren't said from the global ones.
func (l *loggifly) special(own *level, rules []string) {
	var made []string
	find := func(prefix string) func(string) *yaml.Node {
		return func(key string) *yaml.Node { return l.setting(own, prefix+"_"+key) }
	}
	if topic := l.setting(own, "ntfy_topic"); topic != nil || l.setting(own, "ntfy_url") != nil {
		made = append(made, l.ntfyTrigger(topic, find("ntfy"), "ntfy-"+rules[0])...)
	}
	if v := l.setting(own, "apprise_url"); v != nil {
		made = append(made, l.appriseTrigger(v, l.at(v), "apprise-"+rules[0])...)
	}
	if v := l.setting(own, "webhook_url"); v != nil {
		made = append(made, l.webhookTrigger(v, l.at(v), "webhook-"+rules[0])...)
	}
	l.tells(rules, made)
}

// made adds a trigger; there is none in the list if it is lost.
func (l *loggifly) made(at, what, name string, t trigger.Trigger, notes []string) []string {
	t.Name = name
	if name, ok := l.trigger(at, what, t, notes); ok {
		return []string{name}
	}
	return nil
}

func (l *loggifly) ntfyTrigger(from *yaml.Node, get func(string) *yaml.Node, name string) []string {
	if from == nil {
		from = get("url")
	}
	at := l.at(from)
	t := trigger.Fields.New()
	address := l.text(get("url"))
	if address == "" {
		address = l.text(l.globalURL)
	}
	var err error
	if t.ActionURL, err = l.ntfy(address, name, at); err != nil {
		l.lose(at, "ntfy", err.Error())
		return nil
	}
	switch {
	case l.text(get("token")) != "":
		t.ActionSecret = l.secret(name+"_TOKEN", "the access token in "+l.at(get("token")), someToken)
	case l.text(get("username")) != "":
		t.ActionSecret = l.secret(name+"_LOGIN", "the user and the password in "+l.at(get("username"))+", as NAME:PASSWORD", "user:password")
	}
	return l.made(at, "ntfy", name, t, nil)
}

func (l *loggifly) webhookTrigger(address *yaml.Node, at string, name string) []string {
	t := trigger.Fields.New()
	var err error
	if t.ActionURL, err = l.webhook(l.text(address), name, at); err != nil {
		l.lose(at, "webhook", err.Error())
		return nil
	}
	return l.made(at, "webhook", name, t, []string{"What is sent is logscan's, see webhooks.md."})
}

// appriseTrigger makes a trigger of a URL of Apprise, for services that have a channel
// here. Source of the forms: Apprise's documentation of each service.
func (l *loggifly) appriseTrigger(address *yaml.Node, at string, name string) []string {
	t := trigger.Fields.New()
	scheme, rest, ok := strings.Cut(l.text(address), "://")
	if !ok {
		scheme = ""
	}
	host, _, _ := strings.Cut(rest[strings.LastIndexByte(rest, '@')+1:], "/")
	switch scheme = strings.ToLower(scheme); scheme {
	case "discord":
		t.ActionURL = "discord://discord.com/api/webhooks/" + l.secret(name+"_ID", "the webhook's ID, which is first in the URL in "+at, someID)
		t.ActionSecret = l.secret(name+"_TOKEN", "the webhook's token, which is second in the URL in "+at, someToken)
	case "tgram":
		t.ActionURL = "telegram://api.telegram.org/" + l.secret(name+"_CHAT", "the chat's id in "+at, someID)
		t.ActionSecret = l.secret(name+"_TOKEN", "the bot's token in "+at, someToken)
	case "gotify", "gotifys":
		t.ActionURL = map[string]string{"gotify": "gotify+http://", "gotifys": "gotify://"}[scheme] + host
		t.ActionSecret = l.secret(name+"_TOKEN", "the application's token in "+at, someToken)
	case "ntfys", "ntfy":
		if !strings.Contains(rest, "/") { // the topic alone, at ntfy.sh
			host, scheme = "ntfy.sh", "ntfys"
		}
		t.ActionURL = map[string]string{"ntfy": "ntfy+http://", "ntfys": "ntfy://"}[scheme] + host + "/" + l.secret(name+"_TOPIC", "the topic in "+at, someText)
	default:
		l.lose(at, "apprise "+clean(scheme)+"://", "look in channels.md for its service; for one without a channel, keep the URL on an Apprise API server, and tell that by apprise://")
		return nil
	}
	return l.made(at, "apprise "+scheme+"://", name, t, nil)
}

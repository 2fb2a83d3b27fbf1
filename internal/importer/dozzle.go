package importer

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"logscan/internal/importer/regex"
	"logscan/internal/rule"
	"logscan/internal/trigger"
)

// dozzle reads what Dozzle keeps its alerts in: data/notifications.yml, or the same as
// JSON. Source of the format: its documentation (docs/guide/alerts-and-webhooks.md) and
// internal/notification (Config, Subscription, DispatcherConfig).
func (d *draft) dozzle(path string, b []byte) error {
	z := &dozzle{draft: d, yamlFile: &yamlFile{name: path}, told: map[string][]string{}}
	top, err := z.parse(b)
	if err != nil {
		return err
	}
	alerts := z.get(top, "subscriptions")
	if z.isList(top) {
		alerts = top // as its API lists them
	}
	if !z.isMap(top) && !z.isList(top) || alerts == nil && z.get(top, "dispatchers") == nil {
		return fmt.Errorf("%s: it has neither subscriptions nor dispatchers, as Dozzle's notifications.yml", path)
	}
	err = z.guard(func() {
		for _, a := range z.items(alerts) {
			z.alert(a)
		}
		z.dispatchers(z.get(top, "dispatchers"))
		for _, p := range z.pairs(top) {
			if p.key != "subscriptions" && p.key != "dispatchers" {
				z.lose(z.line(p.line), p.key, "it is no key of Dozzle's that is known")
			}
		}
	})
	if err != nil {
		return err
	}
	return d.bounded()
}

type dozzle struct {
	*draft
	*yamlFile
	told map[string][]string // rules by the id of what tells them
}

// alert makes rules of a subscription: one for each way in which its expression is true.
func (z *dozzle) alert(a *yaml.Node) {
	z.read++
	at, name := z.at(a), z.text(z.get(a, "name"))
	label := "alert " + strconv.Quote(name)
	for _, other := range []struct{ key, why string }{
		{"metricExpression", "logscan measures neither processor nor memory"},
		{"eventExpression", "logscan reads what containers write, and not the Engine's events; a rule of kind run watches how containers end and start, see kinds.md"},
	} {
		if z.text(z.get(a, other.key)) != "" {
			z.lose(at, label, other.why)
			return
		}
	}
	if z.text(z.get(a, "logExpression")) == "" {
		z.lose(at, label, "it has no logExpression")
		return
	}
	lines, err := z.expression(a, "logExpression", lineTest)
	if err != nil {
		z.lose(at, label, err.Error())
		return
	}
	containers, err := z.expression(a, "containerExpression", containerTest)
	if err != nil {
		z.lose(at, label, err.Error())
		return
	}
	var notes []string
	var rules []rule.Rule
	for _, c := range containers {
		for _, l := range lines {
			if len(rules) >= maxWays {
				z.lose(at, label, fmt.Sprintf("it has more than %d ways to be true", maxWays))
				return
			}
			rules = append(rules, l.with(c))
		}
	}
	for _, p := range z.pairs(a) {
		switch p.key {
		case "id", "name", "enabled", "dispatcherId", "logExpression", "containerExpression", "dispatcher", "metricExpression", "eventExpression", "triggerCount", "triggeredContainers", "lastTriggeredAt":
		case "cooldown":
			if seconds, _ := strconv.ParseInt(z.text(p.value), 10, 64); seconds > 0 {
				z.part(&notes, z.line(p.line), "cooldown", "Dozzle has it for metrics and events; rules have one of 5 minutes, see rules.md")
			}
		case "sampleWindow":
			if z.text(p.value) != "0" && z.text(p.value) != "" {
				z.part(&notes, z.line(p.line), p.key, "it is about metrics")
			}
		default:
			z.part(&notes, z.line(p.line), p.key, "it is no key of Dozzle's that is known")
		}
	}
	if len(rules) > 1 {
		notes = append(notes, fmt.Sprintf("The alert is %d rules: || between different things is one each.", len(rules)))
	}
	for _, c := range append(lines, containers...) {
		for _, n := range c.notes {
			if !slices.Contains(notes, n) {
				notes = append(notes, n)
			}
		}
	}
	came := false
	for _, r := range rules {
		r.Name = name
		if n := z.get(a, "enabled"); n != nil && !z.truth(n) {
			r.State = rule.Off
		}
		if made, ok := z.rule(at, label, r, notes); ok {
			came = true
			id := z.text(z.get(a, "dispatcherId"))
			if id == "" {
				id = z.text(z.get(z.get(a, "dispatcher"), "id"))
			}
			z.told[id] = append(z.told[id], made)
		}
	}
	if came {
		z.over++
	}
}

// conditions are what of a rule a way of an expression says.
type conditions struct {
	patterns []string // of which the line matches all
	ignore   []string
	where    []string
	stream   string
	names    []string
	images   []string
	labels   []string
	notes    []string
}

// with is a rule of what is said of lines and of containers.
func (c *conditions) with(containers *conditions) rule.Rule {
	r := rule.New()
	if len(c.patterns) > 0 {
		r.Pattern, r.All = c.patterns[0], c.patterns[1:]
	} else if len(c.where) == 0 {
		r.Pattern = "^" // any line
	}
	r.Ignore, r.Where = joined(c.ignore), c.where
	if c.stream != "" {
		r.Streams = c.stream
	}
	r.Names, r.Images, r.Labels = containers.names, containers.images, containers.labels
	return r
}

// expression reads one, and makes conditions of each of its ways.
func (z *dozzle) expression(a *yaml.Node, key string, test func(*conditions, *boolean) error) ([]*conditions, error) {
	text := z.text(z.get(a, key))
	if text == "" {
		return nil, fmt.Errorf("it has no %s", key)
	}
	e, err := parseExpr(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	ways, err := e.ways(false)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if len(ways) == 0 {
		return nil, fmt.Errorf("%s is never true", key)
	}
	var all []*conditions
	for _, way := range ways {
		c := &conditions{}
		for _, t := range way {
			if err := test(c, t); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", key, clean(t.original), err)
			}
		}
		all = append(all, c)
	}
	return merge(all), nil
}

// merge makes one of ways that differ in one pattern alone, or in one name.
func merge(all []*conditions) []*conditions {
	for i := 0; i < len(all); i++ {
		for j := i + 1; j < len(all); j++ {
			a, b := all[i], all[j]
			same := slices.Equal(a.ignore, b.ignore) && (slices.Equal(a.where, b.where) || len(a.where)+len(b.where) == 2) && a.stream == b.stream && slices.Equal(a.images, b.images) && slices.Equal(a.labels, b.labels)
			switch {
			case !same:
				continue
			case slices.Equal(a.where, b.where) && len(a.patterns) == 1 && len(b.patterns) == 1 && len(a.names)+len(b.names) == 0:
				a.patterns[0] = apart(a.patterns[0]) + "|" + apart(b.patterns[0])
			case len(a.patterns)+len(b.patterns)+len(a.names)+len(b.names) == 0 && len(a.where) == 1 && len(b.where) == 1 && oneOf(a, b):
			case slices.Equal(a.where, b.where) && len(a.names) > 0 && len(b.names) > 0 && len(a.patterns)+len(b.patterns) == 0:
				a.names = append(a.names, b.names...)
			default:
				continue
			}
			all = slices.Delete(all, j, j+1)
			j--
		}
	}
	return all
}

// oneOf makes one condition of two that say that the same field is one thing, or another.
func oneOf(a, b *conditions) bool {
	path, value, _ := strings.Cut(a.where[0], " = ")
	if before, values, listed := strings.Cut(a.where[0], " in ("); listed {
		path, value = before, strings.TrimSuffix(values, ")")
	}
	other, ok := strings.CutPrefix(b.where[0], path+" = ")
	if !ok || value == "" {
		return false
	}
	a.where[0] = path + " in (" + value + ", " + other + ")"
	return true
}

// apart keeps the flags of an expression to itself.
func apart(pattern string) string {
	if strings.Contains(pattern, "(?") {
		return "(?:" + pattern + ")"
	}
	return pattern
}

var errNoCounterpart = errors.New("it has no counterpart")

// textual is a test of a text as an expression that the text matches.
func textual(op, value string, fold bool) (string, error) {
	quoted := regex.Quote(value, fold)
	flag, bare := "", quoted
	if strings.HasPrefix(quoted, "(?i)") {
		flag, bare = "(?i)", quoted[4:]
	}
	switch op {
	case "==":
		return flag + "^" + bare + "$", nil
	case "contains":
		return quoted, nil
	case "startsWith":
		return flag + "^" + bare, nil
	case "endsWith":
		return flag + bare + "$", nil
	case "matches":
		if _, err := syntax.Parse(value, syntax.Perl); err != nil { // expr-lang's are Go's
			return "", fmt.Errorf("its expression is none: %w", err)
		}
		if fold {
			return "", errNoCounterpart
		}
		return value, nil
	}
	return "", errNoCounterpart
}

// lineTest adds a test of a line.
func lineTest(c *conditions, t *boolean) error {
	op, not := t.op, t.not
	if op == "!=" {
		op, not = "==", !not
	}
	if t.left.kind != 'p' {
		return errNoCounterpart
	}
	switch name := t.left.path[0]; {
	case name == "message" && len(t.left.path) == 1:
		return c.message(t, op, not)
	case name == "message":
		where, err := fieldTest(fieldPath(t.left.path[1:]), op, t, not)
		c.where = append(c.where, where)
		return err
	case name == "level" && len(t.left.path) == 1:
		if op != "==" && op != "in" || t.left.fn == "upper" {
			return errNoCounterpart
		}
		for _, v := range append(t.right.values, t.right) {
			if v.kind != 'l' && !slices.Contains([]string{"trace", "debug", "info", "warn", "warning", "error", "fatal", "critical"}, v.text) {
				return fmt.Errorf("the level %q isn't known", v.text)
			}
		}
		where, err := fieldTest("level", op, t, not)
		c.where = append(c.where, where)
		c.note("Levels are told as rules.md says, which may be another one than Dozzle's guess.")
		return err
	case name == "stream" && len(t.left.path) == 1 && op == "==" && t.right.kind == 's' && (t.right.text == "stdout" || t.right.text == "stderr"):
		stream := t.right.text
		if not {
			stream = map[string]string{"stdout": "stderr", "stderr": "stdout"}[stream]
		}
		if c.stream != "" && c.stream != stream {
			return errors.New("it is about both streams at once")
		}
		c.stream = stream
		return nil
	}
	return errNoCounterpart
}

func (c *conditions) note(s string) {
	if !slices.Contains(c.notes, s) {
		c.notes = append(c.notes, s)
	}
}

// message adds a test of the line as a text.
func (c *conditions) message(t *boolean, op string, not bool) error {
	fold := false
	switch {
	case t.right.kind != 's':
		return errNoCounterpart
	case t.left.fn == "lower":
		if fold = true; t.right.text != strings.ToLower(t.right.text) {
			return errors.New("it is never true: the text has capital letters")
		}
	case t.left.fn == "upper":
		if fold = true; t.right.text != strings.ToUpper(t.right.text) {
			return errors.New("it is never true: the text has small letters")
		}
	}
	pattern, err := textual(op, t.right.text, fold)
	if not {
		c.ignore = append(c.ignore, pattern)
	} else {
		c.patterns = append(c.patterns, pattern)
	}
	return err
}

// fieldPath is a path as conditions of logscan have it.
func fieldPath(path []string) string {
	parts := make([]string, len(path))
	for i, p := range path {
		plain := p != "" && (i > 0 || len(path) > 1 || p != "level")
		for j := range len(p) {
			plain = plain && isNameByte(p[j])
		}
		if parts[i] = p; !plain {
			parts[i] = quotedText(p)
		}
	}
	return strings.Join(parts, ".")
}

func quotedText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// fieldTest is a condition on a field.
func fieldTest(path, op string, t *boolean, not bool) (string, error) {
	if t.left.fn != "" {
		return "", errNoCounterpart
	}
	value := t.right.text
	switch t.right.kind {
	case 's':
		value = quotedText(value)
	case '0':
		switch {
		case op == "==" && !not:
			return path + " missing", nil
		case op == "==":
			return path + " exists", nil
		}
		return "", errNoCounterpart
	case 'p':
		return "", errNoCounterpart
	}
	switch op {
	case "==":
		return path + map[bool]string{false: " = ", true: " != "}[not] + value, nil
	case "<", "<=", ">", ">=":
		if t.right.kind != 'n' {
			return "", errNoCounterpart
		}
		if not {
			op = map[string]string{"<": ">=", "<=": ">", ">": "<=", ">=": "<"}[op]
		}
		return path + " " + op + " " + value, nil
	case "in":
		var values []string
		for _, v := range t.right.values {
			switch v.kind {
			case 's':
				values = append(values, quotedText(v.text))
			case 'n', 'b':
				values = append(values, v.text)
			default:
				return "", errNoCounterpart
			}
		}
		if len(values) == 0 || not {
			return "", errNoCounterpart
		}
		return path + " in (" + strings.Join(values, ", ") + ")", nil
	}
	if t.right.kind != 's' {
		return "", errNoCounterpart
	}
	pattern, err := textual(op, t.right.text, false)
	return path + map[bool]string{false: " ~ ", true: " !~ "}[not] + pattern, err
}

// containerTest adds a test of a container.
func containerTest(c *conditions, t *boolean) error {
	op, not := t.op, t.not
	if op == "!=" {
		op, not = "==", !not
	}
	if t.left.kind == 's' && op == "in" && t.right.kind == 'p' && slices.Equal(t.right.path, []string{"labels"}) && !not {
		return add(&c.labels, t.left.text)
	}
	if t.left.kind != 'p' || t.left.fn != "" {
		return errNoCounterpart
	}
	switch name := t.left.path[0]; {
	case name == "state" && len(t.left.path) == 1 && op == "==" && t.right.text == "running" && !not:
		return nil // what writes does run
	case name == "labels" && len(t.left.path) == 2:
		key := t.left.path[1] + "="
		if op == "==" && not && (t.right.kind == '0' || t.right.kind == 's' && t.right.text == "") {
			c.labels = append(c.labels, key+"?*")
			return globbed(key)
		}
		g, err := glob(op, t.right, not)
		if err != nil {
			return err
		}
		c.labels = append(c.labels, key+g[0])
		if len(g) > 1 {
			return errNoCounterpart
		}
		return globbed(key)
	case (name == "name" || name == "image") && len(t.left.path) == 1:
		to := &c.names
		if name == "image" {
			to = &c.images
		}
		if len(*to) > 0 {
			return errors.New("a rule has one list of names, any of which will do, and not two")
		}
		g, err := glob(op, t.right, not)
		*to = g
		return err
	}
	return errNoCounterpart
}

// globbed says why a text can't stand in a glob.
func globbed(text string) error {
	if strings.ContainsAny(text, "*?,") {
		return errors.New("its text has *, ? or a comma, which means something else here")
	}
	return nil
}

func add(to *[]string, text string) error {
	*to = append(*to, text)
	return globbed(text)
}

// glob is a test of a text as globs, any of which fits.
func glob(op string, right term, not bool) (all []string, err error) {
	if not {
		return nil, errors.New("rules have no names that they are not for")
	}
	if op == "in" && right.kind == 'l' {
		for _, v := range right.values {
			if v.kind != 's' {
				return nil, errNoCounterpart
			}
			if err := globbed(v.text); err != nil {
				return nil, err
			}
			all = append(all, v.text)
		}
		if len(all) == 0 {
			return nil, errNoCounterpart
		}
		return all, nil
	}
	if right.kind != 's' || right.text == "" {
		return nil, errNoCounterpart
	}
	if err := globbed(right.text); err != nil {
		return nil, err
	}
	switch op {
	case "==":
		return []string{right.text}, nil
	case "contains":
		return []string{"*" + right.text + "*"}, nil
	case "startsWith":
		return []string{right.text + "*"}, nil
	case "endsWith":
		return []string{"*" + right.text}, nil
	}
	return nil, errNoCounterpart
}

// dispatchers makes triggers of what tells the alerts that came over.
func (z *dozzle) dispatchers(n *yaml.Node) {
	for _, w := range z.items(n) {
		at, name, id := z.at(w), z.text(z.get(w, "name")), z.text(z.get(w, "id"))
		label := "destination " + strconv.Quote(name)
		rules := z.told[id]
		switch kind := z.text(z.get(w, "type")); {
		case kind != "webhook":
			z.lose(at, label, "it is of type "+clean(kind)+", which logscan doesn't know")
			continue
		case len(rules) == 0:
			z.lose(at, label, "no alert that came over uses it")
			continue
		}
		if name == "" {
			name = "dozzle"
		}
		t := trigger.Fields.New()
		t.Name = name
		var err error
		if t.ActionURL, err = z.webhook(z.text(z.get(w, "url")), name, at); err != nil {
			z.lose(at, label, err.Error())
			continue
		}
		var notes []string
		for _, p := range z.pairs(w) {
			switch p.key {
			case "id", "name", "type", "url", "prefix", "expiresAt":
			case "template":
				if z.text(p.value) != "" {
					z.part(&notes, z.line(p.line), "template", "what is sent is what the service takes, or logscan's own, see webhooks.md; title and body are templates of their own, see triggers.md")
				}
			case "headers":
				if len(z.pairs(p.value)) > 0 {
					z.part(&notes, z.line(p.line), "headers", "webhooks have logscan's headers, and a signature")
				}
			default:
				z.part(&notes, z.line(p.line), p.key, "it is no key of Dozzle's that is known")
			}
		}
		if made, ok := z.trigger(at, label, t, notes); ok {
			z.tells(rules, []string{made})
		}
	}
}

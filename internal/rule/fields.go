package rule

import (
	"errors"
	"fmt"

	"logscan/internal/event"
	"logscan/internal/fields"
	"logscan/internal/incident"
)

// Fields are all that can be said about a rule.
var Fields = fields.NewTable("rule", []fields.Field[Rule]{
	{Name: "name", Flag: "NAME", Doc: "What the rule is called", Check: func(r Rule) error { return CheckName(r.Name) }},
	{Name: "description", Flag: "description", Default: "", Doc: "What it means, for those who read the events", Check: func(r Rule) error { return CheckText(r.Description, MaxDescription) }},
	{Name: "pattern", Flag: "PATTERN", Default: "", Doc: "A regular expression (RE2 syntax) that matches anywhere in a line; a rule has one, or all, or where", Check: checkPattern},
	{Name: "all", Flag: "all", Kind: fields.Several, Default: []string{}, None: "none", Doc: "Further regular expressions, each of which a line has to match too", Check: checkAll},
	{Name: "ignore", Flag: "ignore", Kind: fields.Several, Default: []string{}, None: "none", Doc: "Regular expressions: a line that any of them matches is no match", Check: func(r Rule) error { return checkPatterns(r.Ignore) }},
	{Name: "where", Flag: "where", Kind: fields.Several, Default: []string{}, None: "none", Doc: "Conditions on fields of the line, such as 'status >= 500' or 'level = error', all of which it has to fulfil", Check: checkWhere},
	{Name: "record", Flag: "record", Kind: fields.Bool, Default: false, Doc: "Whether pattern, all, ignore and where are about a record as a whole, such as a stack trace, instead of about a line"},
	{Name: "record_start", Flag: "record-start", Default: "", None: "by their form", Doc: "A regular expression that the first line of each record matches", Check: checkRecordStart},
	{Name: "severity", Flag: "severity", Default: "warn", Values: event.Names(event.Severities()), Doc: "Severity of the events"},
	{Name: "streams", Flag: "stream", Default: "all", Values: Streams, Doc: "Stream to watch"},
	{Name: "cooldown_seconds", Flag: "cooldown", Kind: fields.Duration, Default: int64(300), Doc: "After a hit, only count further ones of that container and shape for so long (0 for none)", Check: func(r Rule) error { return CheckSeconds(r.CooldownSeconds) }},
	{Name: "cooldown_by", Flag: "cooldown-by", Default: ByShape, Values: []string{ByShape, ByRule}, Doc: "What the cooldown is for: lines of one shape, so that what is another trouble isn't held back, or all lines that match"},
	{Name: "state", Flag: "state", Default: On, Values: States, Doc: "Whether it is switched on; an override that is off takes the global rule away in its workload; what a rule in shadow finds is recorded, and nobody is told"},
	{Name: "enabled", Flag: "disabled", Kind: fields.Switch, Default: true, Of: "state", Doc: "Whether the state is another one than off; true switches on what is off, and leaves a rule in shadow there",
		Usage: "The same as --state off"},
	{Name: "workload_id", Flag: "workload", Kind: fields.Workload, Default: "", None: "all", Doc: "Only for containers of this workload", Check: func(r Rule) error { return CheckText(r.WorkloadID, MaxWorkload) }},
	{Name: "overrides_id", Flag: "overrides", Kind: fields.Override, Default: int64(0), Doc: "Replace this global rule, given by name or id, in the workload; switched off, it takes it away there", Check: func(r Rule) error {
		if r.OverridesID < 0 {
			return errors.New("must be a rule's id, or 0 for none")
		}
		return nil
	}},
	{Name: "images", Flag: "image", Kind: fields.Listed, Default: "", None: "all", Doc: "Only for containers of these images, as docker ps shows them, where * is any text", Check: func(r Rule) error { return CheckGlobs(r.Images) }},
	{Name: "names", Flag: "container", Kind: fields.Listed, Default: "", None: "all", Doc: "Only for containers with these names, where * is any text", Check: func(r Rule) error { return CheckGlobs(r.Names) }},
	{Name: "labels", Flag: "label", Kind: fields.Listed, Default: "", None: "all", Doc: "Only for containers with all of these labels, KEY or KEY=VALUE, where * is any text", Check: func(r Rule) error { return CheckLabels(r.Labels) }},
	{Name: "kind", Flag: "kind", Default: KindLine, Values: Kinds, Doc: "What matches add up to, where of line each match is a hit, of count so many within a time, of absent that there is none for a time, of new the first of its shape in a workload, of sequence that steps are done in order, or aren't, of run a container's run that isn't as it should be, of change that a value is another one than before, of ratio that they are more than a share of other lines, and of spike far more than usual", Check: checkKind},
	{Name: "by", Flag: "by", Kind: fields.Listed, Default: "", None: "none", Doc: "Keep matches apart by the values of these: groups of the pattern, such as $user or $1, and fields, such as client.ip; each has incidents of its own", Check: checkBy},
	{Name: "per", Flag: "per", Default: PerContainer, Values: []string{PerContainer, PerWorkload, PerRule}, Doc: "Whose matches add up", Check: checkPer},
	{Name: "at_least", Flag: "at-least", Kind: fields.Count, Default: int64(0), None: "none", Doc: "Of kind count: so many matches are a hit; of ratio: fewer lines in a window say nothing, by default 100; of spike: no more matches than these are a hit, whatever is usual, by default 20", Check: checkAtLeast},
	{Name: "within_seconds", Flag: "within", Kind: fields.Duration, Default: int64(0), Doc: "Of kinds count, sequence and run: within so long", Check: checkWithin},
	{Name: "distinct", Flag: "distinct", Default: "", None: "none", Doc: "Of kind count: count the different values of this group of the pattern, such as $user, or field, instead of the matches", Check: checkDistinct},
	{Name: "for_seconds", Flag: "for", Kind: fields.Duration, Default: int64(0), Doc: "Of kind absent: no match for so long is a hit", Check: checkFor},
	{Name: "grace_seconds", Flag: "grace", Kind: fields.Duration, Default: int64(60), Doc: "Of kind absent: wait so much longer behind the start of a container", Check: func(r Rule) error { return CheckSeconds(r.GraceSeconds) }},
	{Name: "arm", Flag: "arm", Default: ArmFirst, Values: []string{ArmFirst, ArmStart}, Doc: "Of kind absent: wait from the first match on, or from the start of a container", Check: checkArm},
	{Name: "when_stopped", Flag: "when-stopped", Default: StoppedPause, Values: []string{StoppedPause, StoppedHit}, Doc: "Of kind absent: where no container runs, don't wait, or wait all the same", Check: checkWhenStopped},
	{Name: "active", Flag: "active", Default: "", None: "always", Doc: "Of kind absent: when a match is waited for: days, hours and a time zone, such as Mon-Fri 08:00-18:00 Europe/Berlin; at the beginning of the hours it is waited anew", Check: checkActive},
	{Name: "forget_seconds", Flag: "forget", Kind: fields.Duration, Default: DefaultForget, Doc: "Of kind new: a shape that was not seen for so long is new again", Check: checkForget},
	{Name: "at_most", Flag: "at-most", Kind: fields.Count, Default: DefaultAtMost, Doc: "Of kind new: so many hits an hour; the others are counted together", Check: checkAtMost},
	{Name: "steps", Flag: "step", Kind: fields.Several, Default: []string{}, None: "none", Doc: "Of kind sequence: a pattern for each step, in order, where $name in a later one stands for what the group of that name matched in the first", Check: checkSteps},
	{Name: "hit", Flag: "hit", Default: HitMissing, Values: []string{HitMissing, HitComplete}, Doc: "Of kind sequence: a hit is the first step where the last one is missing, or that all are done", Check: checkHit},
	{Name: "slower_than_seconds", Flag: "slower-than", Kind: fields.Duration, Default: int64(0), Doc: "Of kind sequence, hit complete: only where the steps took longer than this", Check: checkSlowerThan},
	{Name: "until", Flag: "until", Kind: fields.Several, Default: []string{}, None: "none", Doc: "Of kind sequence: behind a line that one of these patterns matches nothing is waited for any more", Check: checkUntil},
	{Name: "on_stop", Flag: "on-stop", Default: StopWait, Values: []string{StopWait, StopForget, StopHit}, Doc: "Of kind sequence: where the container ends, wait all the same, wait no longer, or have what isn't done be missing at once", Check: checkOnStop},
	{Name: "field", Flag: "field", Default: "", None: "none", Doc: "Of kind change: the group of the pattern, such as $version, or field whose value is looked at", Check: checkField},
	{Name: "must", Flag: "must", Kind: fields.Several, Default: []string{}, None: "none", Doc: "Of kind run: some line of each run has to match this pattern", Check: checkMust},
	{Name: "must_not", Flag: "must-not", Kind: fields.Several, Default: []string{}, None: "none", Doc: "Of kind run: no line of a run may match this pattern", Check: checkMustNot},
	{Name: "min_lines", Flag: "min-lines", Kind: fields.Count, Default: int64(0), None: "none", Doc: "Of kind run: each run has to have at least so many lines, whatever they are", Check: checkMinLines},
	{Name: "max_duration_seconds", Flag: "max-duration", Kind: fields.Duration, Default: int64(0), Doc: "Of kind run: a run may take so long (0 for any time)", Check: checkMaxDuration},
	{Name: "restarts", Flag: "restarts", Kind: fields.Count, Default: int64(0), None: "none", Doc: "Of kind run: so many starts of a workload's containers, within the time of --within, are a hit", Check: checkRestarts},
	{Name: "of", Flag: "of", Default: "", None: "none", Doc: "Of kind ratio: the lines of which matches are a share, by a pattern, or lines that begin with all, ignore or where", Check: checkOf},
	{Name: "over", Flag: "over", Default: "", None: "none", Doc: "Of kind ratio: a larger share than this is a hit, such as 5% or 0.05", Check: checkOver},
	{Name: "window_seconds", Flag: "window", Kind: fields.Duration, Default: DefaultWindow, Doc: "Of kinds ratio and spike: how long the lines are from which the share is told, or that are counted", Check: checkWindow},
	{Name: "factor", Flag: "factor", Default: DefaultFactor, Doc: "Of kind spike: more than so many times the usual is a hit", Check: checkFactor},
	{Name: "clear", Flag: "clear", Kind: fields.Several, Default: []string{}, None: "none", Doc: "A line that one of these patterns matches ends what is open; $name stands for what the group of that name matched, of those in by", Check: func(r Rule) error { return checkParts(r, "clear") }},
	{Name: "resolve_after_seconds", Flag: "resolve-after", Kind: fields.Duration, Default: int64(incident.Defaults.ResolveAfter.Seconds()), Doc: "An incident is over when there was no hit for so long (0 for never)", Check: func(r Rule) error { return CheckSeconds(r.ResolveAfter) }},
	{Name: "repeat_seconds", Flag: "repeat", Kind: fields.Duration, Default: int64(incident.Defaults.Repeat.Seconds()), Doc: "An open incident that nobody acknowledged is told again after so long, then after twice as long each time, up to a day (0 for never)", Check: func(r Rule) error { return CheckSeconds(r.Repeat) }},
	{Name: "tell_resolved", Flag: "tell-resolved", Kind: fields.Bool, Default: false, Doc: "Whether the end of an incident is told too"},
	{Name: "before", Flag: "before", Kind: fields.Count, Default: int64(DefaultContext), Doc: "So many lines of the container from before the line, or its record, are kept with an event", Check: func(r Rule) error { return checkContext(r.Before) }},
	{Name: "after", Flag: "after", Kind: fields.Count, Default: int64(DefaultContext), Doc: "So many lines from after it are kept too, of those of 10 seconds", Check: func(r Rule) error { return checkContext(r.After) }},
	{Name: "siblings_seconds", Flag: "siblings", Kind: fields.Duration, Default: int64(0), Doc: "Lines of the other containers of its compose project, or stack, are kept too that were written within so long before or after it (0 for none)", Check: checkSiblings},
	{Name: "triggers", Flag: "trigger", Kind: fields.Listed, Default: "", None: "all that are for it", Doc: "Tell only triggers with these names, as far as they are for it", Check: func(r Rule) error { return checkTriggers(r.Triggers) }},
}...).Settled(settle)

// maxTriggers is how many triggers a rule may name.
const maxTriggers = 16

func checkTriggers(names []string) error {
	if len(names) > maxTriggers {
		return fmt.Errorf("there may be at most %d", maxTriggers)
	}
	for _, name := range names {
		if err := CheckName(name); err != nil {
			return err
		}
	}
	return nil
}

// Table implements fields.Defined.
func (Rule) Table() *fields.Table[Rule] { return Fields }

// New returns a rule with every default.
func New() Rule { return Fields.New() }

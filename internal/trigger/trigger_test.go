package trigger

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/fields"
	"logscan/internal/fields/fieldstest"
	"logscan/internal/rule"
)

// What is wrong with a trigger is refused by the name of its field, and the
// secret is never repeated.
func TestValidate(t *testing.T) {
	whsec := func(n int) string {
		return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", n)))
	}
	for name, tt := range map[string]struct {
		change func(*Trigger)
		field  string // "" = accepted
	}{
		"as it is":            {func(*Trigger) {}, ""},
		"no name":             {func(t *Trigger) { t.Name = " " }, "name"},
		"name not printable":  {func(t *Trigger) { t.Name = "a\x1b[31m" }, "name"},
		"no URL":              {func(t *Trigger) { t.ActionURL = "" }, "action_url"},
		"long URL":            {func(t *Trigger) { t.ActionURL += strings.Repeat("x", MaxURL) }, "action_url"},
		"critical":            {func(t *Trigger) { t.Severities = event.Severities() }, ""},
		"no severity":         {func(t *Trigger) { t.Severities = []event.Severity{"loud"} }, "severities"},
		"no source":           {func(t *Trigger) { t.Sources = []event.Source{"docker"} }, "sources"},
		"broken expression":   {func(t *Trigger) { t.MessageRegex = "(" }, "message_regex"},
		"long secret":         {func(t *Trigger) { t.ActionSecret = strings.Repeat("s", MaxSecret+1) }, "action_secret"},
		"any text":            {func(t *Trigger) { t.ActionSecret = "any text" }, ""},
		"the shortest key":    {func(t *Trigger) { t.ActionSecret = whsec(24) }, ""},
		"the longest key":     {func(t *Trigger) { t.ActionSecret = whsec(64) }, ""},
		"key too short":       {func(t *Trigger) { t.ActionSecret = whsec(23) }, "action_secret"},
		"key too long":        {func(t *Trigger) { t.ActionSecret = whsec(65) }, "action_secret"},
		"key without its end": {func(t *Trigger) { t.ActionSecret = strings.TrimRight(whsec(32), "=") }, "action_secret"},
		"no base64":           {func(t *Trigger) { t.ActionSecret = "whsec_no base64 !" }, "action_secret"},
		"prefix alone":        {func(t *Trigger) { t.ActionSecret = "whsec_" }, "action_secret"},
		"mode":                {func(t *Trigger) { t.Mode = "" }, "mode"},
		"least severity":      {func(t *Trigger) { t.MinSeverity = event.Error }, ""},
		"no least severity":   {func(t *Trigger) { t.MinSeverity = "loud" }, "min_severity"},
		"globs":               {func(t *Trigger) { t.Rules, t.Workloads = []string{"oom*", "a b"}, []string{"shop/*"} }, ""},
		"long globs":          {func(t *Trigger) { t.Rules = []string{strings.Repeat("x", rule.MaxGlobs+1)} }, "rules"},
		"globs not printable": {func(t *Trigger) { t.Workloads = []string{"a\x1b[31m"} }, "workloads"},
		"notices":             {func(t *Trigger) { t.Notices = []string{"opened", "resolved"} }, ""},
		"no notice":           {func(t *Trigger) { t.Notices = []string{"closed"} }, "notices"},
		"negative time":       {func(t *Trigger) { t.UnacknowledgedForSeconds = -1 }, "unacknowledged_for_seconds"},
		"negative wait":       {func(t *Trigger) { t.GroupWaitSeconds = -1 }, "group_wait_seconds"},
		"more than a year":    {func(t *Trigger) { t.GroupIntervalSeconds = 366 * 86400 }, "group_interval_seconds"},
		"no group":            {func(t *Trigger) { t.GroupBy = "" }, "group_by"},
		"long hours":          {func(t *Trigger) { t.Active = strings.Repeat(" ", MaxSchedule) + "Mon" }, "active"},
		"long title":          {func(t *Trigger) { t.Title = strings.Repeat("x", MaxTemplate+1) }, "title"},
		"title of two lines":  {func(t *Trigger) { t.Title = "a\nb" }, "title"},
		"body of two lines":   {func(t *Trigger) { t.Body = "a\n\tb" }, ""},
		"body not printable":  {func(t *Trigger) { t.Body = "a\x1b[31m" }, "body"},
		"long body":           {func(t *Trigger) { t.Body = strings.Repeat("\n", MaxTemplate+1) }, "body"},
	} {
		tr := Fields.New()
		tr.Name, tr.ActionURL = "ops", "https://h.example.com/"
		tt.change(&tr)
		err := Fields.Validate(tr)
		var fe *fields.Error
		if tt.field == "" && err != nil || tt.field != "" && (!errors.As(err, &fe) || fe.Field != tt.field) {
			t.Errorf("%s: %v, want field %q", name, err, tt.field)
		}
		if s := tr.ActionSecret; err != nil && len(s) > 8 && strings.Contains(err.Error(), s[6:]) {
			t.Errorf("%s: the secret is in: %v", name, err)
		}
		if strings.HasPrefix(tr.ActionSecret, "whsec_") {
			renamed := tr
			renamed.Name = "other"
			if err := Fields.ValidateChange(tr, renamed); err != nil {
				t.Errorf("%s: stored already, but refused: %v", name, err)
			}
		}
	}
}

func TestFields(t *testing.T) {
	fieldstest.Table(t, Fields, func(t *Trigger) {
		t.ID, t.CreatedAt, t.Name, t.ActionURL = 5, time.Unix(7, 0), "n", "https://h.example.com/"
	}, map[string]string{
		"action_url": `"https://other.example.com/"`, "action_secret": `"s3cr3t"`,
		"at_most": `"40/h"`, "active": `"Mon-Fri"`, "digest": `"0 8 * * *"`, "rules": `"a,b*"`,
	})
}

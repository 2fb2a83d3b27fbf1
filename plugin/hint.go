package main

import (
	"fmt"
	"strconv"

	"logscan/internal/api"
)

// printHint says which share of lines a rule matches. It is for people, who see what is
// printed beside the output.
func (c *cli) printHint(h *api.Hint) {
	if h != nil {
		fmt.Fprintln(c.err, hintText(*h))
	}
}

func hintText(h api.Hint) string {
	of, text := "the lines of the last hour", ""
	if h.Sample {
		of = "a sample of the newest lines of the last hour"
	}
	switch {
	case h.Lines == 0 && h.Sample:
		return "There was no time to try it on the lines of the last hour."
	case h.Lines == 0:
		return "The containers that it is for wrote no line in the last hour."
	case h.Matched == 0:
		text = fmt.Sprintf("Matches none of %s (%s lines).", of, thousands(h.Lines))
	default:
		text = fmt.Sprintf("Matches %s of %s (%s of %s lines).", percent(h.Matched, h.Lines), of, thousands(h.Matched), thousands(h.Lines))
	}
	if h.GivenUp > 0 {
		text += fmt.Sprintf(" To check %s of them would take too much work.", thousands(h.GivenUp))
	}
	return text
}

// percent is a share as people say it; one that is not all is less than 100 %.
func percent(n, of int64) string {
	share := 100 * float64(n) / float64(of)
	switch {
	case n == of:
		return "100 %"
	case share > 99:
		return "more than 99 %"
	case share >= 10:
		return fmt.Sprintf("%.0f %%", share)
	case share >= 0.1:
		return fmt.Sprintf("%.1f %%", share)
	}
	return "less than 0.1 %"
}

// thousands is a number with commas.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for k := len(s) - 3; k > 0; k -= 3 {
		s = s[:k] + "," + s[k:]
	}
	return s
}

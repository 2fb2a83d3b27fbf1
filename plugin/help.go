package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/spf13/cobra"

	"logscan/internal/docs"
)

// helpCommand shows help on the commands below top, and the manual.
func (c *cli) helpCommand(top *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND | TOPIC]", Short: "Show help on a command, or a page of the manual",
		Long: `Show help on a command, or a page of the manual: as a terminal can show it, or as
Markdown where it is piped elsewhere.`,
		Example: `  docker logscan help rule add
  docker logscan help webhooks
  docker logscan help settings | less`,
		ValidArgsFunction: func(_ *cobra.Command, a []string, _ string) (out []string, _ cobra.ShellCompDirective) {
			at, rest, err := top.Find(a)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			for _, sub := range at.Commands() {
				if sub.IsAvailableCommand() {
					out = append(out, sub.Name()+"\t"+sub.Short)
				}
			}
			if at == top {
				for _, t := range docs.Topics() {
					out = append(out, t.Name+"\t"+plainText(t.About))
				}
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, a []string) error {
			show := func(cmd *cobra.Command) error {
				cmd.InitDefaultHelpFlag()
				return cmd.Help()
			}
			if len(a) == 0 {
				return show(top)
			}
			page, isTopic := "", false
			if len(a) == 1 {
				page, isTopic = docs.Page(a[0])
			}
			cmd, rest, err := top.Find(a)
			isCommand := err == nil && len(rest) == 0 && cmd != top
			switch {
			case !isCommand && !isTopic && err == nil && cmd != top:
				return groupRun(cmd, rest)
			case !isCommand && !isTopic:
				return noTopic(top, a[0])
			case !isTopic:
				return show(cmd)
			}
			// A topic may have a command's name; its alias is less than a topic.
			if isCommand && cmd.Name() == a[0] {
				if err := show(cmd); err != nil {
					return err
				}
				fmt.Fprintln(c.out)
			}
			return c.showPage(page)
		},
	}
}

func (c *cli) showPage(page string) error {
	if c.tty {
		page = renderMarkdown(page, c.width, c.color)
	}
	_, err := io.WriteString(c.out, page)
	return err
}

// noTopic names what is nearest to a name that there isn't.
func noTopic(top *cobra.Command, name string) error {
	var known []string
	for _, t := range docs.Topics() {
		known = append(known, t.Name)
	}
	for _, cmd := range top.Commands() {
		if cmd.IsAvailableCommand() && !slices.Contains(known, cmd.Name()) {
			known = append(known, cmd.Name())
		}
	}
	distance := func(to string) int { return levenshtein.Distance(name, to, nil) }
	nearest := slices.MinFunc(known, func(a, b string) int { return distance(a) - distance(b) })
	return &usageError{top, fmt.Errorf("there is no command or topic %q; did you mean %s?", name, nearest)}
}

// topicList is the part of the top command's help about the manual.
func topicList() string {
	var b strings.Builder
	for _, t := range docs.Topics() {
		fmt.Fprintf(&b, "\n  %-15s %s", t.Name, plainText(t.About))
	}
	return b.String()
}

// plainText takes the marks of code out of a line of Markdown.
func plainText(s string) string { return strings.ReplaceAll(s, "`", "") }

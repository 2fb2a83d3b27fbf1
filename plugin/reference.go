package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// referenceCommand is for `go generate ./internal/docs`.
func (c *cli) referenceCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reference", Short: "Print the reference of all commands as Markdown", Hidden: true, Args: args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(c.out, reference())
			return err
		},
	}
}

// reference describes all commands as the manual shows them, those that hold
// others aside.
func reference() string {
	top, _, err := (&cli{plugin: true}).root().Find([]string{"logscan"})
	if err != nil {
		panic(err) // there is no such tree
	}
	var b strings.Builder
	b.WriteString("### Options of all commands\n\n")
	optionTable(&b, top.PersistentFlags())
	eachCommand(top, func(cmd *cobra.Command) {
		if cmd.Annotations[groupKey] != "" {
			return
		}
		fmt.Fprintf(&b, "\n### %s\n\n", strings.TrimPrefix(cmd.CommandPath(), "docker "))
		about := cmd.Long
		if about == "" {
			about = cmd.Short + "."
		}
		b.WriteString(aboutText(about))
		fmt.Fprintf(&b, "\n    %s\n", cmd.UseLine())
		if len(cmd.Aliases) > 0 {
			fmt.Fprintf(&b, "\nAlso called `%s`.\n", strings.Join(cmd.Aliases, "`, `"))
		}
		if cmd.HasAvailableLocalFlags() {
			b.WriteByte('\n')
			optionTable(&b, cmd.LocalFlags())
		}
		if cmd.HasExample() {
			fmt.Fprintf(&b, "\nFor example:\n\n")
			for _, line := range strings.Split(cmd.Example, "\n") {
				b.WriteString(strings.TrimRight("  "+line, " ") + "\n")
			}
		}
	})
	return b.String()
}

// eachCommand visits the commands below one that users see, by name.
func eachCommand(cmd *cobra.Command, visit func(*cobra.Command)) {
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			visit(sub)
			eachCommand(sub, visit)
		}
	}
}

// aboutText is a command's description as Markdown: indented lines are a block.
func aboutText(s string) string {
	var b strings.Builder
	for _, line := range strings.Split(strings.TrimSpace(s), "\n") {
		switch {
		case strings.HasPrefix(line, "  "):
			line = "  " + line
		default:
			line = strings.NewReplacer("*", `\*`, "<", `\<`).Replace(line)
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// optionTable lists flags.
func optionTable(b *strings.Builder, flags *pflag.FlagSet) {
	b.WriteString("| option | default | meaning |\n|---|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + "`, `" + name
		}
		if kind != "" {
			name += " " + kind
		}
		value := ""
		switch f.DefValue {
		case "", "false", "[]":
		default:
			value = "`" + f.DefValue + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, value, strings.ReplaceAll(usage, "|", `\|`))
	})
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"logscan/internal/api"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNoMatch     = 3
	exitInterrupted = 130
	exitBrokenPipe  = 141
)

// cli is one run of the command line.
type cli struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	tty      bool // out is a terminal
	errTTY   bool // so is err
	width    int  // columns that it has
	color    bool
	plugin   bool // run by docker, as docker-logscan
	serve    func(context.Context) error
	// docker runs a docker command for the Engine that this one is for, and returns
	// what it prints; nil: runDocker.
	docker func(ctx context.Context, args ...string) (string, error)

	engine engineOptions
	conn   *api.Client // made by client
}

// hint is an error with advice.
type hint struct {
	err error
	try string
}

func (h *hint) Error() string { return h.err.Error() }
func (h *hint) Unwrap() error { return h.err }

// advise makes an error with advice: what to try next.
func advise(try, format string, args ...any) error {
	return &hint{fmt.Errorf(format, args...), try}
}

// exitError ends the program with a code and without a message.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// usageError is a command used the wrong way; a nil cmd is the one that ran.
type usageError struct {
	cmd *cobra.Command
	err error
}

func (u *usageError) Error() string { return u.err.Error() }
func (u *usageError) Unwrap() error { return u.err }

// output is standard output. It keeps the first error of a write, so that none
// is overlooked.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// run executes one command line and returns the exit code.
func (c *cli) run(ctx context.Context, args []string) int {
	out := &output{w: c.out}
	c.out = out
	if c.docker == nil {
		c.docker = c.runDocker
	}
	cmd, err := c.execute(ctx, args)
	if c.conn != nil {
		c.conn.Close()
	}
	var code exitError
	var usage *usageError
	switch {
	case errors.Is(out.err, syscall.EPIPE):
		return exitBrokenPipe // whoever read has had enough
	case out.err != nil:
		c.report(out.err)
		return exitFailed
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case ctx.Err() != nil:
		return exitInterrupted
	}
	c.report(err)
	if !errors.As(err, &usage) {
		return exitFailed
	}
	if usage.cmd != nil {
		cmd = usage.cmd
	}
	use := cmd.UseLine()
	if cmd.Annotations[groupKey] != "" {
		use = cmd.CommandPath() + " COMMAND"
	}
	fmt.Fprintf(c.err, "Usage: %s\nSee '%s --help'.\n", use, cmd.CommandPath())
	return exitUsage
}

// execute runs the command that args name, and returns it.
func (c *cli) execute(ctx context.Context, args []string) (*cobra.Command, error) {
	if len(args) == 1 && args[0] == "docker-cli-plugin-metadata" {
		return nil, json.NewEncoder(c.out).Encode(map[string]string{
			"SchemaVersion":    "0.1.0",
			"Vendor":           "logscan",
			"Version":          version,
			"ShortDescription": "Watch container logs: rules, events, triggers",
		})
	}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	return root.ExecuteContextC(ctx)
}

// report prints an error, its advice, or each of several.
func (c *cli) report(err error) {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			c.report(e)
		}
		return
	}
	fmt.Fprintf(c.err, "Error: %s\n", clean(err.Error()))
	var advice *hint
	if !errors.As(err, &advice) {
		return
	}
	for i, line := range strings.Split(advice.try, "\n") {
		fmt.Fprintf(c.err, "%s%s\n", [2]string{"Try:   ", "       "}[min(i, 1)], clean(line))
	}
}

// root builds the command tree: `docker logscan …` or `logscan …`.
func (c *cli) root() *cobra.Command {
	top := group("logscan", "Watch container logs: rules, events, triggers",
		c.ruleCommand(), c.triggerCommand(), c.eventsCommand(), c.searchCommand(), c.tailCommand(), c.workloadCommand(),
		c.containerCommand(), c.incidentCommand(), c.silenceCommand(), c.deliveryCommand(), c.whyCommand(), c.uncoveredCommand(), c.drillCommand(), c.statsCommand(),
		c.importCommand(), c.applyCommand(), c.diffCommand(), c.validateCommand(), c.exportCommand(), c.schemaCommand(), c.packCommand(),
		c.tokenCommand(), c.versionCommand(), c.serveCommand(), c.referenceCommand())
	top.Long = topHelp
	top.Annotations[topicsKey] = topicList()
	help := c.helpCommand(top)
	top.PersistentFlags().StringVar(&c.engine.socket, "socket", "", "The plugin's control socket (default: asked of the Engine)")
	top.PersistentFlags().StringVar(&c.engine.api, "api", "", "Address of logscan's API, tcp://HOST:PORT (default: $LOGSCAN_HOST, or else the control socket)")
	top.PersistentFlags().StringVar(&c.engine.tokenFile, "token-file", "", `Read the API's token from a file, "-" for standard input (default: $LOGSCAN_TOKEN)`)
	top.PersistentFlags().StringVar(&c.engine.plugin, "plugin", "logscan", "Name of the plugin in the Engine")

	root := top
	if c.plugin {
		top.AddCommand(help)
		root = &cobra.Command{Use: "docker", Short: "Docker", Hidden: true, RunE: groupRun}
		root.AddCommand(top)
	} else {
		root.SetHelpCommand(help)
	}
	c.engine.dockerFlags(root.PersistentFlags(), c.plugin)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpTemplate(helpTemplate)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{cmd, err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	plainUse(root)
	return root
}

// plainUse keeps cobra from adding its own words to the usage lines.
func plainUse(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true
	for _, sub := range cmd.Commands() {
		plainUse(sub)
	}
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, RunE: groupRun, Args: cobra.ArbitraryArgs, Annotations: map[string]string{groupKey: "yes"}}
	cmd.AddCommand(commands...)
	return cmd
}

// groupKey marks the commands that group makes.
const groupKey = "group"

// groupRun shows help, or says that there is no such command.
func groupRun(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	cmd.SuggestionsMinimumDistance = min(2, len(args[0])/2) // of "ad", everything short is near
	err := fmt.Errorf("there is no command %q", cmd.CommandPath()+" "+args[0])
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		err = fmt.Errorf("%w; did you mean %s?", err, strings.Join(s, " or "))
	}
	return &usageError{cmd, err}
}

// args checks how many arguments there are; most < 0 is any number.
func args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		n := len(given)
		if n >= least && (most < 0 || n <= most) {
			return nil
		}
		count := func(n int) string {
			if n == 1 {
				return "1 argument"
			}
			return fmt.Sprintf("%d arguments", n)
		}
		want := count(least)
		switch {
		case least == 0 && most == 0:
			want = "no arguments"
		case most < 0:
			want = "at least " + want
		case least != most:
			want = fmt.Sprintf("%d to %s", least, count(most))
		}
		return &usageError{cmd, fmt.Errorf("%s takes %s, not %d", cmd.CommandPath(), want, n)}
	}
}

// name is how this program is called, for advice.
func (c *cli) name() string {
	if c.plugin {
		return "docker logscan"
	}
	return "logscan"
}

func (c *cli) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "serve", Short: "Run the plugin (the Engine does this)", Hidden: true, Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.serve(cmd.Context())
		},
	}
}

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the versions of this command and of the plugin", Args: args(0, 0),
		Example: `  docker logscan version`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintf(c.out, "Client: %s\n", version)
			client, err := c.client(cmd.Context())
			if err != nil {
				return err
			}
			h, err := client.Health(cmd.Context())
			if err != nil {
				return c.explain(err)
			}
			fmt.Fprintf(c.out, "Plugin: %s\n", clean(h.Version))
			return nil
		},
	}
}

const topHelp = `Watch container logs: rules, events, triggers

It speaks to the plugin over its control socket, as root, which it finds by
asking the Engine. From elsewhere it reaches a plugin that has the setting
LOGSCAN_LISTEN over TCP: LOGSCAN_HOST=tcp://HOST:PORT, or --api, says where, and
LOGSCAN_TOKEN, or --token-file, holds the token (docker logscan token shows it);
https:// is for where a proxy puts TLS before it. Called as logscan, -H
tcp://HOST:PORT means this too; docker's own -H is the Engine's.`

// topicsKey is where the top command keeps the manual's topics for its help.
const topicsKey = "topics"

const helpTemplate = `{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{.UsageString}}`

const usageTemplate = `Usage:  {{if index .Annotations "group"}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}
{{- if .HasAvailableSubCommands}}
        {{.CommandPath}} COMMAND{{end}}{{end}}
{{- if gt (len .Aliases) 0}}

Aliases:
  {{.NameAndAliases}}
{{- end}}
{{- if .HasExample}}

Examples:
{{.Example}}
{{- end}}
{{- if .HasAvailableSubCommands}}

Commands:
{{- range .Commands}}{{if or .IsAvailableCommand (eq .Name "help")}}
  {{rpad .Name .NamePadding}} {{.Short}}
{{- end}}{{end}}
{{- end}}
{{- with index .Annotations "topics"}}

Topics of the manual:
{{- .}}
{{- end}}
{{- if .HasAvailableLocalFlags}}

Options:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
{{- end}}
{{- if .HasAvailableSubCommands}}

Run '{{.CommandPath}} COMMAND --help' for more information on a command
{{- if index .Annotations "topics"}},
or '{{.CommandPath}} help TOPIC' for a page of the manual{{end}}.
{{- end}}
`

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"logscan/internal/api"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNoMatch     = 3
	exitInterrupted = 130
)

// cli is one run of the command line.
type cli struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	color    bool
	plugin   bool // run by docker, as docker-logscan
	serve    func(context.Context) error

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

// advise adds what to do next to an error.
func advise(try, format string, args ...any) error {
	return &hint{fmt.Errorf(format, args...), try}
}

// exitError ends the program with a code and without a message.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// usageError is a command used the wrong way.
type usageError struct {
	cmd *cobra.Command
	err error
}

func (u *usageError) Error() string { return u.err.Error() }

// run executes one command line and returns the exit code.
func (c *cli) run(ctx context.Context, args []string) int {
	if len(args) == 1 && args[0] == "docker-cli-plugin-metadata" {
		json.NewEncoder(c.out).Encode(map[string]string{
			"SchemaVersion":    "0.1.0",
			"Vendor":           "logscan",
			"Version":          version,
			"ShortDescription": "Watch container logs: rules, events, triggers",
		})
		return exitOK
	}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	err := root.ExecuteContext(ctx)
	if c.conn != nil {
		c.conn.Close()
	}
	var code exitError
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &usage):
		use := usage.cmd.UseLine()
		if usage.cmd.HasAvailableSubCommands() {
			use = usage.cmd.CommandPath() + " COMMAND"
		}
		fmt.Fprintf(c.err, "Error: %s\nUsage: %s\nSee '%s --help'.\n", clean(err.Error()), use, usage.cmd.CommandPath())
		return exitUsage
	}
	c.report(err)
	return exitFailed
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
		fmt.Fprintf(c.err, "%s%s\n", [2]string{"Try:   ", "       "}[min(i, 1)], line)
	}
}

// root builds the command tree: `docker logscan …` or `logscan …`.
func (c *cli) root() *cobra.Command {
	top := group("logscan", "Watch container logs: rules, events, triggers",
		c.ruleCommand(), c.triggerCommand(), c.eventsCommand(), c.workloadCommand(),
		c.containerCommand(), c.deliveryCommand(), c.statsCommand(),
		c.tokenCommand(), c.versionCommand(), c.serveCommand())
	top.Long = topHelp
	top.PersistentFlags().StringVar(&c.engine.socket, "socket", "", "The plugin's control socket (default: asked of the Engine)")
	top.PersistentFlags().StringVar(&c.engine.api, "api", "", "Address of logscan's API, tcp://HOST:PORT (default: $LOGSCAN_HOST, or else the control socket)")
	top.PersistentFlags().StringVar(&c.engine.tokenFile, "token-file", "", `Read the API's token from a file, "-" for standard input (default: $LOGSCAN_TOKEN)`)
	top.PersistentFlags().StringVar(&c.engine.plugin, "plugin", "logscan", "Name of the plugin in the Engine")

	root := top
	if c.plugin {
		root = &cobra.Command{Use: "docker", Short: "Docker", Hidden: true, RunE: groupRun}
		root.AddCommand(top)
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
	cmd := &cobra.Command{Use: use, Short: short, RunE: groupRun, Args: cobra.ArbitraryArgs}
	cmd.AddCommand(commands...)
	return cmd
}

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
			fmt.Fprintf(c.out, "Plugin: %s\n", h.Version)
			return nil
		},
	}
}

func (c *cli) tokenCommand() *cobra.Command {
	return &cobra.Command{
		Use: "token", Short: "Show the token of the API over TCP", Args: args(0, 0),
		Long: `Show the token that opens the API over TCP, where the setting LOGSCAN_LISTEN makes
it listen. Only root's control socket tells it.`,
		Example: `  docker plugin disable -f logscan
  docker plugin set logscan LOGSCAN_LISTEN=127.0.0.1:8414
  docker plugin enable --timeout 0 logscan
  LOGSCAN_HOST=tcp://127.0.0.1:8414 LOGSCAN_TOKEN=$(docker logscan token) docker logscan rule ls`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				t, err := client.Token(ctx)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(c.out, t.Token)
				return err
			})
		},
	}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

const topHelp = `Watch container logs: rules, events, triggers

It speaks to the plugin over its control socket, as root, which it finds by
asking the Engine. From elsewhere it reaches a plugin that has the setting
LOGSCAN_LISTEN over TCP: LOGSCAN_HOST=tcp://HOST:PORT, or --api, says where, and
LOGSCAN_TOKEN, or --token-file, holds the token (docker logscan token shows it);
https:// is for where a proxy puts TLS before it. Called as logscan, -H
tcp://HOST:PORT means this too; docker's own -H is the Engine's.`

const helpTemplate = `{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{.UsageString}}`

const usageTemplate = `Usage:  {{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}
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
{{- range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}
{{- end}}{{end}}
{{- end}}
{{- if .HasAvailableLocalFlags}}

Options:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
{{- end}}
{{- if .HasAvailableSubCommands}}

Run '{{.CommandPath}} COMMAND --help' for more information on a command.
{{- end}}
`

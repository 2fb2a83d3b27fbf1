package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"logscan/internal/api"
)

func (c *cli) tokenCommand() *cobra.Command {
	ls := listCommand(c, "List the tokens that were made", tokenColumns, tokenID,
		func(ctx context.Context, client *api.Client, _ *cobra.Command) ([]api.AccessToken, error) {
			return client.Tokens(ctx)
		})
	ls.Example = `  docker logscan token ls`
	cmd := &cobra.Command{
		Use: "token", Short: "Show the admin's token of the API over TCP, or manage others", Args: args(0, 0),
		Long: `Without a command, show the admin's token, which opens the API over TCP where the
setting LOGSCAN_LISTEN makes it listen. Only root's control socket tells it. The
commands make tokens that are good for less, and take them back.`,
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
	cmd.AddCommand(c.tokenAdd(), ls, c.tokenRemove())
	return cmd
}

var tokenColumns = []column[api.AccessToken]{
	{head: "ID", cell: tokenID},
	{head: "NAME", cell: tokenName},
	{head: "SCOPE", cell: func(t api.AccessToken) string { return string(t.Scope) }},
	{head: "CREATED", cell: func(t api.AccessToken) string { return t.CreatedAt.Local().Format(time.DateTime) }},
}

func tokenID(t api.AccessToken) string   { return strconv.FormatInt(t.ID, 10) }
func tokenName(t api.AccessToken) string { return t.Name }

func (c *cli) tokenAdd() *cobra.Command {
	var scope string
	scopes := make([]string, len(api.Scopes))
	for i, s := range api.Scopes {
		scopes[i] = string(s)
	}
	cmd := &cobra.Command{
		Use: "add [OPTIONS] NAME", Aliases: []string{"create"}, Short: "Make a token; prints it, this once", Args: args(1, 1),
		Long: `Make a token for the API over TCP, and print it: only a hash of it is kept. Its
scope says what it is good for, each including those before it:

  metrics   /metrics alone
  read      everything but secrets and tokens
  write     rules, deliveries, and triggers, but for making or removing those or
            changing their URLs and secrets
  admin     everything`,
		Example: `  docker logscan token add prometheus --scope metrics > /etc/prometheus/logscan.token`,
		RunE: func(cmd *cobra.Command, a []string) error {
			if scope == "" {
				return &usageError{cmd, errors.New("say what it is good for: --scope " + strings.Join(scopes, ", "))}
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				t, err := client.CreateToken(ctx, api.TokenCreate{Name: a[0], Scope: api.Scope(scope)})
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(c.out, t.Token)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&scope, "scope", "", "What it is good for: "+strings.Join(scopes, ", "))
	complete(cmd, "scope", scopes...)
	return cmd
}

func (c *cli) tokenRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm TOKEN [TOKEN...]", Aliases: []string{"remove"}, Short: "Remove tokens, given by name or id; they are good for nothing from then on", Args: args(1, -1),
		Example: `  docker logscan token rm prometheus`,
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, _ string) (out []string, _ cobra.ShellCompDirective) {
			_ = c.with(cmd, func(ctx context.Context, client *api.Client) error {
				tokens, err := client.Tokens(ctx)
				for _, t := range tokens {
					out = append(out, completion(t.ID, t.Name))
				}
				return err
			})
			return out, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, a []string) error {
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				tokens, err := client.Tokens(ctx)
				if err != nil {
					return err
				}
				return each(c, a, func(ref string) error {
					t, err := find(c, "token", ref, tokens, func(t api.AccessToken) int64 { return t.ID }, tokenName)
					if err != nil {
						return err
					}
					return client.DeleteToken(ctx, t.ID)
				})
			})
		},
	}
}

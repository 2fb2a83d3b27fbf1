package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"logscan/internal/api"
)

// with connects, runs do, and explains why it failed.
func (c *cli) with(cmd *cobra.Command, do func(context.Context, *api.Client) error) error {
	client, err := c.client(cmd.Context())
	if err != nil {
		return err
	}
	return c.explain(do(cmd.Context(), client))
}

// listCommand is an ls that needs nothing but what it lists.
func listCommand[T any](c *cli, short string, columns []column[T], id func(T) string, get func(context.Context, *api.Client, *cobra.Command) ([]T, error)) *cobra.Command {
	var l listing
	cmd := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"}, Short: short, Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newPrinter(c, l, columns, id)
			if err != nil {
				return err
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				items, err := get(ctx, client, cmd)
				if err != nil {
					return err
				}
				return p.print(items)
			})
		},
	}
	l.flags(cmd)
	return cmd
}

// find looks a thing up by id or by name.
func find[T any](c *cli, what, ref string, items []T, id func(T) int64, name func(T) string) (T, error) {
	var zero T
	if n, err := strconv.ParseInt(ref, 10, 64); err == nil {
		for _, it := range items {
			if id(it) == n {
				return it, nil
			}
		}
	}
	var found []T
	ids := ""
	for _, it := range items {
		if name(it) == ref {
			found = append(found, it)
			ids += fmt.Sprintf(" %d", id(it))
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return zero, advise(c.name()+" "+what+" ls", "no %s %q", what, ref)
	}
	return zero, advise("one of the ids"+ids, "there are %d %ss called %q", len(found), what, ref)
}

// ruleIn looks a rule up by id or by name.
func ruleIn(c *cli, ref string, all []api.Rule) (api.Rule, error) {
	return find(c, "rule", ref, all, func(r api.Rule) int64 { return r.ID }, ruleName)
}

// triggerIn looks a trigger up by id or by name.
func triggerIn(c *cli, ref string, all []api.Trigger) (api.Trigger, error) {
	return find(c, "trigger", ref, all, func(t api.Trigger) int64 { return t.ID }, func(t api.Trigger) string { return t.Name })
}

// completion offers a thing by its name, or by its id if the name is none that a
// shell could show.
func completion(id int64, name string) string {
	if name == "" || clean(name) != name {
		return strconv.FormatInt(id, 10)
	}
	return name
}

// each does something with every reference, going on after one that fails, and
// prints those that succeeded, as docker does.
func each(c *cli, refs []string, do func(string) error) error {
	var errs []error
	for _, ref := range refs {
		if err := do(ref); err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintln(c.out, clean(ref))
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"logscan/internal/api"
	"logscan/internal/fields"
	"logscan/internal/rule"
)

// addOptions adds a T's fields to a command that makes a T, or changes one: then
// what is given by its place otherwise is an option too, and nothing has a default. Where
// some are named, it is those alone.
func addOptions[T fields.Defined[T]](c *cli, cmd *cobra.Command, change bool, only ...string) {
	for _, f := range fields.Of[T]().All {
		if len(only) > 0 && !slices.Contains(only, f.Name) {
			continue
		}
		name, doc, fallback := strings.ToLower(f.Flag), f.Usage, ""
		if doc == "" {
			doc = f.Description()
		}
		switch {
		case f.Kind == fields.Switch:
			if !change {
				cmd.Flags().Bool(name, false, doc)
			}
			continue
		case f.Kind == fields.Bool:
			cmd.Flags().Bool(name, false, doc)
			continue
		case f.Kind == fields.Secret:
			cmd.Flags().String(name+"-file", "", "Read the "+f.Flag+" from a file")
			if f.IsArgument() {
				doc = "New " + f.Flag
			}
			doc += `; "-" reads it from standard input`
		case f.IsArgument():
			doc = "New " + name
		case f.Kind == fields.Duration && f.Default != int64(0):
			fallback = shortDuration(time.Duration(f.Default.(int64)) * time.Second)
		case f.Kind != fields.Override && f.Kind != fields.Count:
			fallback, _ = f.Default.(string)
		}
		if f.IsArgument() && !change {
			continue
		}
		switch f.Kind {
		case fields.Listed:
			cmd.Flags().StringSlice(name, nil, doc)
		case fields.Several:
			cmd.Flags().StringArray(name, nil, doc)
		case fields.Count:
			cmd.Flags().Int64(name, f.Default.(int64), doc)
		default:
			cmd.Flags().String(name, fallback, doc)
		}
		if change && f.Kind != fields.Several {
			flag := cmd.Flags().Lookup(name) // left alone, not set to that
			flag.DefValue = map[fields.Kind]string{fields.Listed: "[]", fields.Count: "0"}[f.Kind]
		}
		switch {
		case f.Values != nil:
			complete(cmd, name, f.Values...)
		case f.Kind == fields.Workload:
			c.completeWorkloads(cmd)
		case f.Kind == fields.Override:
			_ = cmd.RegisterFlagCompletionFunc(name, c.completeRules)
		}
	}
}

// given returns the fields that were given, so that only those are sent: the options
// and, where they are the fields that are arguments, args. A rule that is overridden
// is still what it was called (override).
func given[T fields.Defined[T]](c *cli, cmd *cobra.Command, args ...string) (api.Fields[T], error) {
	type value struct {
		text    string
		isGiven bool
	}
	values := map[string]value{}
	input := "" // what standard input holds
	for _, f := range fields.Of[T]().All {
		var v value
		if flag := cmd.Flags().Lookup(strings.ToLower(f.Flag)); flag != nil {
			v = value{flag.Value.String(), flag.Changed}
		} else if f.IsArgument() && len(args) > 0 {
			v, args = value{args[0], true}, args[1:]
		}
		values[f.Name] = v
		switch {
		case f.Kind != fields.Secret || v != value{"-", true}:
		case input != "":
			return nil, &usageError{cmd, fmt.Errorf("standard input holds either the %s or the %s, not both", input, f.Flag)}
		default:
			input = f.Flag
		}
	}
	out := api.Fields[T]{}
	for _, f := range fields.Of[T]().All {
		name, v := strings.ToLower(f.Flag), values[f.Name]
		if f.Kind == fields.Secret {
			var err error
			if v.text, v.isGiven, err = c.secretValue(cmd, f.Flag, v.text, v.isGiven); err != nil {
				return nil, err
			}
		}
		if !v.isGiven {
			continue
		}
		switch f.Kind {
		case fields.Switch:
			if v.text == "true" {
				out[f.Name] = false
			}
		case fields.Bool:
			out[f.Name] = v.text == "true"
		case fields.Duration:
			n, err := seconds(name, v.text)
			if err != nil {
				return nil, &usageError{cmd, err}
			}
			out[f.Name] = n
		case fields.Count:
			n, err := cmd.Flags().GetInt64(name)
			if err != nil {
				return nil, err
			}
			out[f.Name] = n
		case fields.Listed:
			all, err := cmd.Flags().GetStringSlice(name)
			if err != nil {
				return nil, err
			}
			out[f.Name] = strings.Join(all, ",")
		case fields.Several:
			all, err := cmd.Flags().GetStringArray(name)
			if err != nil {
				return nil, err
			}
			out[f.Name] = slices.DeleteFunc(all, func(s string) bool { return s == "" }) // "" takes all away
		default:
			out[f.Name] = v.text
		}
	}
	return out, nil
}

// rows are a T's fields as they are shown, those that are secret aside.
func rows[T fields.Defined[T]](v T) (out [][2]string) {
	for _, f := range fields.Of[T]().All {
		label := strings.ReplaceAll(f.Flag, "-", " ")
		if !f.IsArgument() {
			label = strings.ToUpper(label[:1]) + label[1:]
		} else if f.Kind != fields.Secret {
			label = label[:1] + strings.ToLower(label[1:])
		}
		value := fmt.Sprint(f.Value(v))
		switch {
		case f.Kind == fields.Secret && !f.IsArgument():
			continue
		case f.Kind == fields.Switch:
			label, value = "Enabled", yesNo(value == "true")
		case f.Kind == fields.Duration:
			value = cooldown(f.Value(v).(int64))
		case value == "" && f.None != "":
			value = f.None
		}
		out = append(out, [2]string{label, orDash(value)})
	}
	return out
}

// override looks up the rules that what is said about a rule names.
func override(ctx context.Context, c *cli, client *api.Client, said api.RuleFields) error {
	for _, f := range rule.Fields.All {
		ref, ok := said[f.Name].(string)
		if f.Kind != fields.Override || !ok {
			continue
		}
		if ref == "" {
			said[f.Name] = 0
			continue
		}
		rules, err := client.Rules(ctx)
		if err != nil {
			return err
		}
		globals := slices.DeleteFunc(slices.Clone(rules), func(r api.Rule) bool { return r.WorkloadID != "" })
		r, err := ruleIn(c, ref, globals)
		if err != nil {
			// One that is not global: the plugin says what is wrong with that.
			other, e := ruleIn(c, ref, rules)
			if e != nil {
				return err
			}
			r = other
		}
		said[f.Name] = r.ID
	}
	return nil
}

// seconds reads 90, 90s or 1h30m.
func seconds(flag, s string) (int64, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		return n, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d%time.Second != 0 {
		return 0, fmt.Errorf("--%s %q is no duration in whole seconds, such as 90s, 5m, 1h or 0", flag, s)
	}
	return int64(d / time.Second), nil
}

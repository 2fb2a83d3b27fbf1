package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"

	"github.com/spf13/cobra"

	"logscan/internal/api"
	"logscan/internal/fields"
	"logscan/internal/fields/fieldsyaml"
	"logscan/internal/rule"
)

// maxRuleFile bounds what is read of a rule's file, in bytes.
const maxRuleFile = 1 << 20

// fileOption adds the option that names a rule's file.
func fileOption(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "file", "f", "", `Read the rule from a YAML file ("-" for standard input), with the names that the API has; options go before what it says`)
	_ = cmd.MarkFlagFilename("file", "yaml", "yml")
}

// withFile returns what a file says about a rule, with what is said on the command line
// in its place; from is the rule that is changed, nil for a new one. The file is all of
// the rule: what isn't there has its default. Values are checked here, for errors that
// tell their line.
func (c *cli) withFile(file string, said api.RuleFields, from *rule.Rule) (api.RuleFields, error) {
	name, data, err := c.readFile(file)
	if err != nil {
		return nil, err
	}
	f, err := fieldsyaml.Read[rule.Rule](name, data)
	if err != nil {
		return nil, err
	}
	out, of := api.RuleFields{}, rule.Fields.New()
	check := maps.Clone(f.Members)
	if from != nil {
		for _, field := range rule.Fields.All {
			switch _, said := check[field.Name]; {
			case field.Default != nil && field.Of == "":
				out[field.Name] = nil
			case field.Default == nil && !said: // it stays
				if check[field.Name], err = json.Marshal(field.Value(*from)); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, field := range rule.Fields.All {
		raw, ok := f.Members[field.Name]
		var ref string
		switch {
		case !ok:
		case field.Kind == fields.Override && json.Unmarshal(raw, &ref) == nil && string(raw) != "null":
			out[field.Name] = ref // looked up later
			delete(check, field.Name)
		default:
			out[field.Name] = raw
		}
	}
	err = rule.Fields.Apply(&of, check)
	if err == nil && from != nil {
		err = rule.Fields.ValidateChange(*from, of)
	} else if err == nil {
		err = rule.Fields.Validate(of)
	}
	var fe *fields.Error
	if errors.As(err, &fe) && f.At(fe.Field) != "" {
		return nil, fmt.Errorf("%s: %w", f.At(fe.Field), err)
	}
	for _, field := range rule.Fields.All {
		if _, ok := out[field.Name]; ok && field.Of != "" { // the other says it
			delete(out, field.Name)
			for _, other := range rule.Fields.All {
				if other.Name == field.Of {
					out[field.Of] = other.Value(of)
				}
			}
		}
		if _, ok := said[field.Name]; ok && field.Of != "" {
			delete(out, field.Of)
		}
	}
	maps.Copy(out, said)
	return out, nil
}

// readFile reads a rule's file, and returns what it is called in errors.
func (c *cli) readFile(path string) (name string, data []byte, err error) {
	r, name := c.in, "standard input"
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", nil, err
		}
		defer f.Close()
		r, name = f, path
	}
	data, err = io.ReadAll(io.LimitReader(r, maxRuleFile+1))
	switch {
	case err != nil:
		return "", nil, fmt.Errorf("%s: %w", name, err)
	case len(data) > maxRuleFile:
		return "", nil, fmt.Errorf("%s is longer than %d bytes", name, maxRuleFile)
	}
	return name, data, nil
}

// text is what is said about a field, if that is a text, and else "".
func text(said api.RuleFields, field string) (s string) {
	b, err := json.Marshal(said[field])
	if err != nil || json.Unmarshal(b, &s) != nil {
		return ""
	}
	return s
}

// YAML is the rule as a file, for `rule add --file`.
func (d ruleDetails) YAML() ([]byte, error) {
	return fieldsyaml.Write(fmt.Sprintf("Rule %d; what isn't here has its default.", d.ID), d.Rule)
}

package main

import "logscan/internal/logdriver"

// options makes the table of the log options.
func options(string) (string, error) {
	rows := [][]string{{"option", "default", "may be", "meaning"}}
	for _, o := range logdriver.Options {
		fallback := ""
		if o.Default != "" {
			fallback = "`" + o.Default + "`"
		}
		rows = append(rows, []string{"`" + o.Name + "`", fallback, o.Want, o.Meaning})
	}
	return table(rows), nil
}

// Package docs is the manual: Markdown pages in this directory, embedded in the
// binary. Each command in them is run by internal/integration's TestREADME, page by
// page in the order of Topics, on one Engine. What can be made from code stands in
// sections that `go generate` fills; package generate lists them.
package docs

import (
	"embed"
	"strings"
)

//go:generate go run ./generate

//go:embed *.md
var pages embed.FS

// Topic is a page of the manual.
type Topic struct {
	Name  string // of the file, without .md
	Title string
	About string // what a reader finds there, in a line
}

// topics are in the order in which the manual is read.
var topics = []Topic{
	{Name: "guide", About: "the first rule, the first webhook, all containers"},
	{Name: "rules", About: "which lines matter; workloads"},
	{Name: "kinds", About: "so many within a time, none for a time, steps in order, a share, more than usual, another value, a job's run, never seen before"},
	{Name: "events", About: "hits, and what logscan says about itself"},
	{Name: "search", About: "look for lines in all logs that are kept"},
	{Name: "tail", About: "many containers in one stream, as they write"},
	{Name: "incidents", About: "the same trouble told once; acknowledge, snooze, silence"},
	{Name: "triggers", About: "who is told, and how often it is tried"},
	{Name: "why", About: "what became of a line; why a rule made no hit"},
	{Name: "channels", About: "e-mail, chats, phones: what each service needs"},
	{Name: "config", About: "rules, triggers and silences in files, beside your compose files"},
	{Name: "packs", About: "rules that are made for a program, such as nginx or PostgreSQL"},
	{Name: "webhooks", About: "what a receiver gets, and how it verifies that"},
	{Name: "settings", About: "options of a container's log, settings of the plugin"},
	{Name: "command-line", About: "`docker logscan` and its commands"},
	{Name: "api", About: "the HTTP API, on a unix socket and over TCP"},
	{Name: "operations", About: "install, upgrade, removed containers, uninstall"},
	{Name: "guarantees", About: "what is promised, where that ends, what a fault costs"},
	{Name: "on-disk-format", About: "the files of a log"},
	{Name: "performance", About: "measured beside Docker's own drivers"},
	{Name: "developing", About: "tests, measurements, layout of the code"},
}

// Topics lists the pages in the order in which they are read.
func Topics() []Topic {
	all := append([]Topic(nil), topics...)
	for i := range all {
		text, _ := Page(all[i].Name)
		first, _, _ := strings.Cut(text, "\n")
		all[i].Title = strings.TrimPrefix(first, "# ")
	}
	return all
}

// Page returns the Markdown of a page by its topic's name.
func Page(name string) (text string, ok bool) {
	b, err := pages.ReadFile(name + ".md")
	return string(b), err == nil
}

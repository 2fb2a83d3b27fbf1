package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"logscan/internal/api"
	"logscan/internal/fields"
	"logscan/internal/rule"
	"logscan/internal/trigger"
)

// healthTime bounds the question why something can't be done.
const healthTime = 5 * time.Second

// argument is how the command line calls what the API calls otherwise.
var argument = map[string]string{
	"rule_id":   "--rule",
	"workload":  "--workload",
	"container": "--container",
	"rule":      "--rule",
	"id":        "WORKLOAD",
	"source":    "--source",
	"state":     "--state",
	"scope":     "--scope",
	"lines":     "LINE",
	"last":      "--tail",
	"at":        "--at",
	"line":      "--line",
	"event":     "--event",
}

func init() {
	callFields[rule.Rule]()
	callFields[trigger.Trigger]()
}

// callFields has argument name the fields of T.
func callFields[T fields.Defined[T]]() {
	for _, f := range fields.Of[T]().All {
		argument[f.Name] = "--" + f.Flag
		if f.IsArgument() {
			argument[f.Name] = f.Flag
		}
	}
}

// explain turns what the client gave as an error into what a user can use: a
// refused field by the name it has here, and advice where the plugin could not
// be reached.
func (c *cli) explain(err error) error {
	var p *api.Problem
	if errors.As(err, &p) && len(p.Errors) > 0 {
		var told []error
		for _, item := range p.Errors {
			_, field, _ := strings.Cut(item.Location, ".")
			name, ok := argument[field]
			if !ok {
				return err
			}
			told = append(told, errors.New(name+": "+item.Message))
		}
		return errors.Join(told...)
	}
	if p != nil && p.Status == http.StatusUnauthorized {
		return advise("LOGSCAN_TOKEN=TOKEN "+c.name()+" …      (or --token-file FILE)\ndocker logscan token      (on the plugin's machine, as root, shows it)", "%w", err)
	}
	if p != nil && p.Status == http.StatusServiceUnavailable {
		return c.explainWaiting(err)
	}
	var op *net.OpError
	if err == nil || !errors.As(err, &op) || op.Op != "dial" {
		return err
	}
	at := c.engine.socket
	if isTCP(at) {
		return advise("docker plugin inspect -f '{{.Settings.Env}}' logscan      (on the plugin's machine: is LOGSCAN_LISTEN set?)",
			"logscan's API does not answer at %s: %w", at, op.Err)
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return advise("sudo "+c.name()+" …", "only root may use logscan's control socket (%s)", at)
	case errors.Is(err, fs.ErrNotExist):
		return advise("again in a few seconds, if the plugin is just starting\njournalctl -u docker | grep logscan      (what the plugin itself says)",
			"the plugin's control socket %s is not there", at)
	case errors.Is(err, syscall.ECONNREFUSED):
		return advise("again in a few seconds: the Engine restarts a plugin that ended",
			"nothing answers at the plugin's control socket %s", at)
	}
	return err
}

// explainWaiting adds to an error what the plugin is waiting for.
func (c *cli) explainWaiting(err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), healthTime)
	defer cancel()
	h, healthErr := c.conn.Health(ctx)
	if healthErr != nil {
		return err
	}
	for _, r := range h.Reasons {
		err = fmt.Errorf("%w; %s: %s", err, r.Reason, r.Detail)
	}
	return advise("again in a few seconds, if the plugin is just starting\njournalctl -u docker | grep logscan      (what the plugin itself says)", "%w", err)
}

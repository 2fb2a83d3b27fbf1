// Package script has what the command line's tests need besides testscript,
// which runs them and describes the language of their scripts:
//
//	exits CODE PROGRAM [ARG...]  like exec, but it ends with this code, not 0
//	prints [LINE...]             what was run printed these lines, and no errors
//	complains LINE...            what was run printed these lines as errors, and nothing else
//	mask stdout|stderr PATTERN   puts … for each match in the output, for cmp
//
// A pattern that matches nothing fails: what it stands for has to be there.
package script

import (
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// Command is a command of scripts.
type Command = func(ts *testscript.TestScript, neg bool, args []string)

// Params are for testscript to run files with these commands and more.
// UPDATE=1 in the environment writes into the scripts what cmp finds to differ.
func Params(files []string, setup func(*testscript.Env) error, more map[string]Command) testscript.Params {
	commands := map[string]Command{
		"exits":     exits,
		"prints":    func(ts *testscript.TestScript, neg bool, lines []string) { output(ts, neg, "stdout", "stderr", lines) },
		"complains": func(ts *testscript.TestScript, neg bool, lines []string) { output(ts, neg, "stderr", "stdout", lines) },
		"mask":      mask,
	}
	maps.Copy(commands, more)
	return testscript.Params{
		Files: files, Setup: setup, Cmds: commands,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		RequireExplicitExec: true, RequireUniqueNames: true,
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// output checks all of the output: lines on one stream, nothing on the other.
func output(ts *testscript.TestScript, neg bool, stream, silent string, lines []string) {
	if neg {
		ts.Fatalf("to print something else is no promise")
	}
	want := ""
	if len(lines) > 0 {
		want = strings.Join(lines, "\n") + "\n"
	}
	if got := ts.ReadFile(stream); got != want {
		ts.Fatalf("%s is %q, want %q", stream, got, want)
	}
	if got := ts.ReadFile(silent); got != "" {
		ts.Fatalf("%s is %q, want nothing", silent, got)
	}
}

func mask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || args[0] != "stdout" && args[0] != "stderr" {
		ts.Fatalf("usage: mask stdout|stderr PATTERN")
	}
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	texts := map[string]string{"stdout": ts.ReadFile("stdout"), "stderr": ts.ReadFile("stderr")}
	if !re.MatchString(texts[args[0]]) {
		ts.Fatalf("no match for %#q in %s", args[1], args[0])
	}
	texts[args[0]] = re.ReplaceAllLiteralString(texts[args[0]], "…")
	io.WriteString(ts.Stdout(), texts["stdout"])
	io.WriteString(ts.Stderr(), texts["stderr"])
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// matcher runs the matcher's own benchmark, which alone is linked with
// vectorscan, and quotes it.
func matcher(b *bench) (*section, error) {
	cmd := exec.Command("go", "run", "-tags", "vectorscan", "logscan/internal/bench/matchbench",
		"-mib", fmt.Sprint(b.pick(64, 8)), "-rounds", fmt.Sprint(b.pick(7, 3)), "-logcheck", b.logcheck)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("matchbench: %w: %s", err, strings.TrimSpace(errs.String()))
	}
	s := &section{title: "Matching"}
	s.say("```\n%s\n```", strings.TrimSpace(out.String()))
	return s, nil
}

#!/usr/bin/env bash
# Says what is wrong with how the code is written: gofmt, go vet, staticcheck (at
# go.mod's version) and shellcheck.
set -uo pipefail
status=0
bad=$(git ls-files '*.go' | xargs gofmt -l)
[ -z "$bad" ] || { echo "gofmt would change: $bad" && status=1; }
go vet ./... || status=1
go tool staticcheck ./... || status=1
git ls-files '*.sh' .ci/run | xargs shellcheck -x --severity=warning || status=1
exit "$status"

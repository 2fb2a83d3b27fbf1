#!/usr/bin/env bash
# Runs go test with the arguments given, says what failed once more at the end,
# for those who see only the last lines, and how many tests passed and failed.
set -uo pipefail
log=$(mktemp)
trap 'rm -f "$log"' EXIT
go tool gotestsum --format standard-quiet --hide-summary=skipped --jsonfile "$log" -- "$@"
status=$?
# Each test ends by one event; a package that doesn't compile, or dies, has none
# but its own.
count() { grep -c "\"Action\":\"$1\".*\"Test\":" "$log" || true; }
failed=$(count fail)
[ "$status" = 0 ] || [ "$failed" != 0 ] || failed=1
echo "$(count pass) passed, $failed failed, $(count skip) skipped"
exit "$status"

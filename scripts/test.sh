#!/usr/bin/env bash
# Runs go test with the arguments given. What failed is said once more at the
# end, in short, for those who see only the last lines.
set -uo pipefail
log=$(mktemp)
trap 'rm -f "$log"' EXIT
go test "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
if [ "$status" != 0 ]; then
	echo
	echo "In short:"
	grep -E '^ *--- FAIL|^FAIL|^panic:|WARNING: DATA RACE|^[[:space:]]+Test[^ ]* \([0-9hms.]+\)$|^ +[a-z0-9_]+\.go:[0-9]+: ' "$log" |
		cut -c1-240 | tail -n 30
fi
exit "$status"

#!/usr/bin/env bash
# Shows logscan at work: `make demo` runs it through withengine, which gives a
# private Docker Engine (DOCKER_HOST, DOCKER_CONFIG, ENGINE_DIR) with a busybox
# image in it, and takes all of it away afterwards.
#
# Nothing here is a claim: each result was read or counted a moment before, and
# the first that is not as it should be ends the demo with an error.
set -euo pipefail

for v in BUILD DOCKER_HOST DOCKER_CONFIG ENGINE_DIR; do
	[ -n "${!v-}" ] || { echo "demo.sh: run it with 'make demo' ($v is not set)" >&2; exit 2; }
done
case $DOCKER_HOST in
unix://"$ENGINE_DIR"/*) ;;
*) echo "demo.sh: $DOCKER_HOST is not a private Engine" >&2; exit 2 ;;
esac

started=$SECONDS
receiver= # its pid

bold="" dim="" plain=""
if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; fi

heading() { printf '\n%s%s%s\n\n' "$bold" "$*" "$plain"; }
say() { printf '%s\n' "$@"; }
result() { printf '  %-44s %s\n' "$1" "$2"; }
fail() {
	printf '\nThe demo failed: %s\n' "$*" >&2
	exit 1
}
# show prints a command as a reader would type it; run does what it printed.
show() { printf '  %s$ %s%s\n' "$dim" "$1" "$plain"; }
run() {
	show "$1"
	eval "$1" 2>&1 | sed 's/^/  /'
}
# until_ok waits until a check holds: seconds, what it waits for, the check.
until_ok() {
	local end=$((SECONDS + $1))
	until eval "$3"; do
		[ $SECONDS -lt $end ] || fail "not within $1 s: $2"
		sleep 0.1
	done
}

finish() {
	local code=$?
	trap - EXIT
	[ -z "$receiver" ] || kill "$receiver" 2>/dev/null || true
	if [ $code -ne 0 ] && [ $code -ne 130 ] && [ -s "$ENGINE_DIR/dockerd.log" ]; then
		{ echo; echo "What the plugin said last:"; grep plugin= "$ENGINE_DIR/dockerd.log" | tail -5; } >&2 || true
	fi
	exit $code
}
trap finish EXIT
trap 'printf "\nInterrupted; cleaning up.\n"; exit 130' INT TERM HUP

# plugin_pid prints the process id of the plugin in this Engine: the child of the
# shim that has its id. It is empty while none runs.
plugin_pid() {
	local shim pid
	for shim in $(pgrep -f -- "-namespace plugins.moby -id $id "); do
		for pid in $(pgrep -P "$shim"); do
			[[ $(readlink "/proc/$pid/exe") != */logscan ]] || { echo "$pid"; return; }
		done
	done
}
# enabled prints when Docker was last done with the plugin's start: then it writes
# the plugin's config.json.
enabled() { stat -c %y "$ENGINE_DIR/data/plugins/$id/config.json"; }
answers() { docker logscan stats >/dev/null 2>&1; }
caught_up() { [ "$(docker logscan stats --format '{{.Scan.Lag}}')" = 0 ]; }

mkdir -p "$DOCKER_CONFIG/cli-plugins"
ln -s "$BUILD/logscan" "$DOCKER_CONFIG/cli-plugins/docker-logscan"
cd "$ENGINE_DIR"
cp -R "$BUILD/plugin" plugin

heading "logscan: a demo"
say "A Docker Engine was started for this demo alone, in $ENGINE_DIR." \
	"It is gone at the end, with everything in it. Your own Engine is not touched."

heading "1. The plugin goes into the Engine"
say "(On your own Engine, 'make install' does this.)" ""
run "docker plugin create logscan plugin"
run "docker plugin set logscan LOGSCAN_ALLOW_TARGETS=127.0.0.1 LOGSCAN_BUCKET_REFILL=0"
run "docker plugin enable --timeout 0 logscan"
id=$(docker plugin inspect -f '{{.Id}}' logscan)
until_ok 30 "the plugin answers" answers
say "" \
	"Two settings are for the demo only. Webhooks may not go to this machine's own" \
	"addresses unless LOGSCAN_ALLOW_TARGETS says so, and the receiver below is here." \
	"And LOGSCAN_BUCKET_REFILL=0 lifts the limit on hits per container, because we" \
	"are going to count every single one."

heading "2. A rule says which lines matter, a trigger who is told"
run "docker logscan rule add oom 'Out of memory' --severity error"
run "docker logscan rule ls"
echo "whsec_$(head -c 24 /dev/urandom | base64)" >ops.secret
say "" "A small web server waits for webhooks. It knows the secret in ops.secret and" \
	"checks signatures with the Standard Webhooks library."
"$BUILD/receiver" -addr 127.0.0.1:0 -secret-file ops.secret >receiver.log 2>&1 &
receiver=$!
until_ok 10 "the receiver listens" 'grep -q "^Listening on " receiver.log'
url=$(sed -n 's/^Listening on //p' receiver.log)
say ""
run "docker logscan trigger add ops $url --mode events --severity error --secret-file ops.secret"
run "docker logscan trigger ls"

heading "3. A container writes two lines; the one that matters becomes a hit"
run "docker run --network none --name web --log-driver logscan busybox sh -c 'echo GET / 200; echo java: Out of memory >&2'"
events() { docker logscan events --rule "$1" --since 1h --format "$2"; }
until_ok 30 "the hit" '[ -n "$(events oom "{{.ID}}")" ]'
until_ok 30 "all lines checked" caught_up
say ""
run "docker logscan events"
[ "$(docker logscan events --since 1h --format '{{.Source}} {{.Severity}} {{.Metadata.container_name}} {{.Metadata.stream}} {{.Message}}')" = \
	"logscan error web stderr java: Out of memory" ] || fail "that is not one hit, of the line 'java: Out of memory'"
[ "$(head -c 15 "data/plugins/$id/propagated-mount/.logscan/logscan.db")" = "SQLite format 3" ] || fail "there is no SQLite file"
say "" "It is a row in the plugin's SQLite file, committed together with the place in the" \
	"log up to which lines are checked, and with the webhook that is to be sent:"
run "find data -name logscan.db -size +0 -printf '%f: %k KiB\n'"

heading "4. The webhook arrives, signed"
until_ok 30 "the webhook" 'grep -q "^Verified\|^Refused" receiver.log'
until_ok 30 "the delivery recorded" '[ "$(docker logscan delivery ls --format "{{.State}}")" = delivered ]'
say "What the receiver says:" ""
sed '1d; s/^/  /' receiver.log
delivery=$(docker logscan delivery ls -q)
grep -q "^Verified $delivery: signed with the secret" receiver.log && grep -q '^  message    "java: Out of memory"$' receiver.log ||
	fail "the receiver has not verified delivery $delivery"
say ""
run "docker logscan delivery ls"

heading "5. docker logs shows both lines, as ever"
run "docker logs web"
[ "$(docker logs web 2>/dev/null)" = "GET / 200" ] && [ "$(docker logs web 2>&1 >/dev/null)" = "java: Out of memory" ] ||
	fail "docker logs does not show what the container wrote"

heading "6. The plugin is killed, again and again, while a container writes"
say "Every line has a number, every thousandth also a MARK, and a rule without a" \
	"cooldown makes each of those a hit. On SIGTERM the container says how many lines" \
	"it wrote. (max-file: keep all of them, so that they can be counted.)" ""
run "docker logscan rule add mark '^(?P<n>\d+) MARK' --cooldown 0"
cat >counter.sh <<'SH'
n=0; trap 'end=1' TERM
while [ -z "$end" ]; do
  n=$((n+1))
  case $n in *000) echo $n MARK;; *) echo $n some work is done;; esac
done
echo end $n
SH
show "cat counter.sh"
sed 's/^/  /' counter.sh
run 'docker run -d --network none --name counter --log-driver logscan --log-opt max-file=1000 busybox sh -c "$(cat counter.sh)"'
say ""
last() { docker logs -n 1 counter | cut -d' ' -f1; }
until_ok 30 "lines" '[ -n "$(last)" ]'
kills=8
for i in $(seq $kills); do
	sleep 1 # for lines between the kills
	# shellcheck disable=SC2034 # until_ok evaluates it
	was=$(enabled)
	pid=$(plugin_pid)
	[ -n "$pid" ] || fail "the plugin is not running"
	line=$(last)
	kill -KILL "$pid"
	now=""
	until_ok 30 "another plugin process" '{ now=$(plugin_pid); [ -n "$now" ] && [ "$now" != "$pid" ]; }'
	# Docker gives up on a plugin that ends before all of its start is done.
	until_ok 30 "Docker is done with the start" '[ "$(enabled)" != "$was" ]'
	until_ok 30 "the plugin answers" answers
	printf '  kill %d of %d: at about line %9d, %skill -9 %d%s; back as process %d\n' "$i" $kills "$line" "$dim" "$pid" "$plain" "$now"
done
say ""
run "docker stop counter"
run "docker logs -n 1 counter"
until_ok 120 "all lines checked" caught_up
say "" "Now every line of docker logs is read, and every hit:" ""

docker logs counter >lines
wrote=$(sed -n '$s/^end \([0-9]*\)$/\1/p' lines)
[ -n "$wrote" ] || fail "the last line is not the container's count: $(tail -1 lines)"
read -r total missing doubled < <(sed '$d' lines | awk '
	BEGIN { next_one = 1 }
	{ if ($1 > next_one) missing += $1 - next_one
	  if ($1 < next_one) doubled++; else next_one = $1 + 1 }
	END { print NR, missing + wrote + 1 - next_one, doubled + 0 }' wrote="$wrote")
events mark '{{.Metadata.captures.n}}' >hits
marked=$((wrote / 1000))
result "lines that the container says it wrote" "$wrote"
result "lines in docker logs" "$total"
result "missing" "$missing"
result "doubled or out of order" "$doubled"
result "marked lines written" "$marked"
result "hits" "$(wc -l <hits)"
result "different lines among them" "$(sort -u hits | wc -l)"
[ "$missing" = 0 ] && [ "$doubled" = 0 ] && [ "$total" = "$wrote" ] || fail "lines were lost or doubled"
[ "$wrote" -gt 1000 ] || fail "too few lines to show anything"
seq 1000 1000 "$wrote" | cmp - hits || fail "the hits are not the marked lines, each once"
[ "$(events oom '{{.Message}}')" = "java: Out of memory" ] || fail "the first hit did not outlive the kills"
[ "$(grep -c ^Verified receiver.log)" = 1 ] || fail "the webhook came again"

heading "All of it held: nothing lost, nothing doubled, over $kills kills ($((SECONDS - started)) s)."
say "Next: 'make install' puts logscan into this machine's Engine; README.md goes on from there."

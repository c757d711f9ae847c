#!/bin/sh
# Run the tests in parts side by side: run_tests.sh BIN. Those of sandboxes and attacks mostly wait, the rest computes.
#
# The parts make each other wait, for seconds on a small machine, which a few tests may not stand. So up to three tests
# that failed are tried again when nothing else runs: they must pass twice, and are named. Attacks get no second try:
# one that succeeds once has succeeded.
set -u
bin=$1
logs=$(mktemp -d)

# A shell has what it starts in the background ignore Ctrl-C, which tests of Ctrl-C would inherit.
run() {
	part=$1
	shift
	"$bin/python" -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$bin/pytest" -o "cache_dir=$logs/cache-$part" "$@"
}

# try_again PART STATUS ARGUMENTS...: the status of a part, once those of its tests that failed were tried again.
try_again() {
	part=$1 status=$2
	shift 2
	[ "$status" = 1 ] || return "$status"
	failed=$logs/cache-$part/v/cache/lastfailed
	[ -s "$failed" ] && [ "$(grep -c ': true' "$failed")" -le 3 ] || return 1
	cp "$failed" "$logs/failed"
	for _ in 1 2; do
		cp "$logs/failed" "$failed"
		printf '==> Trying again, alone, what failed beside the other parts\n'
		run "$part" --lf --lfnf none "$@" || return
	done
	printf '==> These failed beside the other parts, and passed alone, twice:\n'
	sed -n 's/^  "\(.*\)": true,*$/    \1/p' "$logs/failed"
}

run executors tests/executors >"$logs/executors" 2>&1 &
executors=$!
run attacks tests/attacks >"$logs/attacks" 2>&1 &
attacks=$!
trap 'kill -INT "$executors" "$attacks" 2>/dev/null; wait; rm -rf "$logs"; exit 130' INT TERM

run rest --ignore tests/executors --ignore tests/attacks
rest=$?
printf '==> Waiting for the tests of sandboxes and attacks\n'
wait "$executors"
executors=$?
wait "$attacks"
attacks=$?
cat "$logs/executors" "$logs/attacks"
try_again rest "$rest" --ignore tests/executors --ignore tests/attacks
rest=$?
try_again executors "$executors" tests/executors
executors=$?
rm -rf "$logs"
[ "$rest" = 0 ] && [ "$executors" = 0 ] && [ "$attacks" = 0 ]

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
os.execv(sys.argv[1], sys.argv[1:])' "$bin/pytest" -o "cache_dir=$logs/cache-$part" --junitxml "$logs/$part.xml" "$@"
}

# try_again PART STATUS ARGUMENTS...: the status of a part, once those of its tests that failed were tried again. What
# failed in setting up or clearing away is not, as it may come from another test.
try_again() {
	part=$1 status=$2
	shift 2
	[ "$status" = 1 ] || return "$status"
	cache=$logs/cache-$part/v/cache
	cp "$cache/lastfailed" "$logs/failed" 2>/dev/null || return 1
	count=$(grep -c ': true' "$logs/failed")
	[ "$count" -gt 0 ] && [ "$count" -le 3 ] || return 1
	grep -q "<testsuite name=\"pytest\" errors=\"0\"" "$logs/$part.xml" || return 1
	for _ in 1 2; do
		cp "$logs/failed" "$cache/lastfailed"
		printf '==> Trying again, alone, what failed beside the other parts\n'
		run "$part" --lf --lfnf none "$@" || return 1
		grep -q "errors=\"0\" failures=\"0\" skipped=\"0\" tests=\"$count\"" "$logs/$part.xml" || return 1
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
executors_ended=$?
wait "$attacks"
attacks_ended=$?
trap 'rm -rf "$logs"; exit 130' INT TERM
cat "$logs/executors" "$logs/attacks"
try_again rest "$rest" --ignore tests/executors --ignore tests/attacks
rest=$?
try_again executors "$executors_ended" tests/executors
executors_ended=$?
rm -rf "$logs"
[ "$rest" = 0 ] && [ "$executors_ended" = 0 ] && [ "$attacks_ended" = 0 ]

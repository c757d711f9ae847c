#!/bin/sh
# Run the tests in parts, three at a time: run_tests.sh BIN. Those of sandboxes and attacks mostly wait, the rest computes.
#
# The parts make each other wait, for seconds on a small machine, which a few tests may not stand. So up to three tests
# that failed are tried again when nothing else runs: they must pass twice, and are named. Attacks get no second try:
# one that succeeds once has succeeded.
set -u
bin=$1
logs=$(mktemp -d)

# run PART ARGUMENTS...: a shell has what it starts in the background ignore Ctrl-C, which tests of Ctrl-C would inherit.
run() {
	part=$1
	shift
	"$bin/python" -c 'import os, pathlib, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])' "$logs/$part.pid" \
		"$bin/pytest" -o "cache_dir=$logs/cache-$part" --junitxml "$logs/$part.xml" "$@"
	ended=$?
	rm -f "$logs/$part.pid"
	return "$ended"
}

# run_apart PART ARGUMENTS...: keeps what it prints, and its status; fails when it was interrupted.
run_apart() {
	run "$@" >"$logs/$1" 2>&1
	echo "$ended" >"$logs/$1.status"
	[ "$ended" != 2 ]
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

trap 'kill -INT $(cat "$logs"/*.pid 2>/dev/null) 2>/dev/null; wait; rm -rf "$logs"; exit 130' INT TERM

# Each of the three takes about as long as the others.
rest='--ignore tests/executors --ignore tests/attacks'
sandboxes='tests/executors --ignore tests/executors/containers --ignore-glob */contract/test_[p-v]*.py'
containers='tests/executors/containers tests/executors/contract/test_[p-v]*.py'
set -f # these are split into words; the pattern of files to be left out is pytest's
run_apart sandboxes $sandboxes &
set +f
{ run_apart attacks tests/attacks && run_apart containers $containers; } &
run rest $rest
rest_ended=$?
printf '==> Waiting for the tests of sandboxes and attacks\n'
wait
cat "$logs/sandboxes" "$logs/attacks" "$logs/containers" 2>/dev/null

failed=0
try_again rest "$rest_ended" $rest || failed=1
set -f
try_again sandboxes "$(cat "$logs/sandboxes.status")" $sandboxes || failed=1
set +f
try_again containers "$(cat "$logs/containers.status" 2>/dev/null || echo 2)" $containers || failed=1
[ "$(cat "$logs/attacks.status")" = 0 ] || failed=1
rm -rf "$logs"
exit "$failed"

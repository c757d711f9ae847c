#!/bin/sh
# Run the tests in parts side by side: run_tests.sh BIN. Those of sandboxes and attacks mostly wait, the rest computes.
set -u
bin=$1
logs=$(mktemp -d)

# A shell has what it starts in the background ignore Ctrl-C, which tests of Ctrl-C would inherit.
run() {
	"$bin/python" -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$bin/pytest" -p no:cacheprovider "$@"
}

run tests/executors >"$logs/executors" 2>&1 &
executors=$!
run tests/attacks >"$logs/attacks" 2>&1 &
attacks=$!
trap 'kill -INT "$executors" "$attacks" 2>/dev/null; wait; rm -rf "$logs"; exit 130' INT TERM

run --ignore tests/executors --ignore tests/attacks
rest=$?
printf '==> Waiting for the tests of sandboxes and attacks\n'
wait "$executors"
executors=$?
wait "$attacks"
attacks=$?
cat "$logs/executors" "$logs/attacks"
rm -rf "$logs"
[ "$rest" = 0 ] && [ "$executors" = 0 ] && [ "$attacks" = 0 ]

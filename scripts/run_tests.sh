#!/bin/sh
# Run the tests in two halves side by side: run_tests.sh BIN. The sandboxes' half mostly waits, the other one computes.
set -u
bin=$1
log=$(mktemp)

"$bin/pytest" -p no:cacheprovider tests/executors tests/attacks >"$log" 2>&1 &
sandboxes=$!
trap 'kill -INT "$sandboxes" 2>/dev/null; wait "$sandboxes"; rm -f "$log"; exit 130' INT TERM

"$bin/pytest" -p no:cacheprovider --ignore tests/executors --ignore tests/attacks
rest=$?
printf '==> Waiting for the tests of sandboxes\n'
wait "$sandboxes"
tested=$?
cat "$log"
rm -f "$log"
[ "$rest" = 0 ] && [ "$tested" = 0 ]

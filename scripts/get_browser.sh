#!/bin/sh
# Get the browser that the tests of pages drive: get_browser.sh BIN. A machine that cannot have one runs them not.
set -eu
bin=$1

for name in ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome google-chrome-stable chrome; do
	if command -v "$name" >/dev/null 2>&1; then
		exit 0
	fi
done

log=$(mktemp)
trap 'rm -f "$log"' EXIT
printf '==> Installing a browser for the tests\n'
if "$bin/python" -m playwright install chromium >"$log" 2>&1; then
	exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	export DEBIAN_FRONTEND=noninteractive
	if apt-get update -qq >>"$log" 2>&1 && apt-get install -y -qq --no-install-recommends chromium >>"$log" 2>&1; then
		exit 0
	fi
fi
tail -n 3 "$log" >&2
printf 'actloop: no browser could be installed; tests of pages are skipped. Install Chromium, or name it in CHROMIUM.\n' >&2

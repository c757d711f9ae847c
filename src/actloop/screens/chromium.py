"""Finds the browser of this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from actloop.errors import AgentError, MissingExtraError

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

CHROMIUM_OPTIONS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",  # what is no web traffic would pass the proxy by
    "--disable-features=OptimizationHints,MediaRouter,Translate",
    *(("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()),
)
"""Services of the browser's maker are turned off as far as they can be; the proxy refuses the rest (`MAKER_HOSTS`). Its
own sandbox cannot be used by root.
"""

MAKER_HOSTS = ("update.googleapis.com", "accounts.google.com", "clients2.google.com", "safebrowsing.googleapis.com")
"""Hosts that Chromium asks by itself at every start."""


class BrowserUnavailableError(AgentError):
    """No browser that can be driven was found, or it did not start."""


def find_chromium() -> str:
    """Path of Chromium: that in the variable `CHROMIUM`, one on the search path, or the one that Playwright installed.

    Raises:
        MissingExtraError: Playwright is not installed.
        BrowserUnavailableError: There is no Chromium; the message says how to get one.
    """
    try:
        from playwright.sync_api import sync_playwright as _  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("playwright", "browser", "driving a web browser") from error
    given = os.environ.get("CHROMIUM")
    if given:
        if os.access(given, os.X_OK) and Path(given).is_file():
            return given
        raise BrowserUnavailableError(f"CHROMIUM={given}: there is no program that can be run")
    found = next((path for name in _NAMES if (path := shutil.which(name))), None) or _of_playwright()
    if found is None:
        raise BrowserUnavailableError(
            "No Chromium was found. Install it with `playwright install chromium` or with your system's packages"
            " (`apt install chromium`), or name its path in the variable CHROMIUM."
        )
    return found


def _of_playwright() -> str | None:
    folder = os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or str(Path.home() / ".cache" / "ms-playwright")
    found = sorted(Path(folder).glob("chromium-*/chrome-linux*/chrome"))
    return str(found[-1]) if found else None

"""A real browser, and a server that a hostile page would like to reach."""

from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from actloop.screens.chromium import CHROMIUM_OPTIONS, find_chromium

if TYPE_CHECKING:
    from collections.abc import Generator

    from playwright.sync_api import Browser

WAIT = 60_000
"""Milliseconds that a test waits for what must come: the machine may be busy."""


def need_chromium() -> str:
    """Where Chromium is. Without it tests are skipped, except in CI, where they fail."""
    try:
        return find_chromium()
    except Exception as error:
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"the tests of the screens need Chromium: {error}")
        pytest.skip(f"no Chromium: {error}")


@pytest.fixture(scope="module")
def chromium() -> Generator[Browser]:
    """One headless browser for a module's tests."""
    from playwright.sync_api import sync_playwright

    path = need_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_OPTIONS))
        yield browser
        browser.close()


class Listener(ThreadingHTTPServer):
    """Remembers every request that reaches it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Noting)
        self.paths: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Noting(BaseHTTPRequestHandler):
    server: Listener  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def listener() -> Generator[Listener]:
    server = Listener()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()

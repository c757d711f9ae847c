"""`actloop web`: the real command, a scripted service, a real browser."""

from __future__ import annotations

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from actloop.errors import AgentError
from actloop.screens.chromium import find_chromium

from .conftest import actloop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Service


@pytest.fixture
def site() -> Iterator[str]:
    """Address of a site of two pages."""
    try:
        find_chromium()
    except AgentError as error:
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"`actloop web` needs Chromium: {error}")
        pytest.skip(f"no Chromium: {error}")

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<p>The word is <b>heron</b>.</p>" if self.path == "/word" else b"<a href='/word'>the word</a>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


def shown(service: Service, number: int) -> str:
    return json.dumps(service.requests[number]["messages"])


def test_web_finds_a_word_over_two_pages(service: Service, site: str) -> None:
    service.replies = ["<code>\nclick('the word')\n</code>", "<code>\nfinal_answer(read_page())\n</code>"]
    done = actloop(
        "web",
        "What is the word?",
        "--url",
        site,
        "--allow-private",
        "--no-vision",
        "--verbosity",
        "-1",
        *service.options,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "The word is heron."), done.stderr
    assert "the word" in shown(service, 0)
    assert "The word is heron." in shown(service, 1)


def test_web_shows_screenshots_to_a_model_that_sees(service: Service, site: str) -> None:
    service.replies = ["<code>\nclick('the word')\n</code>", "<code>\nfinal_answer('seen')\n</code>"]
    done = actloop(
        "web", "What is the word?", "--url", site, "--allow-private", "--vision", "--verbosity", "-1", *service.options
    )
    assert (done.returncode, done.stdout.strip()) == (0, "seen"), done.stderr
    assert [shown(service, number).count("data:image/png;base64") for number in (0, 1)] == [1, 2]


def test_web_refuses_private_addresses_unless_allowed(service: Service, site: str) -> None:
    done = actloop("web", "Look.", "--url", site, *service.options)
    assert done.returncode == 1
    assert "is refused" in done.stderr
    assert "--allow-private" in done.stderr
    assert "allow_hosts" not in done.stderr
    assert service.requests == []


def test_web_takes_the_tools_of_an_mcp_server(service: Service, site: str, tmp_path: Path) -> None:
    server = tmp_path / "server.py"
    server.write_text(
        "from fastmcp import FastMCP\nserver = FastMCP('n')\n@server.tool\ndef triple(number: int) -> int:\n"
        "    'Gives three times a number.'\n    return number * 3\nserver.run(show_banner=False)\n"
    )
    service.replies = ["<code>\nfinal_answer(int(triple(number=14)))\n</code>"]
    options = ["--mcp", f"{sys.executable} {server}", "--url", site, "--allow-private", "--verbosity", "-1"]
    done = actloop("web", "What is 3 x 14?", *options, *service.options)
    assert (done.returncode, done.stdout.strip()) == (0, "42"), done.stderr


def test_web_takes_the_options_of_programs(service: Service, site: str, tmp_path: Path) -> None:
    service.replies = ["<code>\nopen('word.txt', 'w').write(read_page())\nfinal_answer(len(KEEPSAKE))\n</code>"]
    options = ["--workspace", str(tmp_path), "--writable", "--sandbox-secret", "KEEPSAKE", "--allow-private"]
    done = actloop("web", "Note the word.", "--url", f"{site}word", *options, *service.options, KEEPSAKE="heirloom")
    assert done.returncode == 0, done.stderr
    assert "heron" in (tmp_path / "word.txt").read_text()
    assert "Answer\n  8" in done.stdout
    assert f"Files in {tmp_path}\n  word.txt" in done.stdout


def test_web_hands_the_provider_to_the_model(service: Service, site: str) -> None:
    done = actloop("web", "Look.", "--provider", "together", "--model-type", "openai", *service.options)
    assert done.returncode == 2, site
    assert "--provider names a provider of Hugging Face's inference" in done.stderr


def test_web_names_what_is_missing_before_a_model_is_asked(service: Service) -> None:
    done = actloop("web", "Look.", *service.options, CHROMIUM="/nowhere")
    assert done.returncode == 1
    assert "CHROMIUM=/nowhere" in done.stderr
    assert actloop("web", " ", *service.options).returncode == 2


def test_web_refuses_an_executor_that_is_not_there(service: Service, site: str) -> None:
    done = actloop("web", "Look.", "--url", site, "--executor", "podman", *service.options)
    assert (done.returncode, service.requests) == (2, [])
    assert "--executor podman: there is no such executor" in done.stderr

"""Each example runs as a user runs it, in a process of its own; a service of this test replies for the model."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actloop.journal.sqlite import SQLiteJournal

from .test_docs import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.py") if path.name != "model.py")

ORDER = "'customer': 'Ms Okafor', 'ordered': '2026-08-03', "
DRAWING = """<code>
from PIL import Image, ImageDraw
picture = Image.new('RGB', (100, 100), 'white')
ImageDraw.Draw(picture).ellipse((10, 10, 90, 90), fill='red')
final_answer(picture)
</code>"""
SUMMING = """<code>
rows = query('SELECT customer, sum(tip) AS tips FROM receipts GROUP BY customer ORDER BY tips DESC')
final_answer(f"{rows[0]['customer']}: {rows[0]['tips']:.2f}")
</code>"""
LAMP = f"""<code>
final_answer({{{ORDER}'items': [{{'name': 'desk lamp', 'count': 0, 'price': 39.9}}]}})
</code>"""
LAMPS = f"""<code>
lamps = {{'name': 'desk lamp', 'count': 2, 'price': 39.9}}
final_answer({{{ORDER}'items': [lamps, {{'name': 'bookshelf', 'count': 1, 'price': 129}}]}})
</code>"""
REPLIES: dict[str, list[str]] = {
    "hello": ["<code>\nimport datetime\nfinal_answer(datetime.date(2000, 2, 29).strftime('%A'))\n</code>"],
    "text_to_sql": [
        "<code>\nprint(query('SELECT customer, sum(tips) FROM receipts GROUP BY customer'))\n</code>",
        "<code>\nquery('DELETE FROM receipts')\n</code>",
        SUMMING,
    ],
    "typed_answer": [LAMP, LAMPS],
    "documents": [
        "<code>\nprint(search('new laptop after years'))\n</code>",
        "<code>\nfinal_answer('four years')\n</code>",
    ],
    "managed_agents": [
        "<code>\nprint(sales('What does a table cost?'))\nprint(service('Which discount has Okafor?'))\n</code>",
        "<code>\nfinal_answer(price('table'))\n</code>",
        "<code>\nfinal_answer(discount('Okafor'))\n</code>",
        "<code>\nfinal_answer(2 * 180 * 0.9)\n</code>",
    ],
    "plan_review": ["1. Try.\n2. Answer.", "<code>\nfinal_answer([33, 33, 34])\n</code>"],
    "mcp_tools": ["<code>\nfinal_answer(round(float(miles(42.195)), 2))\n</code>"],
    "many_tasks": ["<code>\nfinal_answer('counted')\n</code>"] * 3,
    "web_server": ["<code>\nfinal_answer(6 * 7)\n</code>"],
    "picture": [DRAWING],
}
PRINTED = {
    "hello": "Tuesday",
    "text_to_sql": "Alan Payne: 7.20",
    "typed_answer": "Ms Okafor ordered for 208.80 euros on 03 August 2026.",
    "documents": "four years",
    "managed_agents": "324.0",
    "plan_review": "[33, 33, 34]",
    "mcp_tools": "26.22",
    "many_tasks": "What is the sum of the digits of 2 to the power of 150? counted",
    "picture": "written to picture.png",
}


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    with Service(REPLIES[request.getfixturevalue("name")].copy()) as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield service
        service.shutdown()
        thread.join()


@pytest.fixture
def started(service: Service, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    def start(name: str, *arguments: str) -> subprocess.Popen[str]:
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "OPENAI_BASE_URL": service.url,
            "OPENAI_API_KEY": "none",
            "ACTLOOP_HOME": str(tmp_path / "home"),
            "NO_COLOR": "1",
        }
        return subprocess.Popen(
            [sys.executable, ROOT / "examples" / f"{name}.py", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            cwd=tmp_path,
        )

    return start


def test_there_are_ten_and_all_are_run() -> None:
    assert len(EXAMPLES) == 10
    assert {path.stem for path in EXAMPLES} == set(REPLIES)
    listed = re.findall(r"\[(\w+)\.py\]", (ROOT / "examples" / "README.md").read_text())
    assert set(listed) == set(REPLIES)


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_an_example_runs(name: str, service: Service, started: Callable[..., subprocess.Popen[str]]) -> None:
    with started(name) as process:
        printed, errors = process.communicate("use odd numbers\n", timeout=100)
    assert process.returncode == 0, f"{printed[-1500:]}\n{errors[-3000:]}"
    assert PRINTED[name] in printed
    assert not service.replies


@pytest.mark.parametrize("name", ["plan_review"])
def test_a_plan_that_is_refused_ends_the_run(
    name: str, service: Service, started: Callable[..., subprocess.Popen[str]]
) -> None:
    with started(name) as process:
        printed, errors = process.communicate("no\n", timeout=100)
    assert process.returncode == 0, errors
    assert "Stopped." in printed
    assert service.asked == 1


@pytest.fixture
def web_server(started: Callable[..., subprocess.Popen[str]]) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """The port of the example that serves, and its process."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with started("web_server", str(port)) as process:
        try:
            _wait_for(port, process)
            yield port, process
        finally:
            process.terminate()
            process.communicate(timeout=30)


@pytest.mark.parametrize("name", ["web_server"])
@pytest.mark.usefixtures("name")
def test_the_web_server_answers(web_server: tuple[int, subprocess.Popen[str]]) -> None:
    url = f"http://127.0.0.1:{web_server[0]}/run"
    with urllib.request.urlopen(url, json.dumps({"task": "6 x 7?"}).encode(), timeout=60) as response:
        assert json.loads(response.read())["answer"] == "42"
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(url, b"[]", timeout=60)


@pytest.mark.parametrize("name", ["web_server"])
@pytest.mark.usefixtures("name")
@pytest.mark.parametrize("leaves", ["client", "server"])
def test_a_run_of_the_web_server_ends_with_its_client_and_with_the_server(
    leaves: str, service: Service, web_server: tuple[int, subprocess.Popen[str]], tmp_path: Path
) -> None:
    port, process = web_server
    service.replies = ["<code>\nwhile True:\n    pass\n</code>"] * 2
    body = json.dumps({"task": "Never end."}).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"POST /run HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        _await(lambda: service.asked == 1)
        if leaves == "server":
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
    journal = SQLiteJournal(tmp_path / "home" / "journal.db")
    _await(lambda: [run.state for run in journal.runs()] == ["interrupted"])
    journal.close()
    assert service.asked == 1


def _await(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 25  # a program may run for 30 s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _wait_for(port: int, process: subprocess.Popen[str]) -> None:
    for _ in range(600):
        assert process.poll() is None, process.communicate()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server did not come up")

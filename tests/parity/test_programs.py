"""Programs that users of the reference bring run after their import line is changed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..test_docs import Service
from .programs import PROGRAMS, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def service() -> Iterator[Service]:
    with Service([]) as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield service
        service.shutdown()
        thread.join()


def run(arguments: list[str], tmp_path: Path, stdin: str = "") -> str:
    """What a process of Python's prints; it has to end well."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "ACTLOOP_HOME": str(tmp_path / "home"), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=env,
        cwd=tmp_path,
        input=stdin,
        timeout=100,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    assert "Traceback" not in done.stderr, done.stderr[-4000:]
    return done.stdout


def with_imports_changed(program: Program, service: Service) -> str:
    given = {"SERVICE": service.url, "MCP": str(ROOT / "tests" / "mcp" / "example_server.py")}
    head = "".join(f"{name} = {value!r}\n" for name, value in given.items())
    return head + program.source.replace("from smolagents", "from actloop")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_runs_after_its_import_line_is_changed(name: str, service: Service, tmp_path: Path) -> None:
    program = PROGRAMS[name]
    service.replies = list(program.replies)
    script = tmp_path / "program.py"
    script.write_text(with_imports_changed(program, service))
    printed = run([str(script)], tmp_path, program.stdin)
    assert [part for part in program.prints if part not in printed] == [], printed
    assert not service.replies


INTERACTIVE = '''
from actloop import CodeAgent, ScriptedModel, Tool, tool

@tool
def shout(text: str) -> str:
    """Shouts.

    Args:
        text: What.
    """
    return text.upper()

class Whisper(Tool):
    name = "whisper"
    description = "Whispers."
    inputs = {"text": {"type": "string", "description": "What."}}
    output_type = "string"

    def forward(self, text: str) -> str:
        return text.lower()

model = ScriptedModel(["<code>\\nfinal_answer(shout('a') + whisper('B'))\\n</code>"])
agent = CodeAgent([shout, Whisper()], model, verbosity_level=0)
print("answer", agent.run("Go."))
'''


@pytest.mark.parametrize("way", ["python -c", "standard input", "an interactive session", "a notebook"])
def test_tools_that_are_defined_where_no_file_is(way: str, tmp_path: Path) -> None:
    """There their source must be found when they are made."""
    if way == "python -c":
        printed = run(["-c", INTERACTIVE], tmp_path)
    elif way == "standard input":
        printed = run(["-"], tmp_path, INTERACTIVE)
    elif way == "an interactive session":
        lines = "".join(
            f"{block}\n\n" for block in INTERACTIVE.replace("\n\n    def forward", "\n    def forward").split("\n\n")
        )
        printed = run(["-i", "-q"], tmp_path, f"{lines}\nexit()\n")
    else:  # cells are compiled under names of their own, and their lines are kept
        cell = f"""
import linecache
cell = {INTERACTIVE!r}
linecache.cache["<cell 1>"] = (len(cell), None, cell.splitlines(True), "<cell 1>")
exec(compile(cell, "<cell 1>", "exec"))
print("saved", "upper()" in shout.to_dict()["code"])
"""
        printed = run(["-c", cell], tmp_path)
        assert "saved True" in printed
    assert "answer Ab" in printed

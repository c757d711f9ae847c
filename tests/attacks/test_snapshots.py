"""Hostile snapshots in the real sandbox: sessions that attack whoever takes them, and bytes that attack when loaded."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
import random
import struct
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st
from tests.attacks.attack import COMMON
from tests.attacks.host import Host, forget_peak, peak_memory

from actloop.errors import AgentError, InterpreterError, ProtocolError
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.session import SandboxLimits, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMITS = SandboxLimits(wall=1.0, memory=128 << 20)
PYTHON = ".".join(map(str, sys.version_info[:3]))
KIND = LocalPythonExecutor.kind


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host() as host:
        yield host


@pytest.fixture
def executor() -> Iterator[LocalPythonExecutor]:
    with LocalPythonExecutor(["*"], limits=LIMITS) as executor:
        yield executor


def prepared(executor: LocalPythonExecutor, host: Host, code: str = "") -> LocalPythonExecutor:
    """An executor whose session knows what is to be had, and has run a program."""
    executor.send_variables(host.variables(None))
    executor(COMMON + textwrap.dedent(code))
    return executor


def error_of(executor: LocalPythonExecutor, snapshot: Snapshot) -> AgentError | None:
    """What restoring a snapshot ends with."""
    try:
        executor.restore(snapshot)
    except AgentError as error:
        return error
    return None


def still_works(executor: LocalPythonExecutor) -> None:
    assert executor("6 * 7").output == 42


# ---- sessions that attack whoever takes them

EVIL_STATES = {
    "reduce": "class R:\n    def __reduce__(self): return (os.system, (f'touch {folder}/owned',))\nr = R()",
    "when-taken": "class R:\n    def __reduce__(self): loot.extend(reap(os)); return (int, ())\nr = R()",
    "when-given": (
        "class R:\n    def __init__(self): self.x = 1\n    def __setstate__(self, s): loot.extend(reap(os))\nr = R()"
    ),
    "class": (
        "class M(type):\n    def __new__(*a): loot.extend(reap(os)); return type.__new__(*a)\n"
        "class R(metaclass=M): pass"
    ),
    "own-pickler": (
        "import copyreg\ncopyreg.dispatch_table[complex] = lambda c: (os.mkdir, (folder + '/owned',))\nr = 1j"
    ),
    "own-library": (
        "import cloudpickle\nold = cloudpickle.cloudpickle.Pickler.dump\n"
        "def dump(self, o): loot.extend(reap(os)); return old(self, o)\ncloudpickle.cloudpickle.Pickler.dump = dump"
    ),
}


@pytest.mark.parametrize("code", EVIL_STATES.values(), ids=EVIL_STATES)
def test_what_runs_while_it_is_taken_or_given_is_in_the_sandbox(
    code: str, executor: LocalPythonExecutor, host: Host
) -> None:
    prepared(executor, host, "import os\nloot = []\n" + code)
    snapshot = executor.snapshot()
    with LocalPythonExecutor(["*"], limits=LIMITS) as other:
        if error_of(other, snapshot) is None:
            assert other("loot").output == []
        still_works(other)
    assert executor("loot").output == []
    assert host.harm([repr(snapshot)]) == []


# ---- guests that say something else than a snapshot

ANSWERS = {
    "nothing": "None",
    "no-fields": "{}",
    "text": "'x'",
    "always-needs": "{'needs': 'cloudpickle'}",
    "huge": "good | {'size': 10 ** 15}",
    "more-than-memory": "good | {'size': (128 << 20) + (8 << 20)}",
    "negative": "good | {'size': -1}",
    "none": "good | {'size': 0, 'data': b''}",
    "true": "good | {'size': True, 'data': b'x'}",
    "fraction": "good | {'size': 2.0}",
    "less-than-said": "good | {'size': 2}",
    "more-than-said": "good | {'data': b'xyz'}",
    "text-for-data": "good | {'data': 'x'}",
    "no-data": "good | {'data': None}",
    "names-are-none": "good | {'names': None}",
    "names-are-no-text": "good | {'names': [1]}",
    "long-names": "good | {'names': ['x' * 5000]}",
    "reasons-are-no-text": "good | {'left_out': {'a': [1]}}",
    "long-reasons": "good | {'left_out': {'a': 'x' * 100_000}}",
    "raises": "1 / 0",
    "exits": "__import__('os')._exit(0)",
    "hangs": "__import__('time').sleep(100)",
    "too-large-to-send": "good | {'data': b'x' * (40 << 20)}",
}
PARTS = {
    "empty": "b''",
    "short": "b'x'",
    "long": "b'x' * (details['size'] + 1)",
    "text": "'x' * details['size']",
    "nothing": "None",
    "raises": "1 / 0",
    "exits": "__import__('os')._exit(0)",
    "hangs": "__import__('time').sleep(100)",
}
BECOME_HOSTILE = """
import gc
guest = next(o for o in gc.get_objects() if type(o).__name__ == "Guest")
good = {"size": 1, "names": ["a"], "left_out": {}, "data": b"x"}
"""


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_guest_that_answers_wrongly(answer: str, executor: LocalPythonExecutor) -> None:
    executor(f"{BECOME_HOSTILE}guest.duties['snapshot'] = lambda details: {answer}")
    forget_peak()
    before = peak_memory()
    with pytest.raises(AgentError) as caught:
        executor.snapshot()
    assert isinstance(caught.value, InterpreterError | ProtocolError)
    assert len(str(caught.value)) < 3000
    assert peak_memory() - before < 100 << 20
    still_works(executor)


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_a_guest_whose_parts_are_wrong(part: str, executor: LocalPythonExecutor) -> None:
    first = "guest.duties['snapshot'] = lambda details: good | {'size': 100 << 20, 'data': b'x' * details['part']}"
    executor(f"{BECOME_HOSTILE}{first}\nguest.duties['snapshot part'] = lambda details: {part}")
    forget_peak()
    before = peak_memory()
    with pytest.raises(AgentError) as caught:
        executor.snapshot()
    assert isinstance(caught.value, InterpreterError | ProtocolError)
    assert peak_memory() - before < 100 << 20
    still_works(executor)


def test_a_guest_that_sends_as_much_as_it_may(executor: LocalPythonExecutor) -> None:
    size = 120 << 20
    first = f"guest.duties['snapshot'] = lambda details: good | {{'size': {size}, 'data': b'x' * details['part']}}"
    part = f"b'x' * min(details['size'], {size} - details['start'])"
    executor(f"{BECOME_HOSTILE}{first}\nguest.duties['snapshot part'] = lambda details: {part}")
    forget_peak()
    before = peak_memory()
    snapshot = executor.snapshot()
    assert len(snapshot.data) == size
    assert peak_memory() - before < 2 * size
    with pytest.raises(InterpreterError, match="could not be restored"):
        executor.restore(snapshot)
    still_works(executor)


def test_names_that_are_no_text_everywhere_are_cleaned(executor: LocalPythonExecutor) -> None:
    odd = "good | {'names': ['a\\ud800'], 'left_out': {'\\udfff': '\\udfff'}}"
    executor(f"{BECOME_HOSTILE}guest.duties['snapshot'] = lambda details: {odd}")
    snapshot = executor.snapshot()
    assert (snapshot.names, snapshot.left_out) == (("a?",), {"?": "?"})
    assert Snapshot.from_bytes(snapshot.to_bytes()) == snapshot


# ---- bytes that attack when they are loaded


def forged(stream: bytes, names: tuple[str, ...] = ("x",), files: Any = None) -> Snapshot:
    """A snapshot around a pickle."""
    about = json.dumps({"names": names, "files": files or {}}).encode()
    return Snapshot(KIND, PYTHON, b"\x80\x05N." + stream + about + struct.pack(">BI", 1, len(about)), names)


def calling(function: str, *args: Any) -> bytes:
    """A pickle that calls a function when it is loaded."""
    module, _, name = function.rpartition(".")
    return f"c{module}\n{name}\n".encode() + pickle.dumps(args, 0)[:-1] + b"R."


BOMBS = {
    "repeat": calling("operator.mul", "x", 10**11),
    "power": calling("operator.pow", 10, 10**9),
    "range": calling("builtins.list", range(10**12)),
    "sleep": calling("time.sleep", 1000),
    "exit": calling("os._exit", 0),
    "leave": calling("sys.exit", 0),
    "abort": calling("os.abort"),
    "long": b"\x8b\xff\xff\xff\x7f" + b"x" * 100 + b".",
    "bytes": b"\x8e" + b"\xff" * 7 + b"\x00" + b".",
    "memo": b"]r\xff\xff\xff\x7f.",
    "nested": b"(" * 5_000_000 + b".",
    "tuples": b")" + b"\x85" * 3_000_000 + b".",
    "laughs": b"]" + b"\x94(" + b"h\x00" * 10 + b"e" + b"2" * 1_000_000 + b".",
    "place": b"K\xffQ.",
    "own-recursion": calling("builtins.eval", "(lambda f: f(f))(lambda f: f(f))"),
    "close-the-channel": calling("os.close", 3),
    "to-the-host": calling("os.write", 3, b"\x00" * 64),
    "fork": calling("os.fork"),
}


@pytest.mark.parametrize("stream", BOMBS.values(), ids=BOMBS)
def test_a_bomb_ends_in_an_error(stream: bytes, executor: LocalPythonExecutor, host: Host) -> None:
    executor("kept = 1")
    error = error_of(executor, forged(stream))
    assert isinstance(error, InterpreterError | ProtocolError | None)
    assert len(str(error)) < 3000
    still_works(executor)
    assert host.harm([]) == []


def test_a_pickle_that_runs_code_does_no_more_than_a_program(executor: LocalPythonExecutor, host: Host) -> None:
    prepared(executor, host)
    raid = "globals().update(loot=__import__('__main__').reap(__import__('os')))"
    for stream in (
        calling("os.system", f"touch {host.folder}/owned"),
        calling("posix.mkdir", f"{host.folder}/owned"),
        calling("builtins.exec", raid),
        calling("builtins.exec", "import __main__; __main__.loot = __main__.reap(__import__('os'))"),
    ):
        error_of(executor, forged(tupled(stream)))
        assert host.harm([]) == []
    assert executor("loot").output == []


def tupled(stream: bytes) -> bytes:
    """A pickle of a name and what another pickle gives."""
    return b"K\x01" + stream[:-1] + b"\x86."


HEADERS: list[Any] = [
    None,
    [],
    {"names": 5, "files": {}},
    {"names": ["x"], "files": [1]},
    {"names": ["x"], "files": {"<step 1>": 5}},
    {"names": [["x"]], "files": {}},
    {"names": ["x"] * 5, "files": {}},
    {"names": ["x"], "files": {"<step 99999999999999999999>": "x"}},
]


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_a_header_that_cannot_be_true(header: Any, executor: LocalPythonExecutor) -> None:
    executor("x = 1")
    about = json.dumps(header).encode()
    data = b"\x80\x05N." + tupled(b"K\x05.") + about + struct.pack(">BI", 1, len(about))
    error = error_of(executor, Snapshot(KIND, PYTHON, data))
    if error is not None:
        assert "could not be restored" in str(error)
        assert executor("x").output == 1
    still_works(executor)


def test_changed_bytes(executor: LocalPythonExecutor, host: Host) -> None:
    executor(
        "import math\nx = {'a': [1, 2.5], 'b': b'xyz'}\ndef f(n): return n + math.pi\nclass A:\n    y = 1\na = A()"
    )
    snapshot = executor.snapshot()
    rng = random.Random(5)
    for _ in range(60):
        data = bytearray(snapshot.data)
        for _ in range(rng.choice([1, 1, 3, 20])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        error = error_of(executor, Snapshot(snapshot.kind, snapshot.python, bytes(data)))
        assert isinstance(error, InterpreterError | ProtocolError | None)
    with LocalPythonExecutor(["*"], limits=LIMITS) as other:
        other.restore(snapshot)
        assert other("f(0) > 3, a.y").output == (True, 1)
    assert host.harm([]) == []


# ---- the form as bytes

WHOLE = Snapshot("K", "3.11.7", b"data" * 20, ("a", "b"), {"c": "it cannot"}).to_bytes()
START = WHOLE.index(b"\n") + 1


def sealed(rest: bytes) -> bytes:
    """Bytes whose checksum is right."""
    return WHOLE[:START] + hashlib.sha256(rest).digest() + rest


@given(st.data())
@settings(max_examples=200)
def test_changed_bytes_are_no_snapshot(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(WHOLE) - 1))
    change = data.draw(st.integers(1, 255))
    changed = WHOLE[:place] + bytes([WHOLE[place] ^ change]) + WHOLE[place + 1 :]
    with pytest.raises(ValueError, match="snapshot"):
        Snapshot.from_bytes(changed)
    with pytest.raises(ValueError, match="snapshot"):
        Snapshot.from_bytes(WHOLE[:place])


@given(st.integers(0, 300), st.binary(max_size=50))
@settings(max_examples=300)
def test_sealed_bytes_are_a_snapshot_or_an_error(place: int, new: bytes) -> None:
    rest = WHOLE[START + 32 : START + 32 + place] + new
    with contextlib.suppress(ValueError):
        snapshot = Snapshot.from_bytes(sealed(rest))
        assert Snapshot.from_bytes(snapshot.to_bytes()) == snapshot


TOLD: list[Any] = [
    [],
    {"kind": "K", "python": "3", "names": []},
    {"kind": "K", "python": "3", "names": [], "left_out": {}, "more": 1},
    {"kind": 1, "python": "3", "names": [], "left_out": {}},
    {"kind": "K\x1b[2J", "python": "3", "names": [], "left_out": {}},
    {"kind": "K" * 2000, "python": "3", "names": [], "left_out": {}},
    {"kind": "K", "python": None, "names": [], "left_out": {}},
    {"kind": "K", "python": "3", "names": {}, "left_out": {}},
    {"kind": "K", "python": "3", "names": [None], "left_out": {}},
    {"kind": "K", "python": "3", "names": [], "left_out": {"a": 1}},
    {"kind": "K", "python": "3", "names": [], "left_out": [1]},
]


@pytest.mark.parametrize("about", TOLD, ids=range(len(TOLD)))
def test_what_a_snapshot_says_of_itself_is_checked(about: Any) -> None:
    text = json.dumps(about).encode()
    with pytest.raises(ValueError, match="snapshot is damaged"):
        Snapshot.from_bytes(sealed(struct.pack(">I", len(text)) + text + b"data"))


def test_deeply_nested_text_is_damage() -> None:
    text = b"[" * 200_000
    with pytest.raises(ValueError, match="snapshot is damaged"):
        Snapshot.from_bytes(sealed(struct.pack(">I", len(text)) + text))

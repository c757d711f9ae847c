"""What an attack is: a hostile program, and what it would have to give back to have succeeded."""

from __future__ import annotations

import ast
import re
import textwrap
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from actloop.executors.session import SandboxLimits
from actloop.values.syntax import syntax_tree

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMON = '''
def reap(os):
    """What can be done with the module os: everything that works is loot."""
    loot = []

    def attempt(name, action):
        try:
            if action():
                loot.append(name)
        except Exception:
            pass

    attempt("read a file", lambda: os.read(os.open(canary, os.O_RDONLY), 100))
    attempt("wrote a file", lambda: os.write(os.open(canary, os.O_WRONLY | os.O_APPEND), b"!"))
    attempt("listed a folder", lambda: os.listdir(folder))
    attempt("read the environment", lambda: secret_name in os.environ)
    attempt("ran a command", lambda: os.system("true") == 0)
    attempt("found a process", lambda: os.kill(victim, 0) is None)
    return loot
'''
"""Defined in every session that attacks."""

RAW = '''
def passed(*results):
    """Results that are no refusal: the call took place, or failed for its arguments only."""
    return [result for result in results if result not in (-1, -38)]  # EPERM, ENOSYS

def worked(*results):
    """Results of calls that succeeded."""
    return [result for result in results if result >= 0]

def attempt(action):
    """What an action gives, or nothing if it fails."""
    try:
        return action()
    except (OSError, ValueError, MemoryError):
        return None

import ctypes, errno, os, struct, sys, threading, time

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

def call(name, *arguments):
    """The result of a system call, or its error number negated; the name may be a number."""
    number = NR[name] if isinstance(name, str) else name
    arguments = [ctypes.c_void_p(a) if a is None or isinstance(a, int) else a for a in arguments]
    ctypes.set_errno(0)
    result = _libc.syscall(ctypes.c_long(number), *arguments)
    return -ctypes.get_errno() if result == -1 else result
'''
"""Defined besides where every import is allowed."""

WIRE = '''
import json, os, struct, time

def _channel():
    """The descriptor on which the guest speaks to the host."""
    import gc

    lines = (item._line for item in gc.get_objects() if type(item).__name__ == "Channel")
    return next((getattr(line, "_write_fd", line.fd) for line in lines), 3)

CHANNEL = _channel()

def frame(message, blobs=(), text=None):
    """A frame of the protocol, well formed or not."""
    text = (json.dumps(message) if text is None else text).encode("utf-8", "surrogatepass")
    sizes = struct.pack(f">{len(blobs)}I", *map(len, blobs))
    return struct.pack(">III", len(text), len(blobs), sum(map(len, blobs))) + sizes + text + b"".join(blobs)

def say(data):
    """Write bytes to the host, past the guest."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(CHANNEL, rest):]
        except BlockingIOError:
            time.sleep(0.001)

def finish(value, blobs=()):
    """Say that the program has ended with a value that is given as it stands on the wire."""
    say(frame({"t": "finished", "output": value, "failure": None}, blobs))
    time.sleep(60)

def ask(number=1, name="echo", args=(), concurrent=False):
    """Say that a tool is called."""
    say(frame({"t": "call", "id": number, "name": name, "args": list(args), "kwargs": {}, "concurrent": concurrent}))
'''
"""Defined besides where a guest speaks to the host by itself."""


@dataclass(frozen=True, slots=True)
class Attack:
    """A hostile program.

    Attributes:
        family: The kind of attack.
        name: What this one does; unique in its family.
        code: The program. The value of its last expression is what it has got hold of: anything true is a success.
        imports: Additional authorised imports.
        limits: Limits of its session.
        prelude: What may be used: definitions, of which those that it uses are made beforehand (`definitions`).
        ends: Kind of the failure that it must end with; empty for none; None for any or none.
        dies: Whether its session must be lost; None when that does not matter.
        then: A second program for the same session, if that still lives; its value is judged like the first's.
        yields: Whether its value is nothing it got hold of, but something that the host has to bear.
        known: Why it still succeeds, until that is mended.
        control: Whether it succeeds without a sandbox: then that is tested too, so that it is known to be an attack.
        memory: Bytes by which the host may grow meanwhile.
        options: Further options of its executor.
        workspace: "read" or "write" where its session has a folder of the user's (`workplace`), which it may read, or
            write, too.
        needs: What an executor must have for it to be tried, as `lacks` of `kit.Subject` names it.
        platform: Name of the executor for which it is written; empty where it is written for any.
    """

    family: str
    name: str
    code: str
    imports: tuple[str, ...] = ("*",)
    limits: SandboxLimits = field(default_factory=lambda: SandboxLimits(wall=5.0))
    prelude: str = COMMON + RAW
    ends: str | None = None
    dies: bool | None = None
    then: str = ""
    yields: bool = False
    known: str = ""
    control: bool = False
    memory: int = 128 * 1024 * 1024
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    workspace: str = ""
    needs: tuple[str, ...] = ()
    platform: str = ""

    def __str__(self) -> str:
        return f"{self.platform and self.platform + '-'}{self.family}-{self.name}"

    @property
    def definitions(self) -> str:
        """What of the prelude its programs use, so that what they do not use need not be there."""
        return _used(self.prelude, f"{self.code}\n{self.then}")

    @property
    def speaks(self) -> bool:
        """Whether it speaks to the host by itself, past the guest."""
        return "def say(" in self.prelude

    @property
    def traits(self) -> frozenset[str]:
        """What an executor must have for it to be tried."""
        starts_threads = re.search(r"\bThread\(|start_new_thread|ThreadPool", f"{self.code}{self.then}")
        return frozenset((*self.needs, *(["threads"] if starts_threads else [])))


def _used(definitions: str, code: str) -> str:
    """Those of some definitions whose names occur in code, or in one that is used."""
    pieces = [(_bound(node), ast.unparse(node)) for node in _statements(definitions)]
    words, kept = _words(code), set[int]()
    while fresh := [at for at, (name, _) in enumerate(pieces) if name in words and at not in kept]:
        kept.update(fresh)
        words |= {word for at in fresh for word in _words(pieces[at][1])}
    return "\n".join(pieces[at][1] for at in sorted(kept))


def _statements(definitions: str) -> list[ast.stmt]:
    found: list[ast.stmt] = []
    for node in syntax_tree(definitions).body:
        found += [ast.Import([name]) for name in node.names] if isinstance(node, ast.Import) else [node]
    return found


def _bound(node: ast.stmt) -> str:
    """The name that a statement defines, or to whose object it does something."""
    match node:
        case ast.Import(names=[ast.alias(name=name, asname=asname)]):
            return asname or name.partition(".")[0]
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.Assign(targets=[target]):
            while isinstance(target, ast.Attribute | ast.Subscript):
                target = target.value
            if isinstance(target, ast.Name):
                return target.id
        case _:
            pass
    raise ValueError(f"a prelude consists of imports, functions, classes and assignments, not of {ast.unparse(node)}")


def _words(code: str) -> set[str]:
    return set(re.findall(r"\w+", code))


HARNESS = frozenset(_bound(node) for text in (COMMON, RAW, WIRE) for node in _statements(text))
"""Names that attacks are promised."""


class Family:
    """Attacks of one kind, as they are written down.

    Args:
        name: The family's name.
        options: Fields that all its attacks share; `wall` stands for limits with that wall time.
    """

    def __init__(self, name: str, **options: Any) -> None:
        self.name = name
        self.options = options
        self.attacks: list[Attack] = []

    def add(self, name: str, code: str, **options: Any) -> None:
        """Write an attack down."""
        options = {**self.options, **options}
        wall: float | None = options.pop("wall", None)
        if wall is not None:
            options["limits"] = replace(options.get("limits") or SandboxLimits(), wall=wall)
        self.attacks.append(Attack(self.name, name, textwrap.dedent(code).strip(), **options))

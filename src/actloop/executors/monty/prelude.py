"""The part of a session that is written in Monty's own Python: how values cross, and how tools are called.

Everything crosses as JSON text in the form of the guest's codec (`guest.encode`, `guest.decode`), so that both ends see
the values that a guest would give. Monty's own conversion is never used: the host would build whatever a program
sends, such as a dict of a million keys that all collide, before anything could be checked.

Text goes out as lines of standard error that begin with the session's own mark; then `__actloop_call()`, which nothing
defines, gives the turn to the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actloop.executors.monty.prelude_values import CLASSES, SENDING, TAKING
from actloop.executors.monty.prelude_variables import VARIABLES
from actloop.guest import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actloop.executors.session import RemoteTool

CALL = "__actloop_call"
"""The function by which a program gives the turn to the host."""

LAST = "__actloop_last"
"""The function that is told the value of a program's last expression."""

WAITS = "__actloop_waits"
"""True while a program runs that awaits: asynchronous tools then give something to be awaited."""

MOST_SHARED = 1000
"""Pairs of variables with an object in common that are told."""

_BUILTINS = (
    "BaseException bool bytes complex dict float frozenset getattr hasattr hex id int isinstance len list max min print"
    " range repr set setattr str sum tuple type AttributeError Exception IndexError KeyError RecursionError ValueError"
)

_HEAD = """
def __actloop_make(Kept=__actloop_Kept, Record=__actloop_Record, BUILTINS):
    import base64, datetime, decimal, json, pathlib, sys

    dumps, loads, channel = json.dumps, json.loads, sys.stderr
    moment, clock, day, span, zone = (
        datetime.datetime, datetime.time, datetime.date, datetime.timedelta, datetime.timezone
    )
    wide = 1 << 1600
    plain = {
        str, int, float, bool, complex, bytes, type(None), moment, clock, day, span, zone, decimal.Decimal, pathlib.Path
    }
    factories = (None, int, float, str, bool, list, dict, set, tuple)
    classes = {}
    settings = {"mark": "", "limit": 1 << 16}
"""

_CALLING = """
    def say(data):
        text = dumps(data, ensure_ascii=False, separators=(",", ":"))
        if len(text) > settings["limit"]:
            fill([0], 1)
        print(settings["mark"] + text, file=channel)

    def last(value):
        try:
            say({"value": out(value, [settings["limit"]], 0)})
        except (ValueError, RecursionError):
            say({"value": opaque(value, [settings["limit"]])})

    def send(name, args, kwargs, later):
        left = [settings["limit"]]
        try:
            say({"name": name, "later": later, "args": items(args, left, 0), "kwargs": table(kwargs, left, 0)})
        except (ValueError, RecursionError) as error:
            raise ValueError(name + "() cannot be called with these arguments: " + str(error))

    def use(name, args, kwargs):
        send(name, args, kwargs, False)
        return take(__actloop_call())

    async def use_later(name, args, kwargs):
        send(name, args, kwargs, True)
        return take(await __actloop_call())

    def use_either(name, args, kwargs):
        if __actloop_waits:
            return use_later(name, args, kwargs)
        return use(name, args, kwargs)
"""

_TAIL = """
    return last, use, use_either, take, tell, share, settings, classes


(
    __actloop_last, __actloop_use, __actloop_use_either, __actloop_take, __actloop_tell, __actloop_share,
    __actloop_settings, __actloop_classes,
) = __actloop_make()
__actloop_waits = False
"""

_PARTS = (CLASSES, _HEAD, SENDING, _CALLING, TAKING, VARIABLES, _TAIL)

SOURCE = (
    "\n".join(_PARTS)
    .replace("BUILTINS", ", ".join(f"{name}={name}" for name in _BUILTINS.split()))
    .replace("DEPTH", str(MAX_DEPTH))
    .replace("MOST_SHARED", str(MOST_SHARED))
    .lstrip()
)
"""What is fed to a session before anything else."""


def setting(mark: str, limit: int) -> str:
    """A program that tells the prelude the session's mark and the bytes that may cross at once."""
    return f'__actloop_settings["mark"] = {mark!r}\n__actloop_settings["limit"] = {limit}\nNone'


def wrappers(tools: Iterable[RemoteTool]) -> str:
    """A program that defines tools."""
    lines = [
        f"def {tool.name}(*args, **kwargs):\n"
        f"    return __actloop_{'use_either' if tool.is_async else 'use'}({tool.name!r}, args, kwargs)\n"
        for tool in tools
    ]
    return "".join(lines) + "None"


def binding(name: str) -> str:
    """A program that binds the value `__actloop_given`, as JSON text, to a name."""
    return f"{name} = __actloop_take(__actloop_given)\n__actloop_given = None"


def telling(hidden: Iterable[str], *, values: bool, exactly: bool = False) -> str:
    """A program that tells the session's variables, or their names only; those of tools are hidden.

    Told exactly, collections that would arrive as lists and dictionaries are records, of the names that they have in
    `collections`, and objects of programs' own classes are records of the name `object CLASS`.
    """
    return f"__actloop_tell(locals(), {sorted(hidden)!r}, {values}, {exactly})\nNone"


def sharing(hidden: Iterable[str]) -> str:
    """A program that tells pairs of the session's variables that have an object in common which may change.

    A variable is paired with itself if parts of it are one object, and no name with itself if not all was looked at.
    """
    return f"__actloop_share(locals(), {sorted(hidden)!r})\nNone"


def knowing(classes: Mapping[str, Iterable[str]]) -> str:
    """A program that tells the prelude the attributes of objects of the user's classes, which Monty does not list."""
    return "".join(f"__actloop_classes[{name!r}] = {list(names)!r}\n" for name, names in classes.items()) + "None"

"""Which modules the user's code may import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


BASE_BUILTIN_MODULES = """
    __future__ abc array ast asyncio base64 binascii bisect builtins bz2 calendar cmath codecs collections colorsys
    concurrent contextlib contextvars copy csv dataclasses datetime decimal difflib dis email enum errno fnmatch
    fractions functools gc getpass graphlib gzip hashlib heapq hmac html inspect io ipaddress itertools json keyword
    linecache locale logging lzma math mimetypes numbers operator pathlib pickle posixpath pprint queue quopri random re
    reprlib sched secrets shlex stat statistics string stringprep struct sys tempfile textwrap threading time timeit
    token tokenize traceback types typing unicodedata unittest urllib.parse uuid warnings weakref xml zipfile zlib
    zoneinfo
    """.split()  # noqa: SIM905 - a list of names, not of strings
"""Modules that model-written code may import: those of the standard library that only compute."""


_NO_NETWORK = "there is no network in this sandbox; use the tools that were given to you"
_NO_FILES = "there are no files, environment or other programs in this sandbox; use the tools that were given to you"
_INSTEAD = {
    **dict.fromkeys(
        ("requests", "httpx", "urllib", "http", "socket", "aiohttp", "ftplib", "smtplib", "ssl"), _NO_NETWORK
    ),
    **dict.fromkeys(("os", "subprocess", "shutil", "glob", "platform", "multiprocessing", "signal"), _NO_FILES),
    "numpy": "use math, statistics and lists",
    "pandas": "use csv, statistics and dicts",
    "scipy": "use math and statistics",
    "sympy": "use fractions and math",
    "bs4": "use re or html",
    "dateutil": "use datetime",
    "pytz": "use zoneinfo",
}


def allows_import(name: str, allowed: Iterable[str]) -> bool:
    """True if a list of authorised imports covers a module: by its name, a parent's, `pkg.*` or `*`."""
    for entry in allowed:
        stem = entry.removesuffix(".*")
        if entry == "*" or name == stem or name.startswith(stem + "."):
            return True
    return False


class Imports:
    """The `__import__` that the user's code sees; imports made by libraries do not pass here."""

    def __init__(self, allowed: Sequence[str], tools: Mapping[str, Any]) -> None:
        import builtins

        self.allowed = list(allowed)
        self._known: set[str] = set()
        self._tools = tools
        self._import = builtins.__import__

    def __call__(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - the names that callers may use
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        # A module written in C that needs another (datetime: _strptime) passes a list where statements pass a tuple.
        if level == 0 and name not in self._known and type(fromlist) is not list:
            if allows_import(name, self.allowed):
                self._known.add(name)
            elif not self._permits(name, fromlist or ()):
                raise self._refusal(name)
        return self._import(name, globals, locals, cast("Sequence[str]", fromlist or ()), level)

    def _permits(self, name: str, fromlist: Sequence[str]) -> bool:
        if name == "__main__":
            return True
        return bool(fromlist) and all(allows_import(f"{name}.{part}", self.allowed) for part in fromlist)

    def _refusal(self, name: str) -> ImportError:
        top = name.partition(".")[0]
        if name in self._tools:
            return ImportError(
                f"{name} is a tool and already defined: call {name}(...) without importing it", name=name
            )
        instead = _INSTEAD.get(name) or _INSTEAD.get(top)
        return ImportError(
            f"Import of {name} is not allowed"
            + (f": {instead}" if instead else "")
            + f". The user can allow it with additional_authorized_imports=[{top!r}]",
            name=name,
        )

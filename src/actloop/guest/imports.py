"""Which modules the user's code may import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


# The rule: a module is listed if what it is for can be done on values in memory. It may take files besides, as `csv`
# and `tarfile` do. Not listed is what serves the machine (processes, signals, users, terminals), the network, databases
# in files, foreign memory, loading code by name, or somebody who types; nor what Python has deprecated.
BASE_BUILTIN_MODULES = """
    __future__ abc argparse array ast asyncio base64 binascii bisect builtins bz2 cProfile calendar cmath codecs codeop
    collections colorsys concurrent configparser contextlib contextvars copy copyreg csv dataclasses datetime decimal
    difflib dis doctest email encodings enum errno fnmatch fractions functools gc getopt graphlib gzip hashlib
    heapq hmac html inspect io ipaddress itertools json keyword linecache locale logging lzma marshal math mimetypes
    ntpath numbers opcode operator optparse pathlib pickle pickletools plistlib posixpath pprint profile pstats queue
    quopri random re reprlib sched secrets shlex stat statistics string stringprep struct symtable sys tarfile tempfile
    textwrap threading time timeit token tokenize tomllib traceback tracemalloc types typing unicodedata unittest
    urllib.parse uuid warnings wave weakref xml zipfile zlib zoneinfo
    """.split()  # noqa: SIM905 - a list of names, not of strings
"""Modules that model-written code may import: those of the standard library that only compute."""

NETWORK_MODULES = ("http", "select", "selectors", "socket", "ssl", "urllib")
"""Modules that programs may import besides where they have a network."""


def _listed(*rows: tuple[str, str]) -> dict[str, str]:
    return {name: instead for names, instead in rows for name in names.split()}


_NO_NETWORK = (
    "there is no network in this sandbox; use the tools that were given to you (urllib.parse takes URLs apart)"
)
_SOME_NETWORK = (
    "requests are made with urllib.request here (http.client, ssl and socket are there, too), by HTTP and HTTPS, to the"
    " allowed hosts alone"
)
_NO_FILES = (
    "there are no files of the host and no environment in this sandbox, only an empty scratch folder: use open(),"
    " pathlib or tempfile for it, and for everything else the tools that were given to you"
)
_SOME_FILES = "use open(), pathlib, csv or zipfile for the files of the current folder, which is the user's"
_INSTEAD = _listed(
    (
        "requests httpx urllib urllib3 http socket socketserver aiohttp websockets webbrowser paramiko boto3",
        _NO_NETWORK,
    ),
    ("ftplib smtplib imaplib poplib nntplib telnetlib ssl select selectors xmlrpc wsgiref", _NO_NETWORK),
    (
        "os glob shutil filecmp fileinput mailbox netrc mmap",
        _NO_FILES,
    ),
    (
        "subprocess multiprocessing pty posix psutil",
        "there are no other programs in this sandbox; use concurrent.futures for threads, or your tools",
    ),
    (
        "platform sysconfig site resource pwd grp syslog",
        "nothing is known here of the machine; sys has Python's version",
    ),
    ("signal atexit faulthandler", "use try and finally; a program that takes too long is stopped by itself"),
    ("sqlite3 dbm shelve sqlalchemy duckdb", "use dicts and lists: variables are kept from program to program"),
    ("ctypes cffi", "use struct and array for binary data"),
    ("importlib imp runpy pkgutil zipimport modulefinder", "write an import statement with the module's name"),
    (
        "pdb bdb code cmd getpass readline rlcompleter curses tkinter turtle",
        "nobody can type or watch here: print values",
    ),
    ("venv ensurepip pip setuptools", "nothing can be installed here; use the standard library or your tools"),
    ("_thread", "use threading"),
    ("dill cloudpickle joblib", "use pickle"),
    ("numpy", "use math, statistics and lists"),
    ("pandas polars", "use csv, statistics and dicts"),
    ("scipy sklearn", "use math and statistics"),
    ("sympy mpmath", "use fractions, decimal and math"),
    ("matplotlib seaborn plotly", "nothing can be drawn here: print the numbers"),
    ("bs4 lxml", "use html.parser, xml.etree.ElementTree or re"),
    ("yaml", "use json or re"),
    ("toml tomli", "use tomllib"),
    ("simplejson orjson ujson", "use json"),
    ("dateutil pendulum arrow", "use datetime"),
    ("pytz", "use zoneinfo"),
    ("regex", "use re"),
    ("attr attrs pydantic", "use dataclasses"),
    ("pytest", "use assert or unittest"),
)


def allows_import(name: str, allowed: Iterable[str]) -> bool:
    """True if a list of authorised imports covers a module: by its name, a parent's, `pkg.*` or `*`."""
    for entry in allowed:
        stem = entry.removesuffix(".*")
        if entry == "*" or name == stem or name.startswith(stem + "."):
            return True
    return False


class Imports:
    """The `__import__` that the user's code sees; imports made by libraries do not pass here."""

    def __init__(
        self, allowed: Sequence[str], tools: Mapping[str, Any], *, network: bool = False, files: bool = False
    ) -> None:
        import builtins

        self.allowed = list(allowed)
        self.known: set[str] = set()
        self._tools = tools
        self._network = network
        self._files = files
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
        if level == 0 and name not in self.known and type(fromlist) is not list:
            if allows_import(name, self.allowed):
                self.known.add(name)
            elif not self._permits(name, fromlist or ()):
                raise self.refusal(name)
        return self._import(name, globals, locals, cast("Sequence[str]", fromlist or ()), level)

    def _permits(self, name: str, fromlist: Sequence[str]) -> bool:
        if name == "__main__":
            return True
        return bool(fromlist) and all(allows_import(f"{name}.{part}", self.allowed) for part in fromlist)

    def refusal(self, name: str) -> ImportError:
        """The error of a module that may not be imported: what to do instead, and how the user can allow it."""
        top = name.partition(".")[0]
        if name in self._tools:
            return ImportError(
                f"{name} is a tool and already defined: call {name}(...) without importing it", name=name
            )
        instead = (
            _INSTEAD.get(name) or _INSTEAD.get(top) or self._meant(top) or "use the standard library or your tools"
        )
        if self._network and instead is _NO_NETWORK:
            instead = _SOME_NETWORK
        if self._files and instead is _NO_FILES:
            instead = _SOME_FILES
        way_out = f"allow it with additional_authorized_imports=[{top!r}], or --imports {top}"
        if instead is _NO_NETWORK:  # the module alone would reach nothing
            open_network = "name hosts that programs may reach with allow_hosts=[...], or --allow-host"
            way_out = open_network if top in NETWORK_MODULES else f"{open_network}, and {way_out}"
        return ImportError(f"Import of {name} is not allowed: {instead}. The user can {way_out}", name=name)

    def _meant(self, top: str) -> str:
        """An allowed module of nearly this name, unless it is that of another module."""
        import difflib
        import sys

        if top in sys.stdlib_module_names:
            return ""
        known = sorted({entry.partition(".")[0] for entry in self.allowed} - {"*"})
        close = difflib.get_close_matches(top, known, 1, 0.75)
        return f"if {close[0]} is meant, import that" if close and close[0][0] == top[0] else ""

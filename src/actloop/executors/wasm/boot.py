"""What Pyodide runs first: it makes the guest, and hands it the stream to the host."""

from __future__ import annotations

import json
import sys
from types import ModuleType

_FOREIGN = ("js", "pyodide_js", "pyodide", "_pyodide", "_pyodide_core")
"""Modules that lead from Python to JavaScript, or that nobody needs without it."""

_WARM = """
    _strptime ast asyncio base64 bisect calendar collections contextlib copy csv dataclasses datetime decimal difflib
    enum fractions functools hashlib heapq html importlib.resources inspect io itertools json linecache math operator
    os pathlib pickle pprint random re select shutil signal statistics string struct tempfile textwrap threading time
    traceback types typing unicodedata urllib.parse uuid xml.etree.ElementTree zipfile zipimport zlib zoneinfo
    """.split()  # noqa: SIM905 - a list of names, not of strings
"""Modules that the guest and many programs need: they are compiled from source here, which takes long."""


def prepare(source: str) -> None:
    """Load the guest and what it needs."""
    for name in _WARM:
        __import__(name)
    guest = ModuleType("actloop_guest")
    sys.modules[guest.__name__] = guest
    exec(compile(source, "<guest>", "exec"), guest.__dict__)  # noqa: S102 - our own program


def install(packages: str) -> None:
    """Let wheels be imported from: as they are, or unpacked where they hold more than Python."""
    import zipfile

    for name in json.loads(packages):
        path = f"/packages/{name}"
        with zipfile.ZipFile(path) as wheel:
            if any(member.endswith(".so") for member in wheel.namelist()):
                path = path.removesuffix(".whl")
                wheel.extractall(path)
        sys.path.append(path)


def serve(stream: int, config: str) -> None:
    """Run the guest on a device; never returns."""
    import random

    _close_javascript()
    random.seed()  # or all sessions that start from one image would draw the same numbers
    sys.modules["actloop_guest"].serve(stream, json.loads(config))


def _close_javascript() -> None:
    """Leave no module that leads to JavaScript. Who digs finds some, in which no text can be run."""
    for name in list(sys.modules):
        if name.partition(".")[0] in _FOREIGN:
            del sys.modules[name]
    sys.modules.update(dict.fromkeys(_FOREIGN))  # pyright: ignore[reportCallIssue, reportArgumentType] - not to be found
    for finder in [finder for finder in sys.meta_path if finder.__module__.startswith("_pyodide")]:
        getattr(finder, "jsproxies", {}).clear()
        sys.meta_path.remove(finder)

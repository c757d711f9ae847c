"""The program that runs model-written code in a sandbox, and the protocol it speaks.

It needs nothing but the standard library and imports nothing else of actloop, so it can run in any sandbox: on this
machine as this package, elsewhere as the one file that `executors.bundle` makes of it. From the bottom up:

- `wire`, `values`: what both ends agree on;
- `encode`, `decode` with their helpers: the value codec, and `framing`: messages as bytes; all without I/O, shared
  with the host;
- `interrupts`, `channel`, `plain`, `streams`, `tools`, `imports`, `hints`, `failures`: the parts of the guest;
- `steps`, `pickling`, `snapshots`: its variables as bytes, with the lines of the programs that they need;
- `multiplex`, `keeper`: what starts and keeps the guest where the host has one stream to the sandbox and nothing else;
- `session`: the guest. `serve` runs it on an open stream, `main` on standard input and output.

The host gets the codec from here; the guest itself is loaded when it is first asked for. Importing has no side effects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .decode import Decoder, from_json
from .encode import Encoder, to_json
from .framing import Unpacker, pack
from .imports import BASE_BUILTIN_MODULES, allows_import
from .limits import TOO_SLOW, limit_hint
from .values import Audio, EncodeError, Opaque, Record, WireError
from .wire import MAX_DEPTH, MAX_OPEN_CALLS, MAX_VALUE, OUTPUT_NOTICE, PROTOCOL

if TYPE_CHECKING:
    from .session import Guest, main, serve

__all__ = [
    "BASE_BUILTIN_MODULES",
    "MAX_DEPTH",
    "MAX_OPEN_CALLS",
    "MAX_VALUE",
    "OUTPUT_NOTICE",
    "PROTOCOL",
    "TOO_SLOW",
    "Audio",
    "Decoder",
    "EncodeError",
    "Encoder",
    "Guest",
    "Opaque",
    "Record",
    "Unpacker",
    "WireError",
    "allows_import",
    "from_json",
    "limit_hint",
    "main",
    "pack",
    "serve",
    "to_json",
]


if not TYPE_CHECKING:  # a type checker would take every name for one that exists

    def __getattr__(name: str) -> Any:
        if name not in ("Guest", "main", "serve"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import session

        return getattr(session, name)

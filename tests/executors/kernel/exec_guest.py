"""A guest for tests of the sandbox: evaluates each snippet it receives and answers with the result's `repr`."""

from __future__ import annotations

import os
import struct
import traceback
from typing import Any


def _read(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = os.read(fd, size - len(data))
        if not chunk:
            os._exit(0)
        data += chunk
    return data


def serve(fd: int, config: dict[str, Any]) -> None:
    """Run snippets for ever; `result` is what a snippet leaves in the variable of that name."""
    space: dict[str, Any] = {"config": config, "channel": fd}
    while True:
        (size,) = struct.unpack("!I", _read(fd, 4))
        source = _read(fd, size).decode()
        try:
            space["result"] = None
            exec(compile(source, "<snippet>", "exec"), space)
            answer = "ok " + repr(space["result"])
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        payload = answer.encode()
        os.write(fd, struct.pack("!I", len(payload)) + payload)

"""The guest as one single file, for sandboxes that cannot see this package: containers, microVMs, other machines.

The file runs under any CPython from 3.11 on: `python guest.py [configuration as JSON]`, over standard input and output.
"""

from __future__ import annotations

import ast
import binascii
import json
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actloop import guest
from actloop.values.syntax import syntax_tree

if TYPE_CHECKING:
    from collections.abc import Mapping

MODULES = (
    *("wire", "values", "encoders", "library_encoders", "dispatch", "encode"),
    *("decoders", "library_decoders", "decode", "framing"),
    *("imports", "interrupts", "channel", "plain", "tools", "streams", "limits"),
    *("read_only", "files", "hints", "failures"),
    *("steps", "pickling", "snapshots", "multiplex", "keeper", "session"),
)
"""What goes into the file, each module after those that it needs while it is loaded."""

_FILE = '''"""A guest of actloop: runs programs for a host, over standard input and output. Made of `actloop.guest`."""

from __future__ import annotations

{imports}

if TYPE_CHECKING:
{type_imports}

{parts}

if __name__ == "__main__":
    main()
'''

BOOT = """
import binascii, os, sys, zlib
def take(count):
    data = b""
    while len(data) < count:
        part = os.read(0, count - len(data))
        if not part:
            os._exit(75)
        data += part
    return data
source, _, options = zlib.decompress(binascii.a2b_base64(take(int(take(8))))).partition(b"\\0")
sys.argv = ["guest.py", "--keep", options.decode()]
exec(compile(source, "guest.py", "exec"))
""".strip()
"""A program for `python -I -c` that starts a keeper without any file: it reads first what `boot` gives, then frames."""


@cache
def source() -> str:
    """The text of the file; always the same for the same version of this package."""
    imports: set[str] = set()
    type_imports: set[str] = set()
    parts: list[str] = []
    for name in MODULES:
        lines = Path(guest.__file__).with_name(f"{name}.py").read_text("utf-8").splitlines()
        for node in reversed(syntax_tree("\n".join(lines)).body):
            match node:
                case ast.Import() | ast.ImportFrom():
                    imports |= _imports(node)
                case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                    type_imports = type_imports.union(*map(_imports, node.body))
                case ast.Expr(lineno=1):  # the module's docstring
                    pass
                case _:
                    continue
            del lines[node.lineno - 1 : node.end_lineno]
        parts.append("\n".join(lines).strip())
    return _FILE.format(
        imports="\n".join(sorted(imports)),
        type_imports="\n".join(f"    {line}" for line in sorted(type_imports)),
        parts="\n\n\n".join(parts) + "\n",
    )


def boot(options: Mapping[str, Any]) -> bytes:
    """What `BOOT` reads from its standard input before anything else; plain ASCII.

    Args:
        options: Those of `guest.keeper.Keeper`.
    """
    text = binascii.b2a_base64(zlib.compress(f"{source()}\0{json.dumps(options)}".encode()), newline=False)
    return b"%08d" % len(text) + text


def _imports(node: ast.stmt) -> set[str]:
    """The imports of a statement that the file needs too, one a line: those of other modules than the guest's."""
    if isinstance(node, ast.ImportFrom) and (node.level or node.module == "__future__"):
        return set()
    lines: set[str] = set()
    if isinstance(node, ast.Import):
        lines = {ast.unparse(ast.Import([name])) for name in node.names}
    elif isinstance(node, ast.ImportFrom):
        lines = {ast.unparse(ast.ImportFrom(node.module, [name], 0)) for name in node.names}
    return lines

"""Snapshots of sessions, and their form as bytes.

What a snapshot holds is for guests alone. The host carries it, and checks what can be checked from outside; it never
loads it.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

_MAGIC = b"actloop snapshot 1\n"
_LENGTH = struct.Struct(">I")
_DIGEST = 32
_MOST_TEXT = 1_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The variables, functions and imports of a session at one moment; `Session.restore` gives them to another.

    Attributes:
        kind: What kind of sandbox it was taken in; it can be restored in this kind only.
        python: Version of Python there, as "3.11.7"; it can be restored by the same minor version only.
        data: For the guest alone. The host never looks into it: it may do anything when it is loaded.
        names: The variables that it holds.
        left_out: Why a variable could not be taken, by its name.
    """

    kind: str
    python: str
    data: bytes = field(repr=False)
    names: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])

    def to_bytes(self) -> bytes:
        """All of it, to be kept or sent. Everything that programs computed is in it, readable to whoever has it."""
        about = {"kind": self.kind, "python": self.python, "names": self.names, "left_out": dict(self.left_out)}
        text = json.dumps(about).encode()
        rest = (_LENGTH.pack(len(text)), text, self.data)
        return b"".join((_MAGIC, _digest(rest), *rest))

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Self:
        """A snapshot from its bytes. They are checked for damage, not for who made them: hostile ones do no more in a
        sandbox than a hostile program.

        Raises:
            ValueError: They are no snapshot, or damaged.
            TypeError: They are no bytes.
        """
        if not isinstance(data, bytes | bytearray | memoryview):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"Snapshot.from_bytes takes bytes, as to_bytes gives them; got {type(data).__name__}")
        view = memoryview(data)
        view = view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
        start = len(_MAGIC) + _DIGEST
        if bytes(view[: len(_MAGIC)]) != _MAGIC:
            raise ValueError("these bytes are no snapshot of a session, or that of another version of actloop")
        if len(view) < start + _LENGTH.size or _digest((view[start:],)) != bytes(view[len(_MAGIC) : start]):
            raise ValueError("the snapshot is damaged or cut off")
        begin = start + _LENGTH.size
        end = begin + _LENGTH.unpack(view[start:begin])[0]
        try:
            about = json.loads(bytes(view[begin:end]))
        except (ValueError, RecursionError):
            about = None
        if end > len(view) or type(about) is not dict or set(cast("Any", about)) != {"kind", "python", *_LISTED}:
            raise ValueError("the snapshot is damaged: what it says about itself cannot be read")
        fields = cast("dict[str, Any]", about)
        if not (_is_text(fields["kind"]) and _is_text(fields["python"]) and is_listing(fields)):
            raise ValueError("the snapshot is damaged: what it says about itself cannot be true")
        listed = (tuple(cast("list[str]", fields["names"])), cast("dict[str, str]", fields["left_out"]))
        return cls(fields["kind"], fields["python"], bytes(view[end:]), *listed)


_LISTED = ("names", "left_out")


def check_snapshot(snapshot: Any) -> None:
    """Refuse what is no snapshot.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(snapshot, Snapshot):
        raise TypeError(
            f"restore takes a Snapshot; got {type(snapshot).__name__}. Snapshot.from_bytes makes one of its bytes"
        )
    for name, kind in (("kind", str), ("python", str), ("data", bytes), ("names", tuple)):
        if not isinstance(getattr(snapshot, name), kind):
            raise TypeError(
                f"restore takes a Snapshot as snapshot() and Snapshot.from_bytes make it; {name} of this one is "
                f"{type(getattr(snapshot, name)).__name__}"
            )


def _digest(parts: tuple[bytes | memoryview, ...]) -> bytes:
    import hashlib

    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def _is_text(value: Any) -> bool:
    return type(value) is str and len(value) <= _MOST_TEXT and value.isprintable()


def is_listing(fields: Mapping[Any, Any]) -> bool:
    """Whether the names and the reasons have the types and sizes that they ought to have."""
    names, left_out = fields.get("names"), fields.get("left_out")
    if type(names) is not list or type(left_out) is not dict:
        return False
    texts: list[Any] = [*cast("list[Any]", names), *cast("dict[Any, Any]", left_out)]
    texts += cast("dict[Any, Any]", left_out).values()
    return all(type(text) is str and len(text) <= _MOST_TEXT for text in texts)

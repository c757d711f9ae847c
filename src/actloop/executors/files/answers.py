"""What a guest says of its files: untrusted, so each answer is held against the form that it must have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from actloop.errors import ProtocolError
from actloop.executors.files.state import Entry, shown
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from collections.abc import Iterable

KINDS = {
    "file": "",
    "folder": "",
    "link": "it is a link",
    "hard link": "it is a second name of another file",
    "device": "it is no file",
    "deep": "it lies too deep",
    "unreadable": "it cannot be read",
    "name": "its name is not text",
}
"""Why an entry of each kind is not taken; empty for those that are."""


def read_page(answer: Any) -> tuple[str, dict[str, Entry], bool]:
    """A page of the list of files: its mark, entries by name (an empty one says that there are too many), and whether
    another page follows.

    Raises:
        ProtocolError: It is none.
    """
    if type(answer) is not list or len(cast("list[Any]", answer)) != 3:
        raise ProtocolError("The sandbox sent a list of files that is none")
    mark, page, more = cast("list[Any]", answer)
    if type(mark) is not str or len(mark) > 64 or type(page) is not list or type(more) is not bool:
        raise ProtocolError("The sandbox sent a list of files that is none")
    return mark, dict(map(_entry, cast("list[Any]", page))), more


def _entry(item: Any) -> tuple[str, Entry]:
    fields = cast("list[Any]", item) if type(item) is list else []
    if [type(part) for part in fields] != [str, str, int, str]:
        raise ProtocolError("The sandbox sent a file that is none")
    name, kind, size, digest = fields
    if kind == "more":
        return "", Entry("file", 0, "")
    if not name or len(name) > 10_000 or kind not in KINDS or not 0 <= size < 1 << 62 or len(digest) > 64:
        raise ProtocolError("The sandbox sent a file that is none")
    return name, Entry(kind, size, digest)


def read_contents(answer: Any, parts: list[tuple[str, int, int]]) -> list[bytes | None]:
    """The contents of the parts that were asked for; None for one that cannot be read.

    Raises:
        ProtocolError: They are none.
    """
    answers = cast("list[Any]", answer) if type(answer) is list else []
    if len(answers) != len(parts) or any(type(data) not in (bytes, type(None)) for data in answers):
        raise ProtocolError("The sandbox sent other contents than were asked for")
    return answers


def read_failures(answer: Any, names: Iterable[str]) -> dict[str, str]:
    """Why files could not be put into the sandbox, by name.

    Raises:
        ProtocolError: It is no such answer.
    """
    if type(answer) is not dict:
        raise ProtocolError("The sandbox did not say how it took the files")
    said = cast("dict[Any, Any]", answer)
    known = set(names)
    return {name: cut(shown(why), 200) for name, why in said.items() if name in known and type(why) is str}

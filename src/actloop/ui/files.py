"""What became of a workspace, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actloop.values.sizes import in_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actloop.values.events import FilesChanged

_MOST = 6


def changes_in_words(event: FilesChanged) -> str:
    """The changes of an event on one line."""
    parts = [
        _told("new", list(map(_file, event.created))),
        _told("changed", list(map(_file, event.changed))),
        _told("deleted", event.deleted),
        _told("not kept", [f"{name} ({why})" if name else why for name, why in event.refused.items()]),
    ]
    return "; ".join(filter(None, parts))


def _file(file: dict[str, Any]) -> str:
    return f"{file['name']} ({file['type']}, {in_bytes(file['size'])})"


def _told(what: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    more = f" and {len(items) - _MOST:,} more" if len(items) > _MOST else ""
    return f"{what} {', '.join(items[:_MOST])}{more}"

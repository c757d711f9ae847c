"""Names that a sandbox may give to files of this machine."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from typing import Any

from actloop.executors.files.parts import OWN
from actloop.guest.files import MAX_NESTING

_VERSIONS = frozenset({".git", ".hg", ".svn", ".bzr", ".jj", "git~1"})
"""Folders of version control: what is in them is run on this machine by innocent commands."""

_UNSEEN = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f\\\\]"
)
_UNSHOWN = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2060-\u2065\u206a-\u206f\u2800\u3164\uffa0\U0001d173-\U0001d17a]"
    "|[\u200c\u200d](/|$)"  # which join or part two letters, or the parts of an emoji
)
_JOINERS = "\u200c\u200d"
_MAX_PART, _MAX_NAME = 255, 1000  # bytes


def unfit(name: Any) -> str:
    """Why a sandbox may not use a name in the folder; empty when it may."""
    if type(name) is not str or not name:
        return "it has no name"
    parts = name.split("/")
    if _UNFIT.search(name):
        return "its name holds a character that a file's name should not have"
    if _UNSHOWN.search(name) or any(
        unicodedata.category(part[0])[0] == "M" or part[0] in _JOINERS for part in parts if part
    ):
        return "its name holds a character that is not shown"
    if len(name.encode()) > _MAX_NAME:
        return "its name is too long"
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        return f"its name cannot be written in the encoding of this machine's file names ({encoding})"
    if len(parts) > MAX_NESTING:
        return f"it lies deeper than {MAX_NESTING} folders"
    for part in parts:
        if part in ("", ".", ".."):
            return "its name leads elsewhere"
        if len(part.encode()) > _MAX_PART:
            return "its name is too long"
        plain = _UNSEEN.sub("", unicodedata.normalize("NFKC", part)).casefold().rstrip(". ")
        if plain.startswith(OWN):
            return f"names that begin with {OWN} are taken"
        if plain in _VERSIONS:
            return "it belongs to version control, which is not for programs to change"
    return ""


def folded(name: str) -> str:
    """The same for names that some file systems cannot tell apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())

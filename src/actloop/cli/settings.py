"""What the command line's options say, and the error of a command that was used wrongly."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

NAME = re.compile(r"[\w.*/:,\\-]+")


class UsageError(Exception):
    """The command was used wrongly; the message says how it is meant."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options say."""

    model_type: str | None = None
    model_id: str | None = None
    api_base: str | None = None
    api_key: str | None = field(default=None, repr=False)
    provider: str | None = None
    action_type: str = "code"
    imports: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    mcp: tuple[str, ...] = ()
    max_steps: int = 20
    verbosity: int = 1
    as_json: bool = False
    journal: bool = True


def split_names(values: list[str] | None, task: str | None) -> tuple[tuple[str, ...], str | None]:
    """Names given one by one or with commas between, and the task.

    An option that takes several names swallows a task that stands right behind it; a name has no blanks, so the task is
    found again.
    """
    names = list(values or ())
    if names and task is None and not NAME.fullmatch(names[-1]):
        task = names.pop()
    parts = [part.strip() for name in names for part in name.split(",")]
    return tuple(part for part in parts if part), task


def api_key_of(given: str | None) -> str | None:
    """The key from the option or from `ACTLOOP_API_KEY`."""
    return given or os.environ.get("ACTLOOP_API_KEY") or None

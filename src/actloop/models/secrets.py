"""Which settings are secret, so that no file, log or screen shows them."""

from __future__ import annotations

import re
from typing import Any, cast

from actloop.models.base import REMOVE_PARAMETER
from actloop.values.masking import masked

_SECRET = re.compile(
    r"token|.*api[_-]?key.*|.*secret.*|.*passw.*|.*authorization.*|.*credential.*|.*headers|.*cookie.*"
    r"|.*(?:access|session|security|auth|bearer|\bad|_ad|hf)[_-]token.*|.*access[_-]?key.*|.*private[_-]?key.*",
    re.IGNORECASE,
)
_PLAIN = (str, int, float, bool, type(None))


def without_secrets(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that are plain data and no secret by their name, also inside of others."""
    kept: dict[str, Any] = {}
    for name, value in settings.items():
        if not _SECRET.fullmatch(name):
            plain = _plain(value)
            if plain is not _UNKNOWN:
                kept[name] = plain
    return kept


def secrets_in(settings: dict[str, Any]) -> list[str]:
    """The texts that are secret by their name, also inside of others."""
    found: list[str] = []
    for name, value in settings.items():
        if isinstance(value, dict):
            found.extend(secrets_in(cast("dict[str, Any]", value)))
        elif isinstance(value, list):
            for part in cast("list[Any]", value):
                found.extend(secrets_in(cast("dict[str, Any]", part)) if isinstance(part, dict) else ())
        elif isinstance(value, str) and _SECRET.fullmatch(name):
            found.append(value)
    return found


_UNKNOWN = object()


def _plain(value: Any) -> Any:
    if isinstance(value, str) and masked(value) != value:
        return _UNKNOWN  # an address with a password in it, say
    if isinstance(value, dict):
        return without_secrets(cast("dict[str, Any]", value))
    if isinstance(value, (list, tuple)):
        parts = [_plain(part) for part in cast("list[Any]", value)]
        return [part for part in parts if part is not _UNKNOWN]
    return value if isinstance(value, _PLAIN) or value is REMOVE_PARAMETER else _UNKNOWN

"""What may be asked of the network of sandboxes: which hosts, and how much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

NETWORK_BUDGET = 32 * 1024 * 1024
"""Bytes that a session may exchange with the hosts that it may reach, unless told otherwise."""


def checked_budget(budget: Any) -> int | None:
    """What `network_budget` was given.

    Raises:
        ValueError: It is no positive number of bytes, nor None.
    """
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int) or budget <= 0):
        raise ValueError(f"network_budget is a positive number of bytes, or None for no limit; got {budget!r:.80}")
    return budget


def checked_hosts(allow_hosts: Any) -> list[str]:
    """What `allow_hosts` was given, as a list.

    Raises:
        TypeError: It is no list of hosts.
        ValueError: It is one text.
    """
    if isinstance(allow_hosts, str):
        raise ValueError(f"allow_hosts is a list of hosts, not one text: write [{allow_hosts!r}]")
    if isinstance(allow_hosts, Mapping | bytes | bytearray) or not isinstance(allow_hosts, Iterable):
        raise TypeError(f"allow_hosts is a list of hosts; got {type(allow_hosts).__name__}")  # pyright: ignore[reportUnknownArgumentType]
    return list(cast("Iterable[str]", allow_hosts))

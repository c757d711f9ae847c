"""Names of hosts, as servers on this machine are asked by them."""

from __future__ import annotations

import ipaddress
import re

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")

_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^\s:/?#@\[\]\\]+))(?::([0-9]{1,5}))?")


def split_host(header: str) -> tuple[str, int | None]:
    """The name, in lower case, and the port in a `Host` header; no name where it is none."""
    found = _HOST.fullmatch(header)
    if found is None:
        return "", None
    return (found[1] or found[2]).lower(), int(found[3]) if found[3] else None


def is_loopback(host: str) -> bool:
    """Whether a server that listens there is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

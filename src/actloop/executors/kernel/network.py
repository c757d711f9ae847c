"""The way out of a session that has one: a port of its own loopback interface, on which the host listens.

The session makes the listening socket in its own network namespace and hands it to the host before it is confined.
What connects to it there reaches the host's proxy; nothing else listens in that namespace, and nothing leads out of it.
"""

from __future__ import annotations

import _socket
import array
import struct
import sys

if sys.platform != "win32":
    import fcntl

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_BACKLOG = 128


def offer(port: int, channel: int) -> None:
    """Listen on a port of 127.0.0.1 in this network namespace, and send that socket over the channel to the host.

    Raises:
        OSError: The kernel refused.
    """
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        request = struct.pack("16sh14x", b"lo", 0)
        _, flags = struct.unpack("16sh14x", fcntl.ioctl(listener.fileno(), _SIOCGIFFLAGS, request))
        fcntl.ioctl(listener.fileno(), _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
        listener.bind(("127.0.0.1", port))
        listener.listen(_BACKLOG)
        stream = _socket.socket(fileno=channel)
        try:
            rights = array.array("i", [listener.fileno()])
            stream.sendmsg([b"\0"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        finally:
            stream.detach()
    finally:
        listener.close()


def environment(port: int) -> dict[str, str]:
    """The variables by which programs find the proxy."""
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    return dict.fromkeys(names, f"http://127.0.0.1:{port}")


def adapt_libraries() -> None:
    """Have asyncio write without `sendmsg`, which could pass descriptors on and is refused (Python 3.12 and later)."""
    module = sys.modules.get("asyncio.selector_events")
    if module is not None and hasattr(module, "_HAS_SENDMSG"):
        setattr(module, "_HAS_SENDMSG", False)  # noqa: B010 - a name that only newer versions have

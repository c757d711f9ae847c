"""The way out of a sandbox: a proxy of its own on the host, which lets requests through to the hosts that were named.

`policy` says what may be reached, `proxy` serves the connections of one session, `exchange` performs one request.
`http1` and `tls` read what programs send, without I/O; `dial` looks names up and connects; `relay` passes bytes on.
"""

from __future__ import annotations

from actloop.executors.network.policy import NetworkPolicy
from actloop.executors.network.proxy import SessionProxy

__all__ = ["NetworkPolicy", "SessionProxy"]

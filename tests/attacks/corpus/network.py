"""Networks: nothing may be reached, the host's own machine least of all."""

from __future__ import annotations

from tests.attacks.attack import Family

network = Family("network")
network.add(
    "tcp",
    """
    import socket
    attempt(lambda: socket.create_connection(('127.0.0.1', tcp), 1))
    """,
    control=True,
)
network.add(
    "udp",
    """
    import socket
    attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", udp)))
    """,
    control=True,
)
network.add(
    "http",
    """
    import urllib.request
    attempt(lambda: urllib.request.urlopen(f'http://127.0.0.1:{tcp}', timeout=0.3))
    """,
)
network.add(
    "asyncio",
    """
    import asyncio
    async def reach():
        return (await asyncio.wait_for(asyncio.open_connection("127.0.0.1", tcp), 1))[1].is_closing() is False
    attempt(lambda: asyncio.run(reach()))
    """,
    control=True,
)
network.add(
    "names",
    """
    import socket
    attempt(lambda: socket.getaddrinfo('localhost.localdomain', 80))
    """,
)
network.add(
    "abstract-unix-socket",
    """
    import socket
    attempt(lambda: socket.socket(socket.AF_UNIX).connect("\\0" + abstract) or True)
    """,
    control=True,
)
network.add(
    "unix-sockets-of-the-system",
    """
    import socket
    found = []
    for path in ("/run/docker.sock", "/var/run/docker.sock", "/run/systemd/private", "/run/dbus/system_bus_socket"):
        if attempt(lambda: socket.socket(socket.AF_UNIX).connect(path) or True):
            found.append(path)
    found
    """,
)
network.add(
    "listen",
    """
    import socket
    attempt(lambda: socket.create_server(('127.0.0.1', 0)))
    """,
    control=True,
)
network.add("raw-sockets", "worked(*(call('socket', family, 3, 0x300) for family in (2, 10, 17)))", control=True)
network.add("netlink", "worked(call('socket', 16, 3, 0))", control=True)
network.add("the-virtual-machines-host", "worked(call('socket', 40, 1, 0))")
network.add("kernel-cryptography", "worked(call('socket', 38, 5, 0))")
network.add(
    "every-family-of-sockets",
    "worked(*(call('socket', family, kind, 0) for family in range(64) for kind in (1, 2, 3, 5)))",
    control=True,
)
network.add(
    "a-pair-that-is-turned-around",
    """
    pair = (ctypes.c_int * 2)()
    found = []
    for kind in (1, 2, 5):
        if call("socketpair", 1, kind, 0, pair) >= 0:
            address = struct.pack("H", 1) + b"\\0" + abstract.encode()
            found.append(call("connect", pair[0], address, len(address)) >= 0)
            found.append(call("sendto", pair[0], b"x", 1, 0, address, len(address)) >= 0)
    any(found)
    """,
)
network.add(
    "the-channel-is-turned-around",
    """
    address = struct.pack("H", 1) + b"\\0" + abstract.encode()
    worked(call("connect", 3, address, len(address)), call("bind", 3, address, 2), call("listen", 3, 5))
    """,
    dies=False,
)
network.add("io-uring", "passed(call('io_uring_setup', 8, bytes(120)), call('io_uring_enter', 3, 1, 1, 0, None, 0))")
network.add("a-new-network", "worked(call('unshare', 0x40000000), call('unshare', 0x10000000))")
network.add(
    "sending-without-a-connection", "passed(call('sendmsg', 3, bytes(56), 0), call('sendmmsg', 3, bytes(64), 1, 0))"
)
network.add(
    "descriptors-are-sent-to-the-host",
    """
    import array, socket
    channel = socket.socket(fileno=os.dup(3))
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))]
    loot = attempt(lambda: channel.sendmsg([b"\\0"], rights))
    channel.detach()
    loot
    """,
)

FAMILIES = [network]

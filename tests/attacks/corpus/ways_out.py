"""Sessions that may reach one host: everything else is to stay out of reach, by the proxy and past it.

`tcp` and `udp` are ports of listeners of the attacked host, which tell when anybody reaches them.
"""

from __future__ import annotations

from tests.attacks.attack import COMMON, RAW, Family

NETWORKED = {"options": {"allow_hosts": ("api.example.org:443",)}, "needs": ("network",)}

others = Family("other-ways-out", **NETWORKED, prelude=f"{COMMON}{RAW}import socket\n")

OTHER_WAYS = {
    "the-hosts-loopback": "socket.create_connection(('127.0.0.1', tcp), 3)",
    "every-hundredth-port": (
        "[port for port in range(1, 65536, 97) if port != 3128 and not socket.socket().connect_ex(('127.0.0.1', port))]"
    ),
    "another-address-of-the-loopback": "socket.create_connection(('127.0.0.2', 3128), 3)",
    "any-address": "socket.create_connection(('0.0.0.0', tcp), 3)",
    "an-address-outside": "socket.create_connection(('8.8.8.8', 53), 1)",
    "the-clouds-metadata": "socket.create_connection(('169.254.169.254', 80), 1)",
    "the-hosts-loopback-by-ipv6": "socket.create_connection(('::ffff:127.0.0.1', tcp), 3)",
    "a-name": "socket.getaddrinfo('example.org', 80)",
    "abstract-unix-socket": "socket.socket(socket.AF_UNIX).connect('\\0' + abstract) or True",
    "a-datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', udp))",
    "fast-open": "socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', tcp))",
    "fast-open-of-a-message": "socket.socket().sendmsg([b'x'], [], 0x20000000, ('127.0.0.1', tcp))",
}
"""What reaches beyond any sandbox, were it open; each may be tried anywhere."""

KERNELS_WAYS = {
    "ipv6": "socket.socket(socket.AF_INET6)",
    "udp": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "raw": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    "mptcp": "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)",
    "sctp": "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)",
    "packets": "socket.socket(17, socket.SOCK_RAW)",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "vsock": "socket.socket(40, socket.SOCK_STREAM)",
    "bluetooth": "socket.socket(31, socket.SOCK_STREAM, 3)",
    "the-kernels-ciphers": "socket.socket(38, 5)",
    "unix": "socket.socket(socket.AF_UNIX)",
    "unix-datagrams": "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
    "listening": "socket.create_server(('127.0.0.1', 0))",
    "binding": "socket.socket().bind(('127.0.0.1', 5000)) or True",
    "listening-without-binding": "socket.socket().listen() or True",
    "passing-descriptors": "(lambda a, b: socket.send_fds(a, [b'x'], [0]))(*socket.socketpair())",
    "the-buffers-of-a-socket": "socket.socket().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30) or True",
    "an-interface": "socket.socket().setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0') or True",
    "ip-options": "socket.socket().setsockopt(0, 19, 1) or True",
    "another-congestion-control": "socket.socket().setsockopt(6, 13, b'reno') or True",
    "a-change-of-interfaces": "__import__('fcntl').ioctl(socket.socket(), 0x8914, b'lo' + bytes(30))",
}
"""Of the kernel's own surface, what a session with a network does not get."""

_CONTROLS = ("the-hosts-loopback", "abstract-unix-socket", "a-datagram", "netlink", "udp", "listening", "binding")

for _name, _code in {**OTHER_WAYS, **KERNELS_WAYS}.items():
    others.add(_name, f"attempt(lambda: {_code})", control=_name in _CONTROLS, dies=False)

others.add(
    "asyncio",
    """
    import asyncio
    async def reach():
        return (await asyncio.wait_for(asyncio.open_connection("127.0.0.1", tcp), 1))[1].is_closing() is False
    attempt(lambda: asyncio.run(reach()))
    """,
    control=True,
)
others.add(
    "without-the-proxy",
    """
    import os, urllib.request
    for name in list(os.environ):
        if "proxy" in name.lower(): del os.environ[name]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    attempt(lambda: opener.open(f"http://127.0.0.1:{tcp}/", timeout=0.3))
    """,
)

ASK = '''
import os, socket, urllib.parse
_way = urllib.parse.urlsplit(os.environ.get("HTTP_PROXY", "http://127.0.0.1:3128"))

def ask(*parts):
    """What the proxy says to bytes that a program sends, unless it refuses."""
    with socket.create_connection((_way.hostname, _way.port), 3) as way:
        way.settimeout(1)
        said = b""
        try:
            for part in parts:
                way.sendall(part if isinstance(part, bytes) else part.encode())
            while data := way.recv(4096): said += data
        except OSError:
            pass
    return said if said.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2")) else b""
'''

proxy = Family("through-the-proxy", **NETWORKED, prelude=f"{COMMON}{RAW}{ASK}", dies=False)

PLACES = {
    "the-loopback": "127.0.0.1:{tcp}",
    "a-short-address": "127.1:{tcp}",
    "an-octal-address": "0177.0.0.1:{tcp}",
    "an-address-as-one-number": "2130706433:{tcp}",
    "a-hexadecimal-address": "0x7f000001:{tcp}",
    "an-address-in-ipv6": "[::ffff:127.0.0.1]:{tcp}",
    "an-address-in-ipv6-with-a-zone": "[::1%25lo]:{tcp}",
    "no-address": "0.0.0.0:{tcp}",
    "localhost": "localhost:{tcp}",
    "localhost-with-a-dot": "localhost.:{tcp}",
    "a-name-below-localhost": "api.example.org.localhost:{tcp}",
    "the-clouds-metadata": "169.254.169.254:80",
    "another-port": "api.example.org:{tcp}",
    "a-user-before-it": "api.example.org:443@127.0.0.1:{tcp}",
    "a-zero-within": "127.0.0.1:{tcp}\\0.api.example.org:443",
    "a-line-within": "127.0.0.1:{tcp}\\r\\nHost: api.example.org:443",
    "full-width-digits": "\uff11\uff12\uff17.0.0.1:{tcp}",
}
for _name, _place in PLACES.items():
    proxy.add(
        f"connect-to-{_name}",
        f"place = f'{_place}'\nask(f'CONNECT {{place}} HTTP/1.1\\r\\nHost: {{place}}\\r\\n\\r\\n')",
    )
    proxy.add(
        f"get-from-{_name}",
        f"place = f'{_place}'\nask(f'GET http://{{place}}/ HTTP/1.1\\r\\nHost: {{place}}\\r\\n\\r\\n')",
    )

proxy.add(
    "the-named-host-in-the-header-only",
    "ask(f'GET http://127.0.0.1:{tcp}/ HTTP/1.1\\r\\nHost: api.example.org:443\\r\\n\\r\\n')",
)
proxy.add(
    "the-named-host-in-the-address-only",
    "ask(f'GET / HTTP/1.1\\r\\nHost: 127.0.0.1:{tcp}\\r\\n\\r\\n')",
)
proxy.add(
    "a-second-request-after-one-that-was-refused",
    """
    refused = "CONNECT evil.example:443 HTTP/1.1\\r\\nHost: evil.example\\r\\n\\r\\n"
    ask(refused, f"CONNECT 127.0.0.1:{tcp} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n", "GET / HTTP/1.1\\r\\n\\r\\n")
    """,
)
proxy.add(
    "two-hosts",
    "ask(f'GET http://127.0.0.1:{tcp}/ HTTP/1.1\\r\\nHost: api.example.org\\r\\nHost: 127.0.0.1:{tcp}\\r\\n\\r\\n')",
)
proxy.add("another-protocol", "ask(bytes((5, 1, 0)), bytes((5, 1, 0, 1, 127, 0, 0, 1)) + tcp.to_bytes(2, 'big'))")
proxy.add("a-file-of-the-host", "ask(f'GET file://{canary} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')")
proxy.add("a-line-without-an-end", "ask(*[b'G' * 65536] * 64)")
proxy.add(
    "headers-without-an-end",
    "ask(b'GET http://api.example.org/ HTTP/1.1\\r\\n', *[b'A: ' + b'x' * 8000 + b'\\r\\n'] * 500)",
)
proxy.add("noise", "any([ask(os.urandom(3000)) for _ in range(3)])")
proxy.add(
    "many-connections-held-open",
    """
    held = []
    while len(held) < 500:
        if not attempt(lambda: held.append(socket.create_connection((_way.hostname, _way.port), 1)) or True): break
    for each in held: attempt(lambda: each.sendall(b"GET http://api.exa"))
    held.clear()
    """,
)

FAMILIES = [others, proxy]

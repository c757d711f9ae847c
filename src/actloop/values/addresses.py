"""Which addresses of the network may be reached: everything public, and what the caller allows by name.

The blocks are those of IANA's registries of special-purpose addresses (RFC 6890 and its successors). Of IPv6 only the
global unicast space 2000::/3 counts as public, and of that no block in which an IPv4 address may hide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Literal

from actloop.errors import ForbiddenAddressError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DEFAULT_PORTS = frozenset({80, 443, 8000, 8008, 8080, 8443, 8888})
"""Ports that are reached unless the caller names others: those on which web servers usually listen."""

_INTRANET = (
    ("10.0.0.0/8", "private"),
    ("172.16.0.0/12", "private"),
    ("192.168.0.0/16", "private"),
    ("127.0.0.0/8", "loopback"),
    ("100.64.0.0/10", "shared by a carrier (CGNAT)"),
    ("::1/128", "loopback"),
    ("fc00::/7", "private (unique local)"),
)
_METADATA = (
    "169.254.0.0/16",
    "100.100.100.200/32",
    "168.63.129.16/32",
    "192.0.0.192/32",
    "fd00:ec2::/32",
    "fd20:ce::/32",
)
_NEVER = (
    ("0.0.0.0/8", "unspecified"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "for documentation"),
    ("192.88.99.0/24", "a 6to4 relay"),
    ("198.18.0.0/15", "for benchmarks"),
    ("198.51.100.0/24", "for documentation"),
    ("203.0.113.0/24", "for documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::ffff:0:0/96", "an IPv4 address in IPv6 (mapped)"),
    ("64:ff9b::/96", "an IPv4 address in IPv6 (NAT64)"),
    ("64:ff9b:1::/48", "an IPv4 address in IPv6 (NAT64)"),
    ("2001::/32", "an IPv4 address in IPv6 (Teredo)"),
    ("2001::/23", "reserved"),
    ("2001:db8::/32", "for documentation"),
    ("2002::/16", "an IPv4 address in IPv6 (6to4)"),
    ("3fff::/20", "for documentation"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_ISATAP = (0x00005EFE, 0x02005EFE)
_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]*|\d+)\.?\Z")

Kind = Literal["intranet", "metadata", "never"]
_BLOCKS: list[tuple[Network, str, Kind]] = [
    *((ip_network(block), "of a cloud's metadata service, or link-local", "metadata") for block in _METADATA),
    *((ip_network(block), word, "intranet") for block, word in _INTRANET),
    *((ip_network(block), word, "never") for block, word in _NEVER),
]


def special(address: Address) -> tuple[str, Kind] | None:
    """What an address that is not public is, and how firmly it is refused; None for a public one."""
    for block, word, kind in _BLOCKS:
        if address.version == block.version and address in block:
            return word, kind
    if isinstance(address, IPv6Address):
        if address not in _GLOBAL_V6:
            return "reserved", "never"
        if (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP:
            return "an IPv4 address in IPv6 (ISATAP)", "never"
    return None


def parsed_host(host: str) -> Address | None:
    """A host as an address; None for a name.

    Raises:
        ForbiddenAddressError: It is an address in a spelling that programs read differently (decimal, octal,
            hexadecimal, shortened, with a zone).
    """
    if ":" in host:
        try:
            address = IPv6Address(host)
        except ValueError:
            raise ForbiddenAddressError(f"'{host}' is not an IPv6 address") from None
        if address.scope_id is not None:
            raise ForbiddenAddressError(f"'{host}' names a network interface: addresses with a zone are refused")
        return address
    if not _NUMBER.match(host.rstrip(".").rpartition(".")[2]):
        return None
    try:
        return IPv4Address(host)
    except ValueError:
        raise ForbiddenAddressError(
            f"'{host}' is an unusual spelling of an IP address: write it as four decimal numbers"
        ) from None


@dataclass(frozen=True, slots=True)
class _Allowed:
    """One entry of `allow_hosts`."""

    name: str
    network: Network | None
    port: int | None

    def names(self, host: str, port: int) -> bool:
        """Whether the entry is this very host."""
        if self.network is not None or self.port not in (None, port):
            return False
        return host.endswith(self.name[1:]) if self.name.startswith("*.") else host == self.name

    def holds(self, address: Address, port: int) -> bool:
        """Whether the entry is a network with this address in it."""
        network = self.network
        if network is None or self.port not in (None, port):
            return False
        return address.version == network.version and address in network


def _entry(text: str) -> _Allowed:
    match = re.fullmatch(r"\[(?P<v6>[^\]]+)\](?::(?P<p6>\d+))?|(?P<name>[^:]+?)(?::(?P<port>\d+))?|(?P<bare>.+)", text)
    if match is None or "://" in text:
        raise ValueError(f"allow_hosts: {text!r} is no host; write 'host', 'host:port', '*.domain' or a network")
    name = (match["v6"] or match["name"] or match["bare"]).lower().rstrip(".")
    port = match["p6"] or match["port"]
    try:
        network = ip_network(name)
    except ValueError:
        if "/" in name or ":" in name:
            raise ValueError(f"allow_hosts: {text!r} is neither a host nor a network such as '10.1.0.0/16'") from None
        network = None
    return _Allowed(name, network, int(port) if port else None)


class AddressPolicy:
    """Says which hosts, addresses and ports may be reached.

    Args:
        allow_hosts: What may be reached although it is internal: host names ("wiki.corp", "*.corp"), addresses or
            networks ("10.1.0.0/16"), each with or without a port ("127.0.0.1:8080"). They open; they do not close
            anything.
        allow_private: Let all private, loopback and carrier-shared addresses be reached. Link-local addresses and the
            metadata services of clouds still have to be named in `allow_hosts`.
        ports: Ports that may be reached on any host; None for all.
        opened_by: What the program's author sets to have a private address reached, for the error that refuses it; by
            default `allow_hosts`.

    Raises:
        ValueError: An entry of `allow_hosts` cannot be read.
    """

    def __init__(
        self,
        *,
        allow_hosts: Iterable[str] = (),
        allow_private: bool = False,
        ports: Collection[int] | None = DEFAULT_PORTS,
        opened_by: str = "allow_hosts",
    ) -> None:
        if isinstance(allow_hosts, str):
            raise ValueError("allow_hosts is a list of hosts, not one text")
        self._allowed = [_entry(text) for text in allow_hosts]
        self._allow_private = allow_private
        self._ports = ports
        self._opened_by = opened_by

    def check_host(self, host: str, port: int) -> Address | None:
        """Check what can be checked before the name is looked up; returns the address, if the host is one.

        Raises:
            ForbiddenAddressError: It may not be reached.
        """
        host = host.lower()
        address = parsed_host(host)
        if address is not None:
            self.check_addresses(host, port, [address])
        elif self._ports is not None and port not in self._ports and not self._may_have_port(host, port):
            self._refuse_port(host, port)
        return address

    def check_addresses(self, host: str, port: int, addresses: Iterable[Address]) -> None:
        """Check every address that a name has: one that is refused is enough to refuse the name.

        Raises:
            ForbiddenAddressError: It may not be reached.
        """
        host = host.lower().rstrip(".")
        if any(entry.names(host, port) for entry in self._allowed):
            return
        for address in addresses:
            if any(entry.holds(address, port) for entry in self._allowed):
                continue
            found = special(address)
            if found is not None and not (found[1] == "intranet" and self._allow_private):
                where = f"{address}" if host == str(address) else f"{host} ({address})"
                hint = f"; the program's author can allow it with {self._opened_by}" if self._opens(found[1]) else ""
                raise ForbiddenAddressError(f"{where} is not a public address (it is {found[0]}) and is refused{hint}")
            if self._ports is not None and port not in self._ports:
                self._refuse_port(host, port)

    def _opens(self, kind: str) -> bool:
        """Whether what the error names would open an address of this kind."""
        return kind == "intranet" or self._opened_by == "allow_hosts"

    def _may_have_port(self, host: str, port: int) -> bool:
        """Whether some entry may yet allow a port that is not among the usual ones."""
        host = host.rstrip(".")
        return any(entry.names(host, port) or (entry.network and entry.port in (None, port)) for entry in self._allowed)

    def _refuse_port(self, host: str, port: int) -> None:
        usual = ", ".join(str(number) for number in sorted(self._ports or ()))
        raise ForbiddenAddressError(f"port {port} of {host} is refused; allowed are {usual}")


def addresses_of(texts: Iterable[str], host: str) -> list[Address]:
    """What a resolver answered, as addresses.

    Raises:
        ForbiddenAddressError: One of the answers is no address, or has a zone.
    """
    found: list[Address] = []
    for text in texts:
        try:
            address = ip_address(text)
        except ValueError:
            raise ForbiddenAddressError(f"{host} resolves to '{text}', which is no IP address") from None
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            raise ForbiddenAddressError(f"{host} resolves to '{text}', an address of one network interface")
        found.append(address)
    return list(dict.fromkeys(found))

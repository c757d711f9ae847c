"""What programs of a sandbox may reach: the hosts, addresses and ports that the user named, and nothing else.

A name opens public addresses only: one that leads to a private address, to this machine or to a cloud's metadata
service is refused, whoever has its records changed. Such an address is opened by naming the address itself.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

from actloop.errors import ForbiddenAddressError
from actloop.executors.hosts import NETWORK_BUDGET, checked_budget
from actloop.values.addresses import parsed_host, special
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actloop.values.addresses import Address, Network

    Resolve = Callable[[str, int], Sequence[str]]

MAX_REQUESTS = 10_000
"""Requests of one session; what a program asks for beyond them is refused and not noted any more."""

USUAL_PORTS = frozenset({80, 443})
"""Ports that an entry without one opens."""

_ENTRY = re.compile(r"(?P<host>\[[^\[\]\s]+\]|[^\[\]\s:]+)(?::(?P<port>[0-9]+))?")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_SHOWN = 10


def system_resolve(host: str, port: int) -> list[str]:
    """All addresses of a name, as the system's resolver gives them; may take long."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def host_name(text: str) -> str:
    """A host's name in the one spelling in which names are compared: lower case, without the final dot.

    Raises:
        ValueError: It is no name of a host.
    """
    name = text.lower().removesuffix(".")
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise ValueError(f"{cut(text, 100)!r} is no name of a host")
    return name


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of `allow_hosts`: a name, or a network."""

    text: str
    name: str
    network: Network | None
    ports: frozenset[int]

    def names(self, host: str) -> bool:
        if self.network is not None:
            return False
        return host.endswith(self.name[1:]) if self.name.startswith("*.") else host == self.name

    def covers(self, address: Address, port: int) -> bool:
        """Whether it is a network with this address in it, which it need not open."""
        network = self.network
        return network is not None and port in self.ports and address.version == network.version and address in network

    def holds(self, address: Address) -> bool:
        """Whether it opens this address: a network opens no metadata service, only the address alone does."""
        network = self.network
        if network is None or address.version != network.version or address not in network:
            return False
        found = special(address)
        return found is None or found[1] == "intranet" or network.prefixlen == network.max_prefixlen


def _bad(text: object, why: str) -> ValueError:
    shown = cut(repr(text), 120)
    return ValueError(
        f"allow_hosts: {shown} {why}; write 'api.example.org:443', 'api.example.org' (ports 80 and 443), "
        "'*.example.org', an address such as '10.1.2.3:8080', or a network such as '10.1.0.0/16'"
    )


def _entry(text: object) -> _Entry:
    if not isinstance(text, str):
        raise _bad(text, "is no text")
    if "://" in text:
        raise _bad(text, "is a URL, and not a host")
    if "%" in text:
        raise _bad(text, "names a network interface")
    network = _network(text)
    if network is not None:  # before the port is split off: an IPv6 address has colons of its own
        return _Entry(text, "", network, USUAL_PORTS)
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise _bad(text, "is no host")
    ports = USUAL_PORTS
    if match["port"] is not None:
        if len(match["port"]) > 5 or not 0 < int(match["port"]) < 65_536:
            raise _bad(text, "has a port that does not exist")
        ports = frozenset({int(match["port"])})
    host = match["host"]
    network = _network(host.strip("[]"))
    if network is not None:
        return _Entry(text, "", network, ports)
    if host.startswith("[") or "/" in host:
        raise _bad(text, "is neither an address nor a network")
    return _Entry(text, _entry_name(text, host), None, ports)


def _network(text: str) -> Network | None:
    try:
        network = ip_network(text)
    except ValueError:
        return None
    if network.prefixlen == 0:
        raise _bad(text, "stands for every host")
    return network


def _entry_name(text: str, host: str) -> str:
    wild = host.startswith("*.")
    try:
        name = host_name(host.removeprefix("*.").encode("idna").decode())
        if parsed_host(name) is not None:
            raise ValueError
    except ForbiddenAddressError as error:
        raise _bad(text, f"is no host ({error.message})") from None
    except ValueError:  # of the IDNA codec, too
        raise _bad(text, "stands for every host" if host == "*" else "is no host") from None
    return f"*.{name}" if wild else name


class NetworkPolicy:
    """Says what a session may reach, and how much of it.

    Args:
        allow_hosts: Hosts with their ports: `"api.example.org:443"`, `"api.example.org"` (ports 80 and 443),
            `"*.example.org"` (all names below it, not itself). A name opens public addresses only. Addresses and
            networks (`"127.0.0.1:8080"`, `"[::1]:8080"`, `"10.1.0.0/16"`) open themselves, for requests by address
            and for listed names that lead there; the metadata service of a cloud only when named by its address alone.
        budget: Bytes that a session's requests may exchange with the outside, both ways together; None for no limit.
        resolve: Looks a name up: gives its addresses, from a name and a port.

    Raises:
        ValueError: An entry cannot be read; or the budget is no positive number.
    """

    def __init__(
        self, allow_hosts: Iterable[str], budget: int | None = NETWORK_BUDGET, *, resolve: Resolve = system_resolve
    ) -> None:
        if isinstance(allow_hosts, str):
            raise ValueError(f"allow_hosts is a list of hosts, not one text: write [{allow_hosts!r}]")
        self._entries = [_entry(text) for text in allow_hosts]
        if not self._entries:
            raise ValueError("allow_hosts names no host: leave it out to have no network")
        self.budget = checked_budget(budget)
        self.resolve = resolve

    @property
    def hosts(self) -> list[str]:
        """The entries, as the user wrote them."""
        return [entry.text for entry in self._entries]

    @property
    def listed(self) -> str:
        """The first entries, for sentences."""
        shown = ", ".join(self.hosts[:_SHOWN])
        return shown if len(self._entries) <= _SHOWN else f"{shown} and {len(self._entries) - _SHOWN} more"

    def check_host(self, host: str, port: int) -> Address | None:
        """Check a host before its name is looked up: one that is not listed never is.

        Args:
            host: A name as `host_name` gives it, or an address.
            port: The port.

        Returns:
            The address, if the host is one.

        Raises:
            ForbiddenAddressError: It may not be reached.
        """
        address = parsed_host(host)
        if address is not None:
            entries = [entry for entry in self._entries if entry.holds(address)]
        else:
            entries = [entry for entry in self._entries if entry.names(host)]
        if not any(port in entry.ports for entry in entries):
            shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            if address is not None and any(entry.covers(address, port) for entry in self._entries):
                found = special(address)
                raise ForbiddenAddressError(
                    f"{shown} is not opened by a network that holds it, since it is {found[0] if found else 'special'}"
                    ": such an address is opened by that very address alone in allow_hosts"
                )
            raise ForbiddenAddressError(f"{shown} is not among what may be reached from here: {self.listed}")
        return address

    def check_addresses(self, host: str, port: int, addresses: Iterable[Address]) -> None:
        """Check every address that a listed name has: one that is refused is enough to refuse the name.

        Raises:
            ForbiddenAddressError: It may not be reached.
        """
        for address in addresses:
            found = special(address)
            if found is None or any(port in entry.ports and entry.holds(address) for entry in self._entries):
                continue
            raise ForbiddenAddressError(
                f"{host} leads to {address}, which is not a public address (it is {found[0]}) and is refused; "
                "whoever set allow_hosts can open it by naming that address there"
            )

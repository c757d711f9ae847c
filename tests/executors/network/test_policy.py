"""What `allow_hosts` may say, and what it opens."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, strategies as st

from actloop.errors import ForbiddenAddressError
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.network.policy import NetworkPolicy
from actloop.executors.unsafe import UnsafeInProcessExecutor
from actloop.values.addresses import special

PUBLIC = "8.8.8.8"


def opens(entries: list[str], host: str, port: int, *addresses: str) -> bool:
    """Whether a host may be reached, where its name leads to these addresses."""
    policy = NetworkPolicy(entries)
    try:
        literal = policy.check_host(host, port)
        if literal is None:
            policy.check_addresses(host, port, [ip_address(address) for address in addresses or (PUBLIC,)])
    except ForbiddenAddressError:
        return False
    return True


@pytest.mark.parametrize(
    ("entry", "host", "port"),
    [
        ("api.example.org:443", "api.example.org", 443),
        ("api.example.org", "api.example.org", 80),
        ("api.example.org", "api.example.org", 443),
        ("API.Example.ORG.:443", "api.example.org", 443),
        ("*.example.org", "a.example.org", 443),
        ("*.example.org:8443", "a.b.example.org", 8443),
        ("bücher.example", "xn--bcher-kva.example", 443),
        ("8.8.8.8:53", "8.8.8.8", 53),
        ("[2001:4860:4860::8888]:443", "2001:4860:4860::8888", 443),
        ("2001:4860:4860::8888", "2001:4860:4860:0::8888", 80),
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("[::1]:8080", "::1", 8080),
        ("10.1.0.0/16", "10.1.2.3", 443),
        ("10.1.0.0/16:5000", "10.1.2.3", 5000),
        ("[fd00::/8]:5000", "fd00::1", 5000),
        ("169.254.169.254", "169.254.169.254", 80),
    ],
)
def test_what_an_entry_opens(entry: str, host: str, port: int) -> None:
    assert opens([entry], host, port)


@pytest.mark.parametrize(
    ("entry", "host", "port"),
    [
        ("api.example.org:443", "api.example.org", 80),
        ("api.example.org", "api.example.org", 8080),
        ("api.example.org", "example.org", 443),
        ("api.example.org", "evil-api.example.org", 443),
        ("api.example.org", "api.example.org.evil.net", 443),
        ("*.example.org", "example.org", 443),
        ("*.example.org", "evilexample.org", 443),
        ("api.example.org", PUBLIC, 443),
        ("8.8.8.8", "dns.google", 443),
        ("127.0.0.1:8080", "127.0.0.1", 8081),
        ("127.0.0.1:8080", "::ffff:127.0.0.1", 8080),
        ("127.0.0.1:8080", "64:ff9b::7f00:1", 8080),
        ("10.1.0.0/16", "10.2.0.1", 443),
        ("169.254.0.0/16", "169.254.169.254", 80),
        ("168.0.0.0/6", "169.254.169.254", 80),
        ("64.0.0.0/2", "100.100.100.200", 80),
        ("fc00::/7", "fd00:ec2::254", 80),
        ("::/1", "::ffff:169.254.169.254", 80),
    ],
)
def test_what_an_entry_leaves_closed(entry: str, host: str, port: int) -> None:
    assert not opens([entry], host, port)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.100.100.200", "100.64.0.1",
        "0.0.0.0", "::1", "fd00::1", "fe80::1", "fd00:ec2::254", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "224.0.0.1",
        "255.255.255.255", "::", "2002:7f00:1::",
    ],
)  # fmt: skip
def test_a_name_opens_no_address_that_is_not_public(address: str) -> None:
    """A name whose records lead inside (DNS rebinding), be it with all of them or with one."""
    assert not opens(["api.example.org:443"], "api.example.org", 443, address)
    assert not opens(["api.example.org:443"], "api.example.org", 443, PUBLIC, address)
    assert opens(["api.example.org:443", f"[{address}]:443" if ":" in address else f"{address}:443"],
                 "api.example.org", 443, PUBLIC, address)  # fmt: skip
    assert not opens(["api.example.org:443", f"[{address}]:80"], "api.example.org", 443, address)


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.1.", "0x7f.0.0.1", "127.0.0.01", "fe80::1%1"]
)
def test_other_spellings_of_an_address_are_refused(host: str) -> None:
    assert not opens(["127.0.0.1:80", "*.0.0.example"], host, 80)


@given(st.integers(0, 2**32 - 1) | st.integers(0, 2**128 - 1))
def test_a_name_opens_public_addresses_alone(number: int) -> None:
    address = ip_address(number)
    assert opens(["api.example.org"], "api.example.org", 443, str(address)) == (special(address) is None)


@pytest.mark.parametrize(
    "entry",
    [
        "", "*", "*:443", "*.", "https://api.example.org", "api.example.org/path", "api.example.org:0",
        "api.example.org:65536", "api.example.org:https", "user@api.example.org", "a b", "api..org", "-a.org",
        "api.*.org", "127.1", "0x7f000001", "2130706433", "10.1.2.3/8", "300.1.1.1", "[::1", "[api.example.org]:443",
        "[fe80::1%eth0]:80", "a" * 64 + ".org", ".".join(["abcdefgh"] * 30), "*.0.0.1", "api.example.org:443:443",
        "api.example.org\r\nHost: x", 443, None, b"api.example.org",
    ],
)  # fmt: skip
def test_entries_that_cannot_be_read_are_refused_in_a_sentence(entry: Any) -> None:
    with pytest.raises(ValueError, match=r"allow_hosts: .*; write 'api\.example\.org:443'"):
        NetworkPolicy([entry])


def test_one_text_is_no_list() -> None:
    with pytest.raises(ValueError, match="a list of hosts, not one text"):
        NetworkPolicy("api.example.org")
    with pytest.raises(ValueError, match="a list of hosts, not one text"):
        LocalPythonExecutor(allow_hosts="api.example.org")


@pytest.mark.parametrize("budget", [0, -1, True, 1.5, "1"])
def test_a_budget_is_a_positive_number(budget: Any) -> None:
    with pytest.raises(ValueError, match="network_budget is a positive number"):
        LocalPythonExecutor(allow_hosts=["api.example.org"], network_budget=budget)


def test_an_executor_that_cannot_keep_to_hosts_refuses_them() -> None:
    with pytest.raises(ValueError, match="UnsafeInProcessExecutor cannot keep programs to the hosts of allow_hosts"):
        UnsafeInProcessExecutor(allow_hosts=["api.example.org"])
    assert UnsafeInProcessExecutor(allow_hosts=[]).network is None


def test_the_model_is_told_what_can_be_reached() -> None:
    executor = LocalPythonExecutor(allow_hosts=["api.example.org:443", "*.example.net"])
    assert "api.example.org:443, *.example.net" in executor.instructions()
    assert "urllib" in executor.authorized_imports
    assert LocalPythonExecutor().instructions() == ""
    many = LocalPythonExecutor(allow_hosts=[f"h{number}.example.org" for number in range(30)])
    assert "and 20 more" in many.instructions()


@pytest.mark.parametrize("everything", ["*", "*:443", "0.0.0.0/0", "0.0.0.0/0:443", "::/0", "[::/0]:443"])
def test_no_entry_opens_every_host(everything: str) -> None:
    with pytest.raises(ValueError, match="stands for every host"):
        NetworkPolicy([everything])


def test_a_metadata_service_in_a_network_says_how_it_is_opened() -> None:
    policy = NetworkPolicy(["169.254.0.0/16", "127.0.0.1:8080"])
    with pytest.raises(ForbiddenAddressError, match=r"169.254.169.254:80 is not opened by a network .* very address"):
        policy.check_host("169.254.169.254", 80)
    with pytest.raises(ForbiddenAddressError, match=r"169.254.169.254:81 is not among what may be reached"):
        policy.check_host("169.254.169.254", 81)

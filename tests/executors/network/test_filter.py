"""The filter of system calls of a session that has a way out, interpreted for each architecture."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, strategies as st

from actloop.executors.kernel import seccomp, syscalls
from actloop.executors.kernel.seccomp import ALLOW, ARCHITECTURES, ERRNO

TCP = (2, 1 | 0x80000 | 0x800, 0)

ALLOWED = [
    ("socket", TCP),
    ("socket", (2, 1, 6)),
    ("connect", (3, 0x1000, 16)),
    ("setsockopt", (3, 6, 1)),
    ("setsockopt", (3, 6, 18)),
    ("setsockopt", (3, 1, 9)),
    ("getsockopt", (3, 1, 4)),
    ("sendto", (3, 1, 1, 0, 0, 0)),
    ("socketpair", (1, 1)),
]
REFUSED = [
    ("socket", (1, 1, 0)),
    ("socket", (10, 1, 0)),
    ("socket", (16, 3, 0)),
    ("socket", (17, 3, 0)),
    ("socket", (38, 5, 0)),
    ("socket", (40, 1, 0)),
    ("socket", (2, 2, 0)),
    ("socket", (2, 3, 1)),
    ("socket", (2, 5, 0)),
    ("socket", (2, 1, 132)),
    ("socket", (2, 1, 262)),
    ("setsockopt", (3, 1, 7)),
    ("setsockopt", (3, 1, 25)),
    ("setsockopt", (3, 1, 26)),
    ("setsockopt", (3, 6, 13)),
    ("setsockopt", (3, 6, 31)),
    ("setsockopt", (3, 0, 1)),
    ("setsockopt", (3, 41, 1)),
    ("sendto", (3, 1, 1, 0x20000000, 0x1000, 16)),
    ("socketpair", (1, 2)),
]
NEVER = "bind listen accept accept4 sendmsg sendmmsg recvmsg recvmmsg ptrace mount unshare setns execve io_uring_setup".split()  # noqa: E501, SIM905

architectures = pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))


@cache
def compiled(architecture: str, network: bool) -> bytes:
    return seccomp.compiled(architecture, 1, stack=0x7FFD_0000_0000, network=network)


def answer(architecture: str, name: str, arguments: tuple[int, ...], *, network: bool = True) -> int:
    code = compiled(architecture, network)
    return seccomp.decide(code, ARCHITECTURES[architecture], syscalls.NUMBERS[architecture][name], arguments)


@architectures
@pytest.mark.parametrize(("name", "arguments"), ALLOWED)
def test_a_client_of_tcp_may_do_what_it_needs(architecture: str, name: str, arguments: tuple[int, ...]) -> None:
    assert answer(architecture, name, arguments) == ALLOW


@architectures
@pytest.mark.parametrize(("name", "arguments"), REFUSED)
def test_every_other_kind_of_socket_is_refused(architecture: str, name: str, arguments: tuple[int, ...]) -> None:
    assert answer(architecture, name, arguments) & 0xFFFF0000 == ERRNO


@architectures
@given(arguments=st.tuples(*[st.integers(0, 2**64 - 1)] * 6))
def test_servers_and_messages_are_refused_whatever_the_arguments(architecture: str, arguments: tuple[int, ...]) -> None:
    for name in NEVER:
        assert answer(architecture, name, arguments) & 0xFFFF0000 == ERRNO, name


@architectures
def test_without_a_way_out_there_are_no_sockets(architecture: str) -> None:
    for name, arguments in ALLOWED[:5]:
        assert answer(architecture, name, arguments, network=False) & 0xFFFF0000 == ERRNO

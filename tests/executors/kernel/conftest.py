"""One zygote for all tests of a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.executors.kernel import sessions

from actloop.executors.kernel.host import Zygote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actloop.executors.kernel.spawned import Spawned


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """A zygote whose sessions run `exec_guest`."""
    shared = Zygote(guest=sessions.GUEST)
    yield shared
    shared.close()


@pytest.fixture
def session(zygote: Zygote) -> Iterator[Spawned]:
    """A session of that zygote."""
    spawned = zygote.spawn(sessions.CONFIG)
    yield spawned
    spawned.close()

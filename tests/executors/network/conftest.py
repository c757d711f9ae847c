"""A server that is asked through a proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.tools.web.servers import Server, serving

from .ways import answer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(answer) as made:
        yield made

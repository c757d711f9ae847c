"""A service of OpenAI's kind for the tests of this folder."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

import pytest

from ..models.conftest import Service

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()

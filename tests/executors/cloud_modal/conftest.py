from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.cloud_modal.machines import processes_of
from tests.executors.cloud_modal.server import Account, ModalServer

from actloop.executors.modal import ModalExecutor
from actloop.executors.reaper import REAPER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import modal


@pytest.fixture(scope="session")
def server() -> Iterator[ModalServer]:
    """The service."""
    with ModalServer() as server:
        yield server


@pytest.fixture(scope="session")
def client(server: ModalServer) -> Iterator[modal.Client]:
    """The service's library, with the right token."""
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def account(server: ModalServer) -> Iterator[Account]:
    """What the service is asked for; nothing may be left of it."""
    server.account.forget()
    yield server.account
    assert REAPER.flush(60)
    assert [machine.id for machine in server.account.alive] == []
    assert processes_of() == []


@pytest.fixture
def make(account: Account, client: modal.Client) -> Iterator[Callable[..., ModalExecutor]]:
    """Makes executors: `make(imports, create_kwargs, **options)`."""
    made: list[ModalExecutor] = []

    def make(
        imports: list[str] | None = None, create_kwargs: dict[str, Any] | None = None, **options: Any
    ) -> ModalExecutor:
        executor = ModalExecutor(
            imports or [], None, create_kwargs={"client": client, **(create_kwargs or {})}, **options
        )
        made.append(executor)
        return executor

    yield make
    for executor in made:
        executor.cleanup()

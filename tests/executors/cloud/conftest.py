"""Every test of `cloud` runs against the stand-in for each service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.cloud.blaxel_service import BlaxelService
from tests.executors.cloud.e2b_service import E2BService

from actloop.executors.blaxel import BlaxelExecutor
from actloop.executors.e2b import E2BExecutor
from actloop.executors.reaper import REAPER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.executors.cloud.service import Service

    from actloop.executors.service import ServiceExecutor

VARIABLES = (
    "E2B_API_KEY",
    "E2B_DOMAIN",
    "E2B_DEBUG",
    "BL_API_KEY",
    "BL_WORKSPACE",
    "BL_CLIENT_CREDENTIALS",
    "BL_REGION",
)


@dataclass
class Cloud:
    """A service's stand-in and its executors.

    Attributes:
        create: The request that creates a sandbox, as a pattern of "METHOD /path".
        write: Those that write into a program's input.
        stream: The one whose answer is the program's output.
        remove: The one that removes a sandbox.
    """

    service: Any
    kind: type[ServiceExecutor]
    create: str
    write: str
    stream: str
    remove: str

    def __post_init__(self) -> None:
        self._made: list[ServiceExecutor] = []

    def make(self, imports: list[str] | None = None, logger: Any = None, **options: Any) -> ServiceExecutor:
        """An executor."""
        executor = self.kind(imports or [], logger, **{**self.service.options, **options})
        self._made.append(executor)
        return executor

    def close(self) -> None:
        """End all sessions, and see that nothing is left."""
        for executor in self._made:
            executor.cleanup()
        self.service.faults.clear()
        assert REAPER.flush(60)
        self.service.wait_empty()


def cloud_of(name: str, service: Service) -> Cloud:
    """The one of a name."""
    if name == "e2b":
        rpc = "POST /process.Process/"
        return Cloud(
            service, E2BExecutor, "POST /v2/sandboxes", f"{rpc}SendInput", f"{rpc}Start", "DELETE /sandboxes/.*"
        )
    process = "/sandbox/.*/process"
    return Cloud(
        service,
        BlaxelExecutor,
        "POST /v0/sandboxes",
        f"POST {process}/.*/stdin",
        f"GET {process}/.*/logs/stream",
        "DELETE /v0/sandboxes/.*",
    )


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No credentials of the machine's reach the tests."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path_factory.getbasetemp()))


@pytest.fixture
def e2b() -> Iterator[Cloud]:
    """The stand-in for E2B."""
    with E2BService() as service:
        cloud = cloud_of("e2b", service)
        yield cloud
        cloud.close()


@pytest.fixture
def blaxel() -> Iterator[Cloud]:
    """The stand-in for Blaxel."""
    with BlaxelService() as service:
        cloud = cloud_of("blaxel", service)
        yield cloud
        cloud.close()


@pytest.fixture(params=["e2b", "blaxel"])
def cloud(request: pytest.FixtureRequest) -> Cloud:
    """One after the other."""
    return request.getfixturevalue(request.param)

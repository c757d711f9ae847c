"""The executors that the contract is held against: how each is made here, and what its platform cannot do."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from actloop.errors import AgentError
from actloop.executors.reaper import REAPER
from actloop.executors.registry import make_executor
from actloop.executors.unsafe import UnsafeInProcessExecutor

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from contextlib import AbstractContextManager


def _registered(name: str, imports: list[str], **options: Any) -> Any:
    return make_executor(name, imports, None, options)


def _unsafe(_name: str, imports: list[str], **options: Any) -> Any:
    return UnsafeInProcessExecutor(imports, **options)


_living: dict[str, Callable[[], int]] = {}
"""How many sandboxes live outside of this machine's own processes, by executor, while its surroundings stand."""


def _remaining(name: str) -> Callable[[], int]:
    return lambda: _living[name]()


def _none() -> int:
    return 0


def _nothing() -> AbstractContextManager[Mapping[str, Any]]:
    return contextlib.nullcontext({})


def _ready() -> str:
    return ""


def _no_monty() -> str:
    from actloop.executors.monty import MontyExecutor

    return MontyExecutor.why_unavailable()


def _no_wasm() -> str:
    from actloop.executors.wasm import assets

    try:
        assets.ensure_pyodide(assets.find_deno())
    except AgentError as error:
        return str(error)
    return ""


@contextlib.contextmanager
def _modal() -> Generator[Mapping[str, Any]]:
    from tests.executors.cloud_modal.server import modal_service

    with modal_service() as (server, options):
        _living["modal"] = lambda: len(server.account.alive)
        yield options


def _no_modal() -> str:
    return "" if find_spec("modal") else "the package modal is not installed"


@contextlib.contextmanager
def _docker(engine: str = "") -> Generator[Mapping[str, Any]]:
    from tests.executors.engine import engine_url, image_of_tests

    from actloop.executors.containers.engine import OWNER, engine_at, owner

    url = engine_url(engine)
    _living["docker"] = lambda: len(engine_at(url).api.containers(all=True, filters={"label": f"{OWNER}={owner()}"}))
    yield {"base_url": url, "image": image_of_tests(url)}
    REAPER.flush(60)


def _no_docker(engine: str = "") -> str:
    from tests.executors.engine import why_no_engine

    return why_no_engine(engine)


@contextlib.contextmanager
def _e2b() -> Generator[Mapping[str, Any]]:
    from tests.executors.cloud.e2b_service import E2BService

    with E2BService() as service:
        service.remembers = False
        _living["e2b"] = lambda: len(service.live())
        yield service.options


@contextlib.contextmanager
def _blaxel() -> Generator[Mapping[str, Any]]:
    from tests.executors.cloud.blaxel_service import BlaxelService

    with BlaxelService() as service:
        service.remembers = False
        _living["blaxel"] = lambda: len(service.live())
        yield service.options


def _no_e2b() -> str:
    return "" if find_spec("e2b") else "the package e2b is not installed"


def _no_blaxel() -> str:
    return "" if find_spec("blaxel") else "the package blaxel is not installed"


@dataclass(frozen=True, slots=True)
class Subject:
    """One executor.

    Attributes:
        name: Its name in `executors.registry`.
        lacks: What its platform cannot do, each with the platform's reason; tests that need it are skipped with that.
            Known are: threads, async, interrupt, modules (the standard library), classes, images, arrays, tables,
            memory, cpu, crash, snapshot, reach (from another process of this machine), workspace, quota, network, mcp.
        sessions: How many are opened one after another, to see that nothing is left of them; 1,000 where
            `ACTLOOP_ALL_SESSIONS` is set.
        title: What tests call it, where that is not its name.
        why_not: Why it cannot run on this machine at all; empty where it can.
        surroundings: What has to stand while it is used, such as a server; gives further options.
        remains: How many sandboxes there are, while the surroundings stand, that are no processes of this one, such as
            containers.
        grows: KiB by which this process may grow with each session, beside a few MiB at once. Services that stand in
            are in this very process, and remember what sandboxes they had.
        make: Makes one: called with the name, the authorised imports and options.
        attacks: Families of the corpus that it is attacked with; None for all. Executors that are tested at the wire,
            with a plain process where the service has a virtual machine, are attacked over the protocol only.
    """

    name: str
    lacks: Mapping[str, str] = field(default_factory=dict[str, str])
    sessions: int = 1000
    why_not: Callable[[], str] = _ready
    surroundings: Callable[[], AbstractContextManager[Mapping[str, Any]]] = _nothing
    remains: Callable[[], int] = _none
    grows: int = 16
    make: Callable[..., Any] = _registered
    attacks: tuple[str, ...] | None = None
    title: str = ""
    sample: int | None = None
    """Attacks of each family that the tests try beside those written for the platform, where sessions are slow: others
    each day. `tests.attacks.table` tries all."""

    def __str__(self) -> str:
        return self.title or self.name


AT_THE_WIRE = ("protocol", "disorder", "endless-talk", "hostile-arguments", "costly-to-read", "output-floods")
"""Families of attacks that are aimed at whoever reads what a guest says."""

EXECUTORS: dict[str, Subject] = {
    subject.name: subject
    for subject in (
        Subject("local"),
        Subject(
            "unsafe",
            lacks={
                "memory": "a plain child process has no limit of memory",
                "network": "nothing closes the network of a plain child process",
            },
            sessions=50,
            make=_unsafe,
            attacks=(),
        ),
        Subject(
            "wasm",
            lacks={
                "threads": "Python in WebAssembly has no threads",
                "network": "Python in WebAssembly has no sockets",
                **dict.fromkeys(
                    ("images", "arrays", "tables"),
                    "Pyodide's wheels of Pillow, NumPy and pandas cannot be fetched here",
                ),
            },
            sessions=8,
            sample=2,
            why_not=_no_wasm,
        ),
        Subject(
            "monty",
            lacks={
                "threads": "Monty has no threads",
                "modules": "Monty has a few modules of the standard library only",
                "classes": "Monty has neither inheritance nor generators",
                **dict.fromkeys(("images", "arrays", "tables"), "Monty has no third-party modules"),
                "cpu": "Monty counts the time that a program runs, and not what the processor gave it",
                "crash": "Monty has nothing by which a program could end its process",
                "interrupt": "a worker that computes hears of nothing, and is killed",
                **dict.fromkeys(("workspace", "quota"), "Monty has no files"),
                "network": "Monty has no network",
            },
            why_not=_no_monty,
        ),
        Subject(
            "docker", sessions=24, sample=6, why_not=_no_docker, surroundings=_docker, remains=_remaining("docker")
        ),
        Subject(
            "e2b",
            sessions=24,
            why_not=_no_e2b,
            surroundings=_e2b,
            remains=_remaining("e2b"),
            grows=64,
            attacks=AT_THE_WIRE,
        ),
        Subject(
            "blaxel",
            sessions=24,
            why_not=_no_blaxel,
            surroundings=_blaxel,
            remains=_remaining("blaxel"),
            grows=64,
            attacks=AT_THE_WIRE,
        ),
        Subject(
            "modal",
            lacks={"reach": "the client of the service that stands in here is an object of this process"},
            sessions=24,
            why_not=_no_modal,
            surroundings=_modal,
            remains=_remaining("modal"),
            grows=64,
            attacks=AT_THE_WIRE,
        ),
    )
}

DOCKERD = Subject(
    "docker",
    title="dockerd",
    why_not=lambda: _no_docker("docker"),
    surroundings=lambda: _docker("docker"),
    remains=_remaining("docker"),
)
"""Docker itself, besides the engine that the contract is held against in full."""

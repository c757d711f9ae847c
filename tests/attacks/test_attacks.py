"""Every attack of the corpus, in the real sandbox; and without it, where that proves that it is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.attacks.arena import Arena, Outcome, Sandboxed
from tests.attacks.corpus import ATTACKS, FAMILIES, OWN
from tests.attacks.host import Host
from tests.attacks.open_wasm import OpenWasmExecutor
from tests.executors.contract.kit import EXECUTORS

from actloop.executors.kernel import host as kernel
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.session import SandboxLimits
from actloop.executors.unsafe import UnsafeInProcessExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.mark.structures import ParameterSet
    from tests.attacks.attack import Attack

CONTROLS = {
    platform: [
        attack
        for family in (*FAMILIES, *OWN)
        for attack in family.attacks
        if attack.platform == platform and attack.control
    ]
    for platform in ("", "monty", "wasm")
}
"""Attacks that are known to be some, since they succeed where nothing is in their way, by platform."""


def marked(attack: Attack) -> ParameterSet:
    marks = [pytest.mark.xfail(strict=True, reason=attack.known, run=False)] if attack.known else []
    return pytest.param(attack, id=str(attack), marks=marks)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host() as host:
        yield host


@pytest.fixture(scope="module")
def arena(host: Host) -> Arena:
    def zygote() -> int | None:
        return kernel.zygote_for(None, (*kernel.DEFAULT_PRELOAD, "asyncio", "cloudpickle")).pid

    def make(imports: tuple[str, ...], limits: SandboxLimits, **options: Any) -> LocalPythonExecutor:
        return LocalPythonExecutor(imports, limits=limits, **options)

    return Arena(host, make, zygote)


@pytest.mark.parametrize("attack", [marked(attack) for attack in ATTACKS])
def test_attack(attack: Attack, arena: Arena) -> None:
    assert arena.attack(attack) == []


@pytest.mark.parametrize("attack", CONTROLS[""] + CONTROLS["monty"], ids=str)
def test_attack_succeeds_without_a_sandbox(attack: Attack, host: Host) -> None:
    executor = UnsafeInProcessExecutor(attack.imports, limits=SandboxLimits(wall=attack.limits.wall))
    sandboxed = Sandboxed(executor, host.variables(None))
    try:
        sandboxed.run(attack.definitions)
        outcome = sandboxed.run(attack.code)
    finally:
        sandboxed.close()
    host.harm(outcome.texts())
    assert succeeded(outcome), outcome


@pytest.fixture(scope="module")
def open_wasm(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandboxed]:
    if reason := EXECUTORS["wasm"].why_not():
        pytest.skip(f"wasm cannot run here: {reason}")
    sandboxed = Sandboxed(OpenWasmExecutor(tmp_path_factory.mktemp("open")), host.variables(None))
    yield sandboxed
    sandboxed.close()


@pytest.mark.parametrize("attack", CONTROLS["wasm"], ids=str)
def test_attack_on_webassembly_succeeds_without_its_walls(attack: Attack, open_wasm: Sandboxed, host: Host) -> None:
    open_wasm.run(attack.definitions)
    outcome = open_wasm.run(attack.code)
    host.harm(outcome.texts())
    assert succeeded(outcome), outcome


def succeeded(outcome: Outcome) -> bool:
    return outcome.finished is not None and outcome.finished.failure is None and bool(outcome.finished.output)


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    names = [str(attack) for family in (*FAMILIES, *OWN) for attack in family.attacks]
    assert len(names) == len(set(names))
    assert len(ATTACKS) >= 200

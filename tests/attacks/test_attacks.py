"""Every attack of the corpus, in the real sandbox; and without it, where that proves that it is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.attacks.arena import Arena, Outcome, Sandboxed
from tests.attacks.corpus import ATTACKS
from tests.attacks.host import Host

from actloop.executors.kernel import host as kernel
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.unsafe import UnsafeInProcessExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.mark.structures import ParameterSet
    from tests.attacks.attack import Attack

    from actloop.executors.session import SandboxLimits

pytestmark = pytest.mark.timeout(60)


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


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if attack.control], ids=str)
def test_attack_succeeds_without_a_sandbox(attack: Attack, host: Host) -> None:
    sandboxed = Sandboxed(UnsafeInProcessExecutor(attack.imports, limits=attack.limits), host.variables(None))
    try:
        sandboxed.run(attack.prelude)
        outcome = sandboxed.run(attack.code)
    finally:
        sandboxed.close()
    host.harm(outcome.texts())
    assert succeeded(outcome), outcome


def succeeded(outcome: Outcome) -> bool:
    return outcome.finished is not None and outcome.finished.failure is None and bool(outcome.finished.output)


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    names = [str(attack) for attack in ATTACKS]
    assert len(names) == len(set(names)) >= 100

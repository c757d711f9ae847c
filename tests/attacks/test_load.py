"""Many sessions at once, every second one hostile in its own way: the honest ones all finish, and finish right."""

from __future__ import annotations

import dataclasses
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.attacks.arena import Outcome, Sandboxed
from tests.attacks.boundary import Boundary
from tests.attacks.corpus import FAMILIES
from tests.attacks.host import Host

from actloop.executors.local import LocalPythonExecutor
from actloop.executors.session import SandboxLimits

if TYPE_CHECKING:
    from tests.attacks.attack import Attack

MANY = 64

HONEST = """
import hashlib, json
rows = [{"n": n, "square": echo(n * n)} for n in range(20)]
total = sum(row["square"] for row in rows) + seed
digest = hashlib.sha256(json.dumps([rows, seed]).encode()).hexdigest()
print(total)
"""


def chosen() -> list[Attack]:
    """One attack of each family that needs no folder, then further ones, until there are enough; always the same."""
    chance = random.Random(4)
    alone = [family for family in FAMILIES if not any(attack.workspace for attack in family.attacks)]
    queues = [chance.sample(family.attacks, len(family.attacks)) for family in alone]
    found = [queue.pop() for queue in queues]
    rest = [attack for queue in queues for attack in queue]
    return found + chance.sample(rest, MANY - len(found))


@pytest.mark.timeout(300)
def test_honest_sessions_finish_beside_hostile_ones() -> None:
    attacks = chosen()
    assert len({str(attack) for attack in attacks}) == MANY
    begin = threading.Barrier(2 * MANY)

    def hostile(host: Host, attack: Attack) -> Outcome:
        limits = dataclasses.replace(attack.limits, wall=3.0)
        sandboxed = Sandboxed(
            LocalPythonExecutor(attack.imports, limits=limits, **attack.options), host.variables(None)
        )
        try:
            begin.wait()
            sandboxed.run(attack.prelude)
            return sandboxed.run(attack.code)
        finally:
            sandboxed.close()

    def honest(seed: int) -> tuple[Any, ...]:
        limits = SandboxLimits(wall=120.0)  # it gets its share of the processors, which is small
        sandboxed = Sandboxed(LocalPythonExecutor([], limits=limits), {"seed": seed})
        try:
            begin.wait()
            first = sandboxed.run(HONEST)
            second = sandboxed.run("total, digest")
            assert first.finished is not None
            assert second.finished is not None
            return first.finished.failure, first.finished.logs, second.finished.output
        finally:
            sandboxed.close()

    def make(imports: list[str], limits: SandboxLimits | None) -> LocalPythonExecutor:
        return LocalPythonExecutor(imports, limits=limits)

    with Host() as host:
        boundary = Boundary(host, make)
        assert boundary.works()
        with ThreadPoolExecutor(2 * MANY) as pool:
            attacked = [pool.submit(hostile, host, attack) for attack in attacks]
            worked = [pool.submit(honest, seed) for seed in range(MANY)]
            answers = [future.result() for future in worked]
            outcomes = [future.result() for future in attacked]
        assert host.harm([text for outcome in outcomes for text in outcome.texts()]) == []
        assert boundary.works()
    squares = sum(n * n for n in range(20))
    assert [answer[:2] for answer in answers] == [(None, f"{squares + seed}\n") for seed in range(MANY)]
    assert [answer[2][0] for answer in answers] == [squares + seed for seed in range(MANY)]
    assert len({answer[2][1] for answer in answers}) == MANY

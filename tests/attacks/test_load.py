"""Many sessions at once, every second one hostile in its own way: the honest ones all finish, and finish right."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.attacks.arena import Sandboxed
from tests.attacks.boundary import ABSENT, Boundary
from tests.attacks.choice import NAMES, attacks_of, lacking
from tests.attacks.host import Host
from tests.attacks.told import absent, read
from tests.executors.contract.kit import EXECUTORS, Subject

from actloop.executors.session import SandboxLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.attacks.arena import Outcome
    from tests.attacks.attack import Attack

MANY = {"local": 64, "monty": 64, "docker": 8, "wasm": 4}
"""Hostile sessions, and as many honest ones, by executor: as many as its sessions are light."""

AT_ONCE = 4
"""Sessions that are opened at the same time, so that each can be prepared in its time."""

HONEST = """
import hashlib, json
rows = [{"n": n, "square": echo(n * n)} for n in range(20)]
total = sum([row["square"] for row in rows]) + seed
digest = hashlib.sha256(json.dumps([rows, seed]).encode()).hexdigest()
print(total)
"""


def hostile(subject: Subject) -> list[Attack]:
    """Attacks that apply to an executor: one of each family, then further ones; always the same."""
    chance, known = random.Random(4), absent(read(), subject.name)
    found: list[Attack] = []
    rest: list[Attack] = []
    for name in chance.sample(NAMES, len(NAMES)):
        attacks = [
            attack
            for attack in attacks_of(subject, name)
            if not attack.workspace and not lacking(subject, attack) and str(attack) not in known
        ]
        for attack in chance.sample(attacks, min(1, len(attacks))):
            found.append(attack)
            rest += [other for other in attacks if other is not attack]
    return (found + chance.sample(rest, len(rest)))[: MANY[subject.name]]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", list(MANY))
def test_honest_sessions_finish_beside_hostile_ones(name: str) -> None:
    subject = EXECUTORS[name]
    if reason := subject.why_not():
        pytest.skip(f"{subject} cannot run here: {reason}")
    with Host() as host, subject.surroundings() as options:

        def make(imports: list[str], limits: SandboxLimits | None, **more: Any) -> Any:
            return subject.make(subject.name, imports, **options, **({"limits": limits} if limits else {}), **more)

        boundary = Boundary(host, make, subject.remains)
        assert boundary.works()
        attacks = hostile(subject)
        attacked, answers = at_once(boundary, make, attacks)
        assert host.harm([text for outcome in attacked.values() for text in outcome.texts()]) == []
        assert boundary.works()
    assert len(attacked) == len(answers) == MANY[name]
    meant = {str(attack): attack.ends for attack in attacks}
    broken = {name: one for name, one in attacked.items() if one.kind in ABSENT and one.kind != meant[name]}
    assert broken == {}, "these did not attack"
    squares = sum(n * n for n in range(20))
    assert [answer[:2] for answer in answers] == [(None, f"{squares + seed}\n") for seed in range(MANY[name])]
    assert [answer[2][0] for answer in answers] == [squares + seed for seed in range(MANY[name])]
    assert len({answer[2][1] for answer in answers}) == MANY[name]


def at_once(
    boundary: Boundary, make: Callable[..., Any], attacks: list[Attack]
) -> tuple[dict[str, Outcome], list[tuple[Any, ...]]]:
    """Run attacks beside as many honest programs; what came of each attack by its name, and the honest answers."""
    begin = threading.Barrier(2 * len(attacks))
    opening = threading.Semaphore(AT_ONCE)

    def attack(attack: Attack) -> Outcome:
        try:
            with opening:
                sandboxed, prepared, _ = boundary.prepared(attack, attack.options)
            assert (prepared.kind, prepared.raised) == ("", None), f"{attack} cannot be prepared: {prepared}"
        except BaseException:
            begin.abort()
            raise
        try:
            begin.wait()
            return sandboxed.run(attack.code)
        finally:
            sandboxed.close()

    def honest(seed: int) -> tuple[Any, ...]:
        limits = SandboxLimits(wall=120.0)  # it gets its share of the processors, which is small
        with opening:
            sandboxed = Sandboxed(make([], limits), {"seed": seed})
        try:
            begin.wait()
            first = sandboxed.run(HONEST)
            second = sandboxed.run("total, digest")
            assert first.finished is not None
            assert second.finished is not None
            return first.finished.failure, first.finished.logs, second.finished.output
        finally:
            sandboxed.close()

    with ThreadPoolExecutor(2 * len(attacks)) as pool:
        attacked = {str(one): pool.submit(attack, one) for one in attacks}
        worked = [pool.submit(honest, seed) for seed in range(len(attacks))]
        outcomes = {name: future.result() for name, future in attacked.items()}
        return outcomes, [future.result() for future in worked]

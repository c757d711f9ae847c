"""Runs the corpus against any executor, and judges what came of it outside of the sandbox.

The kernel sandbox is judged more strictly (`arena`): there, whatever a program gets hold of is a success of the attack.
A container or a virtual machine has files, processes and system calls of its own, with which a program may do as it
likes; what counts is what reaches the host, comes out of it, or is left behind there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.attacks.arena import BROKEN, LONG, SLACK, Sandboxed, is_loot
from tests.attacks.attack import HARNESS
from tests.attacks.host import descendants, forget_peak, peak_memory
from tests.attacks.workplace import Workplace

from actloop.errors import AgentError
from actloop.executors.session import SandboxLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.attacks.arena import Outcome
    from tests.attacks.attack import Attack
    from tests.attacks.host import Host

WALL = 2.0
"""Seconds that a program may run here at most."""

LEAST = 1.0
"""Seconds that it has at least, since several at once take them from each other."""

ABSENT = frozenset((*BROKEN, "ModuleNotFoundError", "ImportError", "NotImplementedError"))
"""Failures that say that a platform has no such module, name or piece of syntax as an attack uses."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one attack.

    Attributes:
        wrong: What is wrong afterwards, in words; empty when it was blocked.
        absent: What the platform has not, so that the attack does not apply to it; empty when it was tried.
    """

    wrong: list[str] = field(default_factory=list[str])
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What came of several attacks.

    Attributes:
        each: By their names.
        afterwards: What is wrong when all have ended, in words.
    """

    each: dict[str, Verdict]
    afterwards: list[str]

    @property
    def wrong(self) -> dict[str, list[str]]:
        """What is wrong, by the attack."""
        found = {name: verdict.wrong for name, verdict in self.each.items() if verdict.wrong}
        return {**found, **({"afterwards": self.afterwards} if self.afterwards else {})}

    @property
    def absent(self) -> dict[str, str]:
        """Attacks that do not apply, with the reason."""
        return {name: verdict.absent for name, verdict in self.each.items() if verdict.absent and not verdict.wrong}


class Boundary:
    """An executor whose sessions are attacked, several at once.

    Args:
        host: What the attacks are after.
        make: Makes an executor: called with the authorised imports, limits and further options.
        remains: How many sandboxes its platform holds that are no processes of this one, such as containers.
        at_once: Attacks that are under way at the same time.
    """

    def __init__(
        self, host: Host, make: Callable[..., Any], remains: Callable[[], int] = lambda: 0, *, at_once: int = 4
    ) -> None:
        self._host = host
        self._make = make
        self._remains = remains
        self._at_once = at_once
        self._lock = threading.Lock()
        self._stood: set[str] = set()
        self._most: tuple[int, ...] = (0, 0, 0)
        executor = make([], None)
        self._enforced: frozenset[str] = executor.enforced
        executor.cleanup()

    def attack_all(self, attacks: Iterable[Attack]) -> Verdicts:
        """Run attacks, several at once."""
        listed = list(attacks)
        self._stand({})
        for attack in listed:
            self._stand(attack.options)
        self._most = tuple(map(max, self._most, self._held()))  # those that are kept ready are not always all there
        memory = self._memory()
        with ThreadPoolExecutor(self._at_once) as pool:
            verdicts = dict(zip(map(str, listed), pool.map(self._attack, listed), strict=True))
        after: list[str] = []
        if not self.works():
            after.append("no fresh session works any more")
        after += self._left()
        if (grown := peak_memory() - memory) > 768 << 20:
            after.append(f"the host grew by {grown / 1e6:.0f} MB")
        return Verdicts(verdicts, after)

    def _stand(self, options: Mapping[str, Any]) -> None:
        """See that sessions work; what they share stands from then on, so that it does not count as left behind."""
        if repr(options) not in self._stood:
            assert self.works(options)
            self._stood.add(repr(options))

    def works(self, options: Mapping[str, Any] | None = None) -> bool:
        """Whether a fresh session does what it should."""
        with contextlib.closing(self._open([], None, options)) as sandboxed:
            ended = sandboxed.run("6 * 7").finished
            return ended is not None and ended.output == 42

    def _open(
        self, imports: list[str], limits: SandboxLimits | None, options: Mapping[str, Any] | None = None
    ) -> Sandboxed:
        return Sandboxed(self._make(imports, limits, **(options or {})), self._host.variables(None))

    def _limits(self, attack: Attack, *, long: bool) -> SandboxLimits:
        """What the executor can keep of the limits of an attack; time enough for what has to reach the host."""
        wanted, speaks = attack.limits, attack.speaks and attack.ends == "SandboxCrash"
        kept: dict[str, Any] = {name: getattr(wanted, name) for name in self._enforced}
        kept["wall"] = LONG if speaks or long else min(max(wanted.wall or WALL, LEAST), WALL)
        return dataclasses.replace(SandboxLimits(), **kept)

    def _attack(self, attack: Attack) -> Verdict:
        if not attack.workspace:
            return self._tried(attack, attack.options)
        with Workplace(self._host) as place:
            writable = attack.workspace == "write"
            verdict = self._tried(attack, {**attack.options, "workspace": place.workspace(writable=writable)})
            return dataclasses.replace(verdict, wrong=verdict.wrong + place.harm(writable=writable))

    def _tried(self, attack: Attack, options: Mapping[str, Any]) -> Verdict:
        sandboxed, prepared, wall = self.prepared(attack, options)
        try:
            if prepared.kind or prepared.raised is not None:
                wrong = self._judge(prepared, wall)
                if prepared.kind != "NameError" and (absent := _absent(prepared)):
                    return Verdict(wrong, absent)
                return Verdict([*wrong, f"the attack cannot be prepared: {_told(prepared)}"])
            outcome = sandboxed.run(attack.code)
            wrong = self._judge(outcome, wall) + sandboxed.take_files() + _unlike(attack, outcome)
            if attack.then and sandboxed.session.alive:
                wrong += self._judge(sandboxed.run(attack.then), wall)
            return Verdict(wrong, "" if outcome.kind == attack.ends else _absent(outcome))
        finally:
            sandboxed.close()

    def prepared(self, attack: Attack, options: Mapping[str, Any]) -> tuple[Sandboxed, Outcome, float]:
        """A session with what an attack uses, and its wall time; one with more where that took too long."""
        limits = self._limits(attack, long=False)
        with contextlib.suppress(AgentError):
            sandboxed = self._open(list(attack.imports), limits, options)
            prepared = sandboxed.run(attack.definitions)
            if prepared.kind != "TimeoutError":
                return sandboxed, prepared, limits.wall or WALL
            sandboxed.close()
        sandboxed = self._open(list(attack.imports), self._limits(attack, long=True), options)
        return sandboxed, sandboxed.run(attack.definitions), LONG

    def _judge(self, outcome: Outcome, wall: float) -> list[str]:
        with self._lock:
            wrong = self._host.harm(outcome.texts())
        if outcome.raised is not None and not isinstance(outcome.raised, AgentError):
            wrong.append(f"the host raised {outcome.raised!r}")
        if outcome.finished is None and outcome.raised is None:
            wrong.append("the program did not end")
        if outcome.seconds > wall + SLACK:
            wrong.append(f"it took {outcome.seconds:.1f} s")
        return wrong

    def _held(self) -> tuple[int, ...]:
        return len(os.listdir("/proc/self/fd")), threading.active_count(), len(descendants(os.getpid()))

    def _memory(self) -> int:
        forget_peak()
        return peak_memory()

    def _left(self) -> list[str]:
        until = time.monotonic() + SLACK
        while True:
            more = [now - then for now, then in zip(self._held(), self._most, strict=True)]
            sandboxes = self._remains()
            if sandboxes == 0 and all(count <= 0 for count in more):
                return []
            if time.monotonic() > until:
                kept = f"{more[0]} more descriptors, {more[1]} more threads, {more[2]} more processes"
                return [f"the host keeps {kept}, {sandboxes} sandboxes"]
            time.sleep(0.05)


def _told(outcome: Outcome) -> str:
    failure = outcome.finished.failure if outcome.finished is not None else None
    return repr(outcome.raised) if failure is None else f"{failure.kind}: {failure.message[:300]}"


def _absent(outcome: Outcome) -> str:
    """What a program needs that is not there, in words; empty when it did not fail for that."""
    return _told(outcome) if outcome.kind in ABSENT else ""


def _unlike(attack: Attack, outcome: Outcome) -> list[str]:
    """Why a program was not the attack that it should have been, in words."""
    wrong: list[str] = []
    if outcome.kind == "NameError" and HARNESS & set(re.findall(r"\w+", _told(outcome))):
        wrong.append(f"what attacks are promised is not there: {_told(outcome)}")
    other = attack.ends is not None and outcome.kind != attack.ends
    if not attack.platform:
        if attack.speaks and other and outcome.kind not in ABSENT:
            wrong.append(f"it ended with {outcome.kind!r}, not {attack.ends!r}: {_told(outcome)}")
        return wrong
    if outcome.kind in ABSENT and outcome.kind != attack.ends:
        wrong.append(f"the attack itself is broken: {_told(outcome)}")
    ended = outcome.finished
    if not attack.yields and ended is not None and not outcome.kind and is_loot(ended.output):
        wrong.append(f"it got {repr(ended.output)[:300]}")
    slow = outcome.kind == "TimeoutError" and attack.ends == "MemoryError"
    if other and not slow:
        wrong.append(f"it ended with {outcome.kind!r}, not {attack.ends!r}: {_told(outcome)}")
    return wrong

"""Runs the corpus against any executor, and judges what came of it outside of the sandbox.

The kernel sandbox is judged more strictly (`arena`): there, whatever a program gets hold of is a success of the attack.
A container or a virtual machine has files, processes and system calls of its own, with which a program may do as it
likes; what counts is what reaches the host, comes out of it, or is left behind there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tests.attacks.arena import Sandboxed
from tests.attacks.host import descendants, forget_peak, peak_memory
from tests.attacks.workplace import Workplace

from actloop.errors import AgentError
from actloop.executors.session import SandboxLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.attacks.attack import Attack
    from tests.attacks.host import Host

SLACK = 20.0
"""Seconds beyond its limit after which a program counts as one that cannot be ended: several run at once."""

WALL = 2.0
"""Seconds that a program may run here at most."""


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
        executor = make([], None)
        self._enforced: frozenset[str] = executor.enforced
        executor.cleanup()

    def attack_all(self, attacks: Iterable[Attack]) -> dict[str, list[str]]:
        """Run attacks; returns by their names everything that is wrong afterwards, in words."""
        listed = list(attacks)
        for options in (None, *(attack.options for attack in listed[:1])):  # what sessions share stands from now on
            assert self.works(options)
        before, memory = self._held(), self._memory()
        with ThreadPoolExecutor(self._at_once) as pool:
            wrong = dict(zip(map(str, listed), pool.map(self._attack, listed), strict=True))
        after: list[str] = []
        if not self.works():
            after.append("no fresh session works any more")
        after += self._left(before)
        if (grown := peak_memory() - memory) > 768 << 20:
            after.append(f"the host grew by {grown / 1e6:.0f} MB")
        if after:
            wrong["afterwards"] = after
        return {name: what for name, what in wrong.items() if what}

    def works(self, options: Mapping[str, Any] | None = None) -> bool:
        """Whether a fresh session does what it should."""
        with contextlib.closing(self._open([], None, options)) as sandboxed:
            ended = sandboxed.run("6 * 7").finished
            return ended is not None and ended.output == 42

    def _open(
        self, imports: list[str], limits: SandboxLimits | None, options: Mapping[str, Any] | None = None
    ) -> Sandboxed:
        variables = {**self._host.variables(None), "channel": -1}
        return Sandboxed(self._make(imports, limits, **(options or {})), variables)

    def _limits(self, wanted: SandboxLimits) -> SandboxLimits:
        """What the executor can keep of the limits of an attack."""
        kept: dict[str, Any] = {name: getattr(wanted, name) for name in self._enforced}
        kept["wall"] = min(wanted.wall or WALL, WALL)
        return dataclasses.replace(SandboxLimits(), **kept)

    def _attack(self, attack: Attack) -> list[str]:
        if not attack.workspace:
            return self._tried(attack, attack.options)
        with Workplace(self._host) as place:
            writable = attack.workspace == "write"
            wrong = self._tried(attack, {**attack.options, "workspace": place.workspace(writable=writable)})
            return wrong + place.harm(writable=writable)

    def _tried(self, attack: Attack, options: Mapping[str, Any]) -> list[str]:
        sandboxed = self._open(list(attack.imports), self._limits(attack.limits), options)
        try:
            sandboxed.run(attack.prelude)  # where what it needs is not there, the attack fails of itself
            outcome = sandboxed.run(attack.code)
            wrong = self._judge(outcome) + sandboxed.take_files()
            if attack.then and sandboxed.session.alive:
                wrong += self._judge(sandboxed.run(attack.then))
            return wrong
        finally:
            sandboxed.close()

    def _judge(self, outcome: Any) -> list[str]:
        with self._lock:
            wrong = self._host.harm(outcome.texts())
        if outcome.raised is not None and not isinstance(outcome.raised, AgentError):
            wrong.append(f"the host raised {outcome.raised!r}")
        if outcome.finished is None and outcome.raised is None:
            wrong.append("the program did not end")
        if outcome.seconds > WALL + SLACK:
            wrong.append(f"it took {outcome.seconds:.1f} s")
        return wrong

    def _held(self) -> tuple[int, int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count(), len(descendants(os.getpid()))

    def _memory(self) -> int:
        forget_peak()
        return peak_memory()

    def _left(self, before: tuple[int, int, int]) -> list[str]:
        until = time.monotonic() + 20.0
        while True:
            more = [now - then for now, then in zip(self._held(), before, strict=True)]
            sandboxes = self._remains()
            if sandboxes == 0 and all(count <= 0 for count in more):
                return []
            if time.monotonic() > until:
                kept = f"{more[0]} more descriptors, {more[1]} more threads, {more[2]} more processes"
                return [f"the host keeps {kept}, {sandboxes} sandboxes"]
            time.sleep(0.05)

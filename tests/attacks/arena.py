"""Runs attacks in real sandboxes, and judges what came of them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.attacks.host import Host, descendants, forget_peak, left_over, peak_memory
from tests.attacks.workplace import Workplace

from actloop.errors import AgentError
from actloop.executors.base import GuestExecutor
from actloop.executors.local import KernelProcess, LocalPythonExecutor
from actloop.executors.session import Call, Finished, RemoteTool, SandboxLimits
from actloop.executors.waiting import BlockingWaiter, run_now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.attacks.attack import Attack

    from actloop.executors.kernel.host import Zygote
    from actloop.executors.session import Session

BROKEN = ("NameError", "SyntaxError", "IndentationError", "UnboundLocalError", "TypeError", "AttributeError")
"""Failures that say that an attack was written wrongly, unless it means to end so."""

MOST_CALLS = 20_000

SLACK = 20.0
"""Seconds beyond its limit after which a program counts as one that cannot be ended; and in which what a session used
has to be gone after it. The machine may be busy, and several may run at once."""

LONG = 30.0
"""Seconds for a program that could not be prepared in its time, as on a machine that has much else to do. And where
several run at once, for one that says something that ends its session: millions of bytes, through slow streams."""


class LevelsExecutor(GuestExecutor):
    """Opens sessions from a given zygote, which may leave levels of isolation out."""

    enforced = LocalPythonExecutor.enforced

    def __init__(self, zygote: Zygote, **options: Any) -> None:
        super().__init__(**options)
        self._zygote = zygote

    def spawn(self, config: dict[str, Any]) -> KernelProcess:
        """As in `GuestExecutor`."""
        return KernelProcess(self._zygote.spawn(config))


@dataclass(slots=True)
class Outcome:
    """What came of one program.

    Attributes:
        finished: How it ended; None when something was raised.
        raised: What the host's own code raised.
        seconds: From start to end.
        calls: Calls of tools that reached the host.
    """

    finished: Finished | None = None
    raised: BaseException | None = None
    seconds: float = 0.0
    calls: list[Call] = field(default_factory=list[Call])

    @property
    def kind(self) -> str:
        """Kind of the failure; empty when there is none."""
        failure = self.finished.failure if self.finished is not None else None
        return "" if failure is None else failure.kind

    @property
    def lost(self) -> bool:
        """Whether the session has died."""
        failure = self.finished.failure if self.finished is not None else None
        return failure is not None and failure.lost

    def texts(self) -> list[str]:
        """Everything that came out."""
        ended = self.finished or Finished()
        texts = [ended.logs, _shown(ended.output), *(_shown(call.args) + _shown(call.kwargs) for call in self.calls)]
        if ended.failure is not None:
            texts += [ended.failure.message, ended.failure.traceback]
        return texts


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # an integer of too many digits to be shown
        return ""


def echo(*args: Any, **kwargs: Any) -> Any:
    """Give the first argument back, or the named ones."""
    return args[0] if args else kwargs


def large(size: int) -> str:
    """A long text."""
    return "x" * size


def slow(seconds: float) -> None:
    """Take some time."""
    time.sleep(seconds)


TOOLS: Mapping[str, Callable[..., Any]] = {"echo": echo, "large": large, "slow": slow}
"""What programs may call."""


class Sandboxed:
    """One session, driven as a runtime drives it.

    Args:
        executor: Opens it.
        variables: Variables it begins with.
    """

    def __init__(self, executor: GuestExecutor, variables: Mapping[str, Any]) -> None:
        self._waiter = BlockingWaiter()
        self.session: Session = run_now(executor.open_session(self._waiter))
        tools = [RemoteTool(name) for name in TOOLS]
        run_now(self.session.define(self._waiter, tools=tools, variables=variables))

    def run(self, code: str) -> Outcome:
        """Run a program to its end; whatever the host's own code raises is part of the outcome."""
        outcome = Outcome()
        start = time.monotonic()
        try:
            outcome.finished = run_now(self._run(code, outcome))
        except Exception as error:
            outcome.raised = error
        outcome.seconds = time.monotonic() - start
        return outcome

    async def _run(self, code: str, outcome: Outcome) -> Finished:
        await self.session.start(code, self._waiter)
        while True:
            event = await self.session.receive(self._waiter)
            if isinstance(event, Finished):
                return event
            if isinstance(event, Call):
                outcome.calls.append(event)
                if len(outcome.calls) > MOST_CALLS:
                    raise AssertionError("the program goes on calling for ever")
                await self._answer(event)

    async def _answer(self, call: Call) -> None:
        try:
            value = TOOLS[call.name](*call.args, **call.kwargs)
        except Exception as error:
            await self.session.fail(call.id, type(error).__name__, str(error), self._waiter)
        else:
            await self.session.answer(call.id, value, self._waiter)

    def take_files(self) -> list[str]:
        """Take over what programs did to a workspace; what the host itself raised meanwhile, in words."""
        try:
            run_now(self.session.take_files(self._waiter))
        except AgentError:
            return []
        except Exception as error:
            return [f"the host raised {error!r}"]
        return []

    def close(self) -> None:
        """End it."""
        self.session.close()


class Arena:
    """A host, and sandboxes in which it is attacked.

    Args:
        host: What the attacks are after.
        executor: Makes an executor for given imports, limits and further options.
        zygote: Gives the process id of the zygote once it runs, from which sessions without further options are forked.
    """

    def __init__(
        self,
        host: Host,
        executor: Callable[..., GuestExecutor],
        zygote: Callable[[], int | None],
    ) -> None:
        self.host = host
        self._executor = executor
        self._zygote = zygote
        self._works()
        before = set(descendants(zygote() or 0))
        with contextlib.closing(self.open()):
            assert set(descendants(zygote() or 0)) - before, "sessions come from another zygote"

    def attack(self, attack: Attack) -> list[str]:
        """Run an attack; returns everything that is wrong afterwards, in words."""
        if not attack.workspace:
            return self._attack(attack, {**attack.options})
        with Workplace(self.host) as place:
            writable = attack.workspace == "write"
            options = {**attack.options, "workspace": place.workspace(writable=writable)}
            return self._attack(attack, options) + place.harm(writable=writable)

    def _attack(self, attack: Attack, options: dict[str, Any]) -> list[str]:
        wrong: list[str] = []
        executor = self._executor(attack.imports, attack.limits, **options)
        if options:
            self._open(executor).close()  # so that their zygote is there
        family = set(descendants(os.getpid()))
        descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
        forget_peak()
        memory = peak_memory()
        sandboxed, attack = self._prepared(attack, executor, options)
        try:
            outcome = sandboxed.run(attack.code)
            wrong += self._judge(attack, outcome)
            wrong += sandboxed.take_files()
            if attack.then and sandboxed.session.alive:
                wrong += self._judge(attack, sandboxed.run(attack.then), first=False)
            if left_over(os.getpid(), family, allowed=1, seconds=0.5):
                wrong.append("there are new processes")
        finally:
            sandboxed.close()
        if (grown := peak_memory() - memory) > attack.memory:
            wrong.append(f"the host grew by {grown / 1e6:.0f} MB")
        if not self._works():
            wrong.append("no fresh session works any more")
        if left_over(os.getpid(), family):
            wrong.append("the session's process is still there")
        wrong += self._settled(descriptors, threads)
        return wrong

    def _prepared(self, attack: Attack, executor: GuestExecutor, options: dict[str, Any]) -> tuple[Sandboxed, Attack]:
        """A session with what an attack uses, and the attack; both with more time where that took too long."""
        with contextlib.suppress(AgentError):
            sandboxed = self._open(executor)
            outcome = sandboxed.run(attack.definitions)
            if outcome.finished is not None and not outcome.kind:
                return sandboxed, attack
            sandboxed.close()
            if outcome.kind != "TimeoutError":
                raise AssertionError(f"the prelude failed: {outcome}")
        patient = dataclasses.replace(attack, limits=dataclasses.replace(attack.limits, wall=LONG))
        sandboxed = self._open(self._executor(patient.imports, patient.limits, **options))
        outcome = sandboxed.run(patient.definitions)
        if outcome.finished is None or outcome.kind:
            sandboxed.close()
            raise AssertionError(f"the prelude failed: {outcome}")
        return sandboxed, patient

    def open(self, imports: tuple[str, ...] = (), limits: SandboxLimits | None = None) -> Sandboxed:
        """A fresh session."""
        return self._open(self._executor(imports, limits or SandboxLimits(wall=5.0)))

    def _open(self, executor: GuestExecutor) -> Sandboxed:
        return Sandboxed(executor, self.host.variables(self._zygote()))

    def _works(self) -> bool:
        sandboxed = self.open()
        try:
            outcome = sandboxed.run("6 * 7")
            return outcome.finished is not None and outcome.finished.output == 42
        finally:
            sandboxed.close()

    def _settled(self, descriptors: int, threads: int) -> list[str]:
        until = time.monotonic() + SLACK
        while True:
            more = len(os.listdir("/proc/self/fd")) - descriptors
            running = threading.active_count() - threads
            if more <= 0 and running <= 0:
                return []
            if time.monotonic() > until:
                return [f"the host keeps {more} more descriptors and {running} more threads"]
            time.sleep(0.005)

    def _judge(self, attack: Attack, outcome: Outcome, *, first: bool = True) -> list[str]:
        wrong = self.host.harm(outcome.texts())
        if outcome.raised is not None and not isinstance(outcome.raised, AgentError):
            wrong.append(f"the host raised {outcome.raised!r}")
        if outcome.finished is None:
            return wrong or [f"the program did not end: {outcome.raised!r}"]
        if not attack.yields and outcome.finished.failure is None and is_loot(outcome.finished.output):
            wrong.append(f"it got {_shown(outcome.finished.output)[:300]}")
        if not first:
            return wrong
        if attack.ends is not None and outcome.kind != attack.ends:
            wrong.append(f"it ended with {outcome.kind!r}, not {attack.ends!r}: {outcome.finished.failure}")
        if attack.ends is None and outcome.kind in BROKEN:
            wrong.append(f"the attack itself is broken: {outcome.finished.failure}")
        if attack.dies is not None and outcome.lost != attack.dies:
            wrong.append(f"the session is {'lost' if outcome.lost else 'alive'}: {outcome.finished.failure}")
        if outcome.seconds > (attack.limits.wall or 0.0) + SLACK:
            wrong.append(f"it took {outcome.seconds:.1f} s")
        return wrong


def is_loot(value: Any) -> bool:
    """Whether the value that a program ended with says that it got something."""
    try:
        return bool(value)
    except Exception:
        return True

"""A program while it runs, seen from the thread that has the worker: each time that Monty stops, it is given what it
needs to go on."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, cast

from actloop.executors.monty import prelude
from actloop.executors.session import Call, Printed
from actloop.guest import MAX_OPEN_CALLS, OUTPUT_NOTICE, WireError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic_monty import FunctionSnapshot, FutureSnapshot, SyncSnapshot

    from actloop.executors.monty.clock import Clock
    from actloop.executors.monty.pool import Checkout
    from actloop.executors.monty.values import Codec

ENDED: Any = {"exc_type": "SystemExit", "message": "the answer was given"}
INTERRUPTED: Any = {"exc_type": "KeyboardInterrupt"}

_SLACK = 1000
_NAP = 60.0


class Speech:
    """What a worker prints: text for the user, and messages of the prelude.

    Args:
        mark: What messages begin with.
        limit: Characters of a message.
        show: Takes the text.
    """

    def __init__(self, mark: str, limit: int, show: Callable[[str], None]) -> None:
        self._mark, self._limit, self._show = mark, limit, show
        self._held = ""
        self._message: list[str] | None = None
        self._size = 0
        self.message: str | None = None

    def __call__(self, stream: str, text: str) -> None:
        if stream != "stderr":
            self._show(text)
            return
        text, self._held = self._held + text, ""
        while text:
            if self._message is None:
                shown, found, text = text.partition(self._mark)
                if not found:
                    shown = self._hold_back(shown)
                if shown:
                    self._show(shown)
                if not found:
                    return
                self._message, self._size = [], 0
            line, ended, text = text.partition("\n")
            self._size += len(line)
            if self._size <= self._limit + _SLACK:
                self._message.append(line)
            if ended:
                self.message = "".join(self._message) if self._size <= self._limit + _SLACK else None
                self._message = None

    def _hold_back(self, text: str) -> str:
        """What can be shown now: the end may be the beginning of a mark."""
        place = text.rfind(self._mark[0])
        if place >= 0 and self._mark.startswith(text[place:]):
            self._held = text[place:]
            return text[:place]
        return text

    def taken(self) -> str | None:
        """The latest message, which is then forgotten."""
        message, self.message = self.message, None
        return message


class Running:
    """A program that runs: called in the thread that has the worker, it runs it to its end.

    Args:
        post: Takes what the program asks for and prints, for the host.
        codec: Values of the session.
        fed: The program.
        tools: Names of tools that it may call.
        awaits: Whether it awaits.
        speech: What the session's messages are told by: the mark, and the characters that one may take.
        output: Characters of printed text that are kept.
        clock: Its time.
    """

    def __init__(
        self,
        post: Callable[[Any], None],
        codec: Codec,
        fed: str,
        *,
        tools: frozenset[str],
        awaits: bool,
        speech: tuple[str, int],
        output: int,
        clock: Clock,
    ) -> None:
        self._post, self._codec, self._fed, self._tools, self._awaits = post, codec, fed, tools, awaits
        self._speech = Speech(*speech, self._show)
        self._output = self._left = output
        self.clock = clock
        self._answers: SimpleQueue[tuple[int, Any] | None] = SimpleQueue()
        self._settled: dict[int, Any] = {}
        self._open: dict[int, int] = {}
        self._sleeping: dict[int, float] = {}
        self._count = 0
        self.stopped = self.interrupted = False
        self.before = self.refused = self.feed = ""
        self.lost = False

    # ---- from the host

    def answer(self, number: int, result: Any) -> None:
        """Settle a call; from any thread."""
        self._answers.put((number, result))

    def interrupt(self) -> None:
        """End the program where it waits for the host or sleeps; from any thread."""
        self.interrupted = True
        self._answers.put(None)

    # ---- in the thread

    def __call__(self, checkout: Checkout) -> Any:
        """Run it; the value of its last expression.

        Raises:
            MontyError: It failed, or the worker died.
        """
        from pydantic_monty import (
            FunctionSnapshot,
            FutureSnapshot,
            MontyComplete,
            MontyRuntimeError,
            NameLookupSnapshot,
        )

        if self.before:
            checkout.feed(self.before)
        self.clock.start()
        try:
            self.feed = f"<python-input-{checkout.feeds}>"
            at = checkout.start(self._fed, self._speech, **{prelude.WAITS: self._awaits})
            while not isinstance(at, MontyComplete):
                match at:
                    case FunctionSnapshot():
                        at = self._called(at)
                    case NameLookupSnapshot():
                        at = at.resume()  # the name is not defined
                    case FutureSnapshot():
                        at = self._settle(at)
        except MontyRuntimeError as error:
            if isinstance(error.exception(), MemoryError):
                self.lost = not _works(checkout)
            raise
        finally:
            self.clock.stop()
        message = self._speech.taken()
        if message is None:
            return None
        try:
            told = self._codec.value(message)
        except WireError as error:
            raise ValueError(f"the value of the last expression cannot be read: {error}") from None
        return cast("dict[Any, Any]", told).get("value") if type(told) is dict else None

    def _show(self, text: str) -> None:
        if self.stopped or self._left < 0:
            return
        if len(text) > self._left:
            text = text[: self._left] + OUTPUT_NOTICE.replace("LIMIT", f"{self._output:,}")
            self._left = -1
        else:
            self._left -= len(text)
        self._post(Printed(text))

    def _called(self, at: FunctionSnapshot) -> SyncSnapshot:
        name = at.function_name
        if at.is_os_function:
            if name in ("time.sleep", "asyncio.sleep"):
                return self._sleep(at, float(at.args[0]), later=name == "asyncio.sleep")
            self.refused = self.refused or str(name)
            return at.resume_not_handled()
        if name != prelude.CALL:
            return at.resume({"exc_type": "NameError", "message": f"name '{name}' is not defined"})
        found = self._asked()
        if not isinstance(found, Call):
            return at.resume(found)
        self._post(found)
        if found.concurrent:
            self._open[at.call_id] = found.id
            return at.resume({"future": ...})
        self.clock.stop()
        while found.id not in self._settled and not self.interrupted:
            self._take_answers(None)
        self.clock.start()
        return at.resume(self._settled.pop(found.id, INTERRUPTED))

    def _asked(self) -> Call | Any:
        """The call that a program makes, or what is answered to one that it cannot make."""
        message = self._speech.taken()
        if self.stopped:
            return ENDED
        if self.interrupted:
            return INTERRUPTED
        if len(self._open) >= MAX_OPEN_CALLS:
            return {"exc_type": "RuntimeError", "message": "too many calls wait for an answer"}
        try:
            told: Any = self._codec.value(message or "null")
        except WireError as error:
            return {"exc_type": "ValueError", "message": f"the call cannot be read: {error}"}
        parts: dict[Any, Any] = cast("dict[Any, Any]", told) if type(told) is dict else {}
        name, later, args, kwargs = (parts.get(key) for key in ("name", "later", "args", "kwargs"))
        if type(name) is not str or name not in self._tools or type(later) is not bool or type(args) is not list:
            return {"exc_type": "RuntimeError", "message": "there is no such tool"}
        if type(kwargs) is not dict or any(type(key) is not str for key in cast("dict[Any, Any]", kwargs)):
            return {"exc_type": "TypeError", "message": "keywords must be strings"}
        self._count += 1
        return Call(self._count, name, tuple(cast("list[Any]", args)), cast("dict[str, Any]", kwargs), concurrent=later)

    def _sleep(self, at: FunctionSnapshot, seconds: float, *, later: bool) -> SyncSnapshot:
        until = time.monotonic() + max(0.0, seconds)
        if later:
            self._sleeping[at.call_id] = until
            return at.resume({"future": ...})
        while (left := until - time.monotonic()) > 0 and not self.interrupted:
            self._take_answers(min(left, _NAP))
        return at.resume(INTERRUPTED if self.interrupted else {"return_value": None})

    def _settle(self, at: FutureSnapshot) -> SyncSnapshot:
        """Give what is awaited as soon as one of it is there."""
        pending = at.pending_call_ids
        while True:
            now = time.monotonic()
            results: dict[int, Any] = {}
            for call in pending:
                if call in self._open:
                    if self._open[call] in self._settled:
                        results[call] = self._settled.pop(self._open.pop(call))
                elif self._sleeping.get(call, now) <= now:
                    results[call] = {"return_value": None}
                    self._sleeping.pop(call, None)
            if self.interrupted:
                results = dict.fromkeys(pending, INTERRUPTED)
            if results:
                return at.resume(results)
            due = min((self._sleeping[call] for call in pending if call in self._sleeping), default=None)
            if due is None:
                self.clock.stop()
            self._take_answers(None if due is None else min(max(0.0, due - now), _NAP))
            self.clock.start()

    def _take_answers(self, timeout: float | None) -> None:
        try:
            item = self._answers.get(timeout=timeout)
            while True:
                if item is not None:
                    self._settled[item[0]] = item[1]
                item = self._answers.get_nowait()
        except Empty:
            pass


def _works(checkout: Checkout) -> bool:
    """Whether a worker whose memory was full has room again."""
    try:
        checkout.feed("None")
    except Exception:
        return False
    return True

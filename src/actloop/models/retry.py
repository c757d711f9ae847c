"""When a request is sent again, and how often requests may be sent at all."""

from __future__ import annotations

import asyncio
import email.utils
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from actloop.errors import AgentGenerationError, MissingExtraError
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import ModuleType

    import stamina as stamina_module
    from stamina.instrumentation import RetryDetails

T = TypeVar("T")

_AGAIN = frozenset({408, 409, 425, 429})
_NEVER = frozenset({501, 505})


class ModelRequestError(AgentGenerationError):
    """A request to a model's service failed.

    Attributes:
        status: HTTP status of the answer; None where there was none.
        retriable: Whether the same request may succeed later.
        retry_after: Seconds that the service asked to wait, or None.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retriable: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retriable = retriable
        self.retry_after = retry_after

    def add(self, remark: str) -> None:
        """Add a remark to the message."""
        self.message = f"{self.message} {remark}"
        self.args = (self.message,)


def is_retriable_status(status: int) -> bool:
    """Whether a request that was answered so may succeed later: 408, 409, 425, 429 and the server's own failures."""
    return status in _AGAIN or (status >= 500 and status not in _NEVER)


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Seconds that a service asked to wait, from `retry-after-ms` or `Retry-After` (seconds or an HTTP date)."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) * unit
        except ValueError:
            try:
                seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
            except (ValueError, OverflowError):
                continue
        if seconds == seconds:  # not NaN
            return max(0.0, seconds)
    return None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and when a failed request is sent again.

    Attributes:
        attempts: How often a request is sent at most.
        first_wait: Seconds before the second attempt, about; each further wait is twice as long.
        longest_wait: Seconds that a wait takes at most.
        jitter: Seconds added to each wait at most, at random.
        patience: Longest `Retry-After`, in seconds, that is waited for. Where a service asks for more the request
            fails at once, since asking earlier cannot succeed.
    """

    attempts: int = 4
    first_wait: float = 0.5
    longest_wait: float = 30.0
    jitter: float = 0.5
    patience: float = 90.0

    def call(self, send: Callable[[], T]) -> T:
        """Send, again where it helps.

        Raises:
            ModelRequestError: As `send` raised it at last.
        """
        sent = 0
        try:
            for attempt in self._attempts():
                with attempt:
                    sent += 1
                    return send()
        except ModelRequestError as error:
            self._remark(error, sent)
            raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def acall(self, send: Callable[[], Awaitable[T]]) -> T:
        """As `call`, awaited."""
        sent = 0
        try:
            async for attempt in self._attempts():
                with attempt:
                    sent += 1
                    return await send()
        except ModelRequestError as error:
            self._remark(error, sent)
            raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _attempts(self) -> stamina_module._core._RetryContextIterator:  # pyright: ignore[reportPrivateUsage]
        try:
            import stamina
        except ModuleNotFoundError as error:
            raise MissingExtraError("stamina", "openai", "A model behind a service") from error
        _replace_logging(stamina.instrumentation)
        attempts = max(1, self.attempts)
        return stamina.retry_context(
            on=self._wait,
            attempts=attempts,
            timeout=None,
            wait_initial=self.first_wait,
            wait_max=self.longest_wait,
            wait_jitter=self.jitter,
        ).with_name(_REQUEST, (attempts,), {})

    def _wait(self, error: Exception) -> bool | float:
        """Whether to send again, or after how many seconds."""
        if not isinstance(error, ModelRequestError) or not error.retriable:
            return False
        if error.retry_after is None:
            return True
        if error.retry_after > self.patience:
            return False
        return error.retry_after + random.uniform(0, self.jitter)  # noqa: S311

    def _remark(self, error: ModelRequestError, sent: int) -> None:
        if error.retriable and error.retry_after is not None and error.retry_after > self.patience:
            error.add(f"It asks to wait {error.retry_after:.0f} s, longer than the {self.patience:.0f} s waited for.")
        elif sent > 1:
            error.add(f"It was tried {sent} times.")


_REQUEST = "actloop.models.request"
"""Under this name, and with how often it is sent at most, stamina's hooks learn of a request that is sent again."""

_DEFAULT_LOGGING = ("stamina.instrumentation._logging", "stamina.instrumentation._structlog")


def _replace_logging(instrumentation: ModuleType) -> None:
    """Let our own words stand for stamina's log lines where a request of ours is sent again.

    Those lines say nothing without a special formatter, and go to standard output where structlog is installed. Hooks
    that the user set, and other uses of stamina in this process, stay as they are.
    """
    hooks: tuple[Any, ...] = instrumentation.get_on_retry_hooks()
    if any(hook.__module__ in _DEFAULT_LOGGING for hook in hooks):
        instrumentation.set_on_retry_hooks(
            [_with_our_words(hook) if hook.__module__ in _DEFAULT_LOGGING else hook for hook in hooks]
        )


def _with_our_words(hook: Callable[[RetryDetails], Any]) -> Callable[[RetryDetails], Any]:
    def told(details: RetryDetails) -> Any:
        return _tell(details) if details.name == _REQUEST else hook(details)

    return told


def _tell(details: RetryDetails) -> None:
    import logging

    reason = " ".join("".join(c if c.isprintable() else " " for c in str(details.caused_by)).split())
    logging.getLogger("actloop.models").warning(
        "Attempt %d of %d to reach the model failed (%s); the next one follows in %.1f s.",
        details.retry_num,
        details.args[0],
        cut(reason, 300),
        details.wait_for,
    )


NO_RETRY = RetryPolicy(attempts=1)


class RateLimiter:
    """Spaces requests evenly, over all threads and tasks that share it.

    Models that are given the same one as their `requests_per_minute` share one limit.

    Args:
        requests_per_minute: None for no limit.
        clock: Seconds that only grow, from any start.
        sleep: Blocks for some seconds; `athrottle` has asyncio's instead.
    """

    def __init__(
        self,
        requests_per_minute: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if requests_per_minute is not None and not (
            isinstance(requests_per_minute, int | float)  # pyright: ignore[reportUnnecessaryIsInstance]
            and 0 < requests_per_minute < float("inf")
        ):
            raise ValueError(f"requests_per_minute must be a positive number, not {requests_per_minute!r}")
        self.requests_per_minute = requests_per_minute
        self._clock = clock
        self._sleep = sleep
        self._interval = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def throttle(self) -> None:
        """Sleep until the next request may be sent."""
        wait = self._take()
        if wait:
            self._sleep(wait)

    async def athrottle(self) -> None:
        """As `throttle`, awaited."""
        wait = self._take()
        if wait:
            await asyncio.sleep(wait)

    def _take(self) -> float:
        """Take the next free moment; return the seconds until then."""
        if not self._interval:
            return 0.0
        with self._lock:
            now = self._clock()
            mine = max(now, self._next)
            self._next = mine + self._interval
        return mine - now

"""Workers that are ready: a session takes one that has read its prelude already, and gives it back when it ends.

One is kept for as long as this process lives. Those beyond it, which sessions side by side leave behind, end after a
second in which nobody wanted them. While there are sessions side by side, the next worker is started ahead of the next.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from actloop.executors.monty import prelude
from actloop.executors.monty.pool import Checkout

if TYPE_CHECKING:
    from collections.abc import Callable

    from actloop.executors.monty.pool import Bounds

_log = logging.getLogger(__name__)

KEPT = 1
"""Workers that are kept ready without end."""

MOST = 4
"""Workers that are ready at once, at most."""

IDLE = 1.0
"""Seconds without use after which one ends that is not kept."""

GROWN = 8 << 20
"""Bytes of memory of its own beyond which a worker is not given to a next session; a fresh one has a fourth of it."""

_PATIENCE = 1.0
_AT_EXIT = 5.0
_PREPARED = 16


def prepare(checkout: Checkout) -> None:
    """Have a fresh worker know the prelude: read once, and from then on loaded as it was after that."""
    bounds = checkout.bounds
    dump = _dumps.get(bounds[:2])
    if dump is not None:
        checkout.load(*dump)
    else:
        checkout.feed(prelude.SOURCE)
        if len(_dumps) < _PREPARED:
            _dumps[bounds[:2]] = (checkout.session.dump(), checkout.feeds)
    mark = f"\x1e{secrets.token_hex(8)} "
    checkout.feed(prelude.setting(mark, bounds.value))
    checkout.mark = mark


_dumps: dict[tuple[int | None, float | None], tuple[bytes, int]] = {}
"""What a worker is after it has read the prelude, by the limits, which are part of it."""


@dataclass
class _Ready:
    checkout: Checkout
    since: float = field(default_factory=time.monotonic)


class Workers:
    """Those of this process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ready: list[_Ready] = []
        self._lent: set[Checkout] = set()
        self._keeper: threading.Thread | None = None
        self._wanted: Bounds | None = None
        self._coming = self._awaited = self._closed = False

    def take(self, bounds: Bounds) -> Checkout:
        """A worker that knows the prelude.

        Raises:
            MissingExtraError: Monty is not installed.
            SandboxUnavailableError: It cannot be started here.
        """

        def make_ready(checkout: Checkout) -> None:
            if checkout.bounds != bounds:
                checkout.renew(bounds)
            if not checkout.mark:
                prepare(checkout)
            elif not checkout.answers:
                raise RuntimeError("the worker ended while it was ready")

        checkout = self._first(lambda known: known.bounds == bounds, make_ready)
        if checkout is None:
            checkout = Checkout(bounds)
            try:
                prepare(checkout)
            except BaseException:
                checkout.close()
                raise
        with self._changed:
            self._lent.add(checkout)
            if len(self._lent) > 1 and not self._ready:
                self._wanted = bounds
                self._keep()
        return checkout

    def take_fresh(self, bounds: Bounds) -> Checkout:
        """A worker that knows nothing yet, for a dump."""
        # Renewed even if it is fresh: nothing can be fed before a dump to see whether it answers.
        checkout = self._first(lambda known: not known.mark, lambda known: known.renew(bounds)) or Checkout(bounds)
        with self._changed:
            self._lent.add(checkout)
        return checkout

    def _first(self, suits: Callable[[Checkout], bool], make_ready: Callable[[Checkout], None]) -> Checkout | None:
        """The first of those that are ready that can be made what is asked for: one may be just being killed."""
        while (found := self._found(suits)) is not None:
            try:
                make_ready(found)
            except BaseException as error:
                found.close()
                if not isinstance(error, Exception):
                    raise
                _log.debug("a worker of Monty that was ready could not be used: %s", error)
            else:
                return found
        return None

    def _found(self, suits: Callable[[Checkout], bool]) -> Checkout | None:
        """One that is ready, rather one that suits; None if there is none, nor one that comes and nobody waits for."""
        dead: list[Checkout] = []
        found: Checkout | None = None
        with self._changed:
            if not self._ready and self._coming and not self._awaited:
                self._awaited = True
                self._changed.wait_for(lambda: self._ready or not self._coming, _PATIENCE)
                self._awaited = False
            while self._ready and found is None:
                one = next((one for one in reversed(self._ready) if suits(one.checkout)), self._ready[-1])
                self._ready.remove(one)
                if one.checkout.works:
                    found = one.checkout
                else:
                    dead.append(one.checkout)
        for checkout in dead:
            checkout.close()
        return found

    def give_back(self, checkout: Checkout) -> None:
        """Take a worker back from its session; it is ready for another one, or ends and is replaced."""
        with self._changed:
            self._lent.discard(checkout)
        if len(self._ready) < MOST and not self._closed and checkout.works and _memory(checkout) <= GROWN:
            with contextlib.suppress(Exception):
                checkout.renew(checkout.bounds)
                with self._changed:
                    if len(self._ready) < MOST and not self._closed:
                        self._ready.append(_Ready(checkout))
                        self._keep()
                        return
        checkout.close()
        with self._changed:
            if not self._ready and not self._coming and not self._closed:
                self._wanted = checkout.bounds
                self._keep()

    def lent(self) -> list[Checkout]:
        """Those that sessions have now."""
        with self._changed:
            return list(self._lent)

    # ---- the keeper: a thread that is there while there is something to do

    def _keep(self) -> None:
        """Have a keeper, if it has anything to do; the lock is held."""
        self._changed.notify_all()
        if self._keeper is None and not self._closed and self._has_work():
            thread = threading.Thread(target=self._work, name="actloop-monty-keeper", daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread can be had: sessions do all by themselves
                thread.start()
                self._keeper = thread

    def _has_work(self) -> bool:
        return self._wanted is not None or len(self._ready) > KEPT or any(not one.checkout.mark for one in self._ready)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception as error:
                _log.debug("no worker of Monty could be made ready: %s", error)
            finally:
                with self._changed:
                    self._coming = False
                    self._changed.notify_all()
            del job

    def _next(self) -> Callable[[], None] | None:
        """What is to be done, as soon as it is; None if there is nothing more."""
        with self._changed:
            while not self._closed:
                wanted, self._wanted = self._wanted, None
                blank = next((one for one in self._ready if not one.checkout.mark), None)
                if blank is not None:
                    self._ready.remove(blank)
                    self._coming = True
                    return partial(self._finish, blank.checkout)
                if wanted is not None and not self._ready:
                    self._coming = True
                    return partial(self._start, wanted)
                if len(self._ready) <= KEPT:
                    if not self._changed.wait(IDLE) and not self._has_work():
                        break
                    continue
                left = self._ready[0].since + IDLE - time.monotonic()
                if left <= 0:
                    return self._ready.pop(0).checkout.close
                self._changed.wait(left)
            self._keeper = None
            return None

    def _start(self, bounds: Bounds) -> None:
        self._finish(Checkout(bounds))

    def _finish(self, checkout: Checkout) -> None:
        try:
            prepare(checkout)
            with self._changed:
                if not self._closed:
                    self._ready.append(_Ready(checkout))
                    return
            raise RuntimeError("the interpreter ends")
        except BaseException:
            checkout.close()
            raise

    def close(self) -> None:
        """End those that are ready; those that are given back from then on end as well."""
        with self._changed:
            self._closed = True
            keeper, ready, self._ready = self._keeper, self._ready, []
            self._changed.notify_all()
        if keeper is not None:
            keeper.join(_AT_EXIT)
        for one in ready:
            one.checkout.close()

    def after_fork(self) -> None:
        """A child has none: neither the workers nor the keeper are its own."""
        self.__init__()


def _memory(checkout: Checkout) -> int:
    """Bytes that a worker has by itself; 0 where that is not told."""
    try:
        with open(f"/proc/{checkout.worker}/statm", "rb") as told:
            _, resident, shared, *_ = map(int, told.read().split())
    except (OSError, ValueError):
        return 0
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


WORKERS = Workers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WORKERS.after_fork)

"""Guests that are started before they are needed."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING, Any

from actloop.executors.locks import ForkSafeLock
from actloop.executors.reaper import REAPER

if TYPE_CHECKING:
    from collections.abc import Callable

    from actloop.executors.stream import KeeperProcess

_log = logging.getLogger(__name__)


class WarmPool:
    """Keeps some guests ready, all of one configuration: that which was asked for last.

    It does not hold whoever starts them, so that it can end with them.

    Attributes:
        size: How many are kept ready.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._ready: list[KeeperProcess] = []
        self._coming = 0
        self._wanted = ""
        self._epoch = 0
        self._lock = ForkSafeLock()
        self._owner = os.getpid()

    def take(self, config: dict[str, Any], start: Callable[[dict[str, Any]], KeeperProcess]) -> KeeperProcess:
        """A guest of this configuration, started now if none is ready; the next one is started meanwhile.

        Args:
            config: As for `start`.
            start: Starts a guest; may block.
        """
        wanted = json.dumps(config, sort_keys=True)
        dropped: list[KeeperProcess] = []
        taken: KeeperProcess | None = None
        with self._lock:
            if self._owner != os.getpid():  # in a fork: what is ready and what is coming are its parent's
                self._owner, self._ready, self._coming = os.getpid(), [], 0
            if wanted != self._wanted:
                dropped, self._ready, self._wanted = self._ready, [], wanted
                self._epoch += 1
            while self._ready and taken is None:
                taken = self._ready.pop(0)
                if not taken.alive:
                    dropped.append(taken)
                    taken = None
            missing = self.size - len(self._ready) - self._coming
            self._coming += max(missing, 0)
            epoch = self._epoch
        for process in dropped:
            _end(process)
        for _ in range(missing):
            REAPER.put(lambda: self._fill(config, start, epoch))
        return taken or start(config)

    def _fill(self, config: dict[str, Any], start: Callable[[dict[str, Any]], KeeperProcess], epoch: int) -> None:
        process: KeeperProcess | None = None
        try:
            if epoch == self._epoch:
                process = start(config)
        except Exception as error:
            _log.debug("no guest could be started ahead: %s", error)
        finally:
            with self._lock:
                self._coming -= 1
                if process is not None and epoch == self._epoch and len(self._ready) < self.size:
                    self._ready.append(process)
                    process = None
            if process is not None:
                _end(process)

    def close(self) -> None:
        """End those that are ready; more are started when one is taken again."""
        with self._lock:
            dropped, self._ready, self._wanted = self._ready, [], ""
            self._epoch += 1
        for process in dropped:
            _end(process)


def _end(process: KeeperProcess) -> None:
    process.close()
    process.channel.close()

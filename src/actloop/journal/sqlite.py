"""The journal in one SQLite file.

Each event is a row, committed as it happens (WAL, `synchronous=NORMAL`: what is committed survives the death of the
process, though not always a power cut). What is large in it is a row of `blobs`, named by its hash and kept once for
all runs. Several threads and processes may append at once.
"""

from __future__ import annotations

import atexit
import os
import sqlite3
import sys
import threading
import time
import weakref
from collections import deque
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actloop.journal.base import Journal, JournalError, RunSummary, summarise, the_only_run
from actloop.values.events import RunFinished

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from actloop.values.events import Event

SCHEMA_VERSION = 2
SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs, kind TEXT NOT NULL, data TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_of_run ON events (run);
CREATE TABLE IF NOT EXISTS blobs (name TEXT PRIMARY KEY, data BLOB NOT NULL);
"""
LOCK_SECONDS = 2.0
"""How long a lock that another process holds is waited for where nobody is kept from work: on reading and closing."""
APPEND_LOCK_SECONDS = 0.02
"""As `LOCK_SECONDS`, for an append, which an event loop may be waiting for: what is not written then waits its turn."""
RETRY_SECONDS = 1.0
LOCKED_RETRY_SECONDS = 0.1
WAITING_LIMIT = 8 * 1024 * 1024
CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

KNOWN_BLOBS = 4096

_Row = tuple[str, str, str, dict[str, bytes]]


class _NewerSchemaError(sqlite3.Error):
    """The file was written by a newer version."""


class SQLiteJournal(Journal):
    """The record of runs in the file at `path`.

    A journal that cannot be written never ends a run: a warning is logged once, what could not be written waits in
    memory (up to 8 MiB, then it is lost), and every second one more attempt is made. What finds the file locked waits,
    too, in order; it is written with a later event, on reading, on closing or when the process ends. A corrupt file is
    moved aside and a fresh one begun.

    Args:
        path: The database file; its folder is made if need be. Both are for the user alone.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._numbers: dict[str, int] = {}
        self._known_blobs: set[str] = set()
        self._waiting: deque[_Row] = deque()
        self._waiting_size = 0
        self._lost = 0
        self._failed = False
        self._retry_at = 0.0
        self._locked_since: float | None = None
        self._patience = APPEND_LOCK_SECONDS
        _journals.add(self)

    def append(self, run_id: str, event: Event) -> None:
        """Note an event of a run. Events that are only passing are not kept."""
        self._writing(run_id, event)(event)

    def writing(self, run_id: str, event: Event) -> Callable[[Event], None]:
        """As in `Journal`: the event is encoded, so that a large one holds up no other that comes meanwhile."""
        if getattr(self.append, "__func__", None) is not _append:
            return super().writing(run_id, event)
        return self._writing(run_id, event)

    def _writing(self, run_id: str, event: Event) -> Callable[[Event], None]:
        if event.passing:
            return _nothing
        from actloop.journal.encoding import encode_apart, restamped

        line, blobs = encode_apart(event)
        noted = event.time

        def write(event: Event) -> None:
            self._write(run_id, event, line if event.time == noted else restamped(line, event.time), blobs)

        return write

    def _write(self, run_id: str, event: Event, line: str, blobs: dict[str, bytes]) -> None:
        with self._lock:
            row = (run_id, type(event).__name__, line, {n: b for n, b in blobs.items() if n not in self._known_blobs})
            if self._waiting or self._failed:
                self._wait(row)
            else:
                try:
                    self._repairing(self._insert, [row])
                except (sqlite3.Error, OSError) as error:
                    self._fail(error)
                    self._wait(row)
            if type(event) is RunFinished:
                if self._waiting and self._locked_since is not None:
                    self._flush()  # there may be no later event to be written with
                self._numbers.pop(run_id, None)

    def events(self, run_id: str) -> Iterator[Event]:
        """A run's events in order, read in portions."""
        from actloop.journal.encoding import decode

        with self._reading():
            self._flush()
            matching = self._query(
                "SELECT number, id FROM runs WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id = ?1 DESC LIMIT 6",
                run_id,
            )
            exact = [name for _, name in matching if name == run_id]
            name = the_only_run(run_id, exact or [name for _, name in matching])
            number = next(number for number, other in matching if other == name)
        return self._events_of(number, decode)

    def _events_of(self, run: int, decode: Any) -> Iterator[Event]:
        after = 0
        while True:
            with self._reading():
                rows = self._query(
                    "SELECT number, data FROM events WHERE run = ? AND number > ? ORDER BY number LIMIT 200", run, after
                )
            for after, data in rows:  # noqa: B007
                event = decode(data, self._blob)
                if event is not None:
                    yield event
            if not rows:
                return

    def _blob(self, name: str) -> bytes | None:
        with self._reading():
            found = self._query("SELECT data FROM blobs WHERE name = ?", name)
        return found[0][0] if found and isinstance(found[0][0], bytes) else None

    def runs(self, limit: int | None = 20) -> list[RunSummary]:
        """Summaries of the latest runs, newest first."""
        with self._reading():
            self._flush()
            newest = self._query(
                "SELECT number, id FROM runs ORDER BY number DESC LIMIT ?", -1 if limit is None else limit
            )
        return [self._summary(number, name) for number, name in newest]

    def _summary(self, number: int, name: str) -> RunSummary:
        from actloop.journal.encoding import decode

        with self._reading():
            rows = self._query(
                "SELECT data FROM events WHERE run = ? AND kind IN"
                " ('RunStarted', 'ModelReplied', 'StepFinished', 'RunFinished') ORDER BY number",
                number,
            )
        events = (decode(data, self._blob, texts_only=True) for (data,) in rows)
        return summarise(name, (event for event in events if event is not None))

    def check(self) -> None:
        """Try whether the journal can be written; its folder and file are made if need be.

        Raises:
            JournalError: It cannot.
        """
        with self._lock:
            try:
                with self._patient():
                    self._repairing(self._take_write_lock)
            except (sqlite3.Error, OSError) as error:
                self._disconnect()
                raise JournalError(f"the journal {self.path} cannot be written: {error}") from error

    def _take_write_lock(self) -> None:
        connection = self._connect()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")

    def close(self) -> None:
        """Write what waits, if it can be written now, and close the file."""
        with self._lock:
            with self._patient():
                self._flush()
            self._disconnect()

    def hold(self) -> None:
        """Get ready for a fork. SQLite forbids carrying a connection into a child: none is open while one is made."""
        self._lock.acquire()
        self._disconnect()

    def release(self, *, in_child: bool) -> None:
        """Go on after a fork; what waits to be written is the parent's to write."""
        if in_child:
            self._waiting.clear()
            self._waiting_size = 0
        self._lock.release()

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_finalizing():  # when the interpreter ends, what this needs may be gone already, even `sys`
            self.close()

    # --- writing

    def _insert(self, rows: list[_Row]) -> None:
        connection = self._connect()
        if len(rows) == 1 and not rows[0][3] and (number := self._numbers.get(rows[0][0])) is not None:
            connection.execute("INSERT INTO events (run, kind, data) VALUES (?, ?, ?)", (number, *rows[0][1:3]))
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            for run_id, kind, data, blobs in rows:
                connection.executemany("INSERT OR IGNORE INTO blobs (name, data) VALUES (?, ?)", blobs.items())
                connection.execute(
                    "INSERT INTO events (run, kind, data) VALUES (?, ?, ?)",
                    (self._number(connection, run_id), kind, data),
                )
            connection.execute("COMMIT")
        except BaseException:
            for run_id, *_ in rows:
                self._numbers.pop(run_id, None)
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        if len(self._known_blobs) > KNOWN_BLOBS:
            self._known_blobs.clear()
        self._known_blobs.update(name for row in rows for name in row[3])

    def _number(self, connection: sqlite3.Connection, run_id: str) -> int:
        number = self._numbers.get(run_id)
        if number is None:
            connection.execute("INSERT OR IGNORE INTO runs (id) VALUES (?)", (run_id,))
            (number,) = connection.execute("SELECT number FROM runs WHERE id = ?", (run_id,)).fetchone()
            self._numbers[run_id] = number
        return number

    def _wait(self, row: _Row) -> None:
        size = len(row[2]) + sum(map(len, row[3].values()))
        if self._waiting_size + size <= WAITING_LIMIT:
            self._waiting.append(row)
            self._waiting_size += size
        else:
            self._lost += 1
        self._try_again()

    def _flush(self) -> None:
        """Write what waits now, if that can be done."""
        if self._waiting:
            self._retry_at = 0.0
            self._try_again()

    def _try_again(self) -> None:
        if time.monotonic() < self._retry_at:
            return
        try:
            self._repairing(self._insert, list(self._waiting))
        except (sqlite3.Error, OSError) as error:
            self._fail(error)
            return
        self._waiting.clear()
        self._waiting_size = 0
        self._locked_since = None
        if self._failed:
            self._failed = False
            lost = f"; {self._lost} events were lost meanwhile" if self._lost else "; nothing was lost"
            _warn("The journal %s can be written again%s.", self.path, lost)
            self._lost = 0

    def _fail(self, error: Exception) -> None:
        now = time.monotonic()
        if _is_locked(error):
            self._retry_at = now + LOCKED_RETRY_SECONDS
            if self._locked_since is None:
                self._locked_since = now
            if now - self._locked_since < LOCK_SECONDS:
                return  # others write, too: no reason to worry the user yet
        else:
            self._retry_at = now + RETRY_SECONDS
            self._locked_since = None
            self._disconnect()
        if not self._failed:
            self._failed = True
            _warn(
                "The journal %s cannot be written (%s). The run goes on; its record may be incomplete."
                " Set ACTLOOP_HOME to a folder that can be written, or ACTLOOP_JOURNAL=off.",
                self.path,
                error,
            )

    # --- reading

    @contextmanager
    def _reading(self) -> Generator[None]:
        with self._lock:
            try:
                with self._patient():
                    yield
            except (sqlite3.Error, OSError) as error:
                self._disconnect()
                raise JournalError(f"the journal {self.path} cannot be read: {error}") from error

    def _query(self, sql: str, *values: Any) -> list[Any]:
        if not self.path.exists():
            return []
        return self._repairing(lambda: self._connect().execute(sql, values).fetchall())

    # --- the file

    @contextmanager
    def _patient(self) -> Generator[None]:
        """Wait longer for locks meanwhile."""
        self._be_patient(LOCK_SECONDS)
        try:
            yield
        finally:
            self._be_patient(APPEND_LOCK_SECONDS)

    def _be_patient(self, seconds: float) -> None:
        self._patience = seconds
        if self._connection is not None:
            self._connection.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(
                self.path, timeout=self._patience, isolation_level=None, check_same_thread=False, cached_statements=32
            )
            try:
                _prepare(connection, self.path)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._numbers.clear()
        self._known_blobs.clear()
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _repairing(self, work: Any, *args: Any) -> Any:
        """Do work on the file; where it is corrupt, move it aside and do the work on a fresh one."""
        try:
            return work(*args)
        except sqlite3.DatabaseError as error:
            if not _is_corrupt(error):
                raise
        self._disconnect()
        self._replace_if_corrupt()
        return work(*args)

    def _replace_if_corrupt(self) -> None:
        """Move the file aside, unless another process did so first."""
        with _file_lock(self.path):
            if _is_sound(self.path):
                return
            aside = self.path.with_name(f"{self.path.name}.corrupt-{time.time_ns()}")
            for suffix in ("-wal", "-shm", ""):
                with suppress(FileNotFoundError):
                    Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")
        _warn("The journal %s was corrupt. It was moved to %s, and a fresh one was begun.", self.path, aside)


_append = SQLiteJournal.append
"""That which `writing` stands for, and no other that takes its place: one that leaves secrets out, say."""


def _nothing(_event: Event) -> None:
    """What is to be done with an event that is not kept."""


def _is_sound(path: Path) -> bool:
    if not path.exists():
        return True
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as connection:
        try:
            return connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
        except sqlite3.DatabaseError as error:
            if not _is_corrupt(error):
                raise
            return False


@contextmanager
def _file_lock(path: Path) -> Generator[None]:
    """Held while the file is set up or replaced, so that processes do so one after the other."""
    import fcntl

    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise _NewerSchemaError(f"it was written by a newer actloop (schema {version}, known is {SCHEMA_VERSION})")
    if version < SCHEMA_VERSION:
        with _file_lock(path):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    connection.execute("PRAGMA synchronous = NORMAL")


def _is_corrupt(error: sqlite3.DatabaseError) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in CORRUPT


def _is_locked(error: Exception) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) == sqlite3.SQLITE_BUSY


def _warn(message: str, *values: object) -> None:
    import logging

    logging.getLogger("actloop.journal").warning(message, *values)


_journals: weakref.WeakSet[SQLiteJournal] = weakref.WeakSet()
_held: list[SQLiteJournal] = []


@atexit.register
def _close_all() -> None:
    for journal in list(_journals):
        journal.close()


def _before_fork() -> None:
    for journal in list(_journals):
        journal.hold()
        _held.append(journal)


def _after_fork(*, in_child: bool) -> None:
    while _held:
        _held.pop().release(in_child=in_child)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(in_child=False),
        after_in_child=lambda: _after_fork(in_child=True),
    )

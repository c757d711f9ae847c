"""The journal keeps what it was given, in order, whatever happens around it."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from actloop.journal import Journal, JournalError, MemoryJournal, NullJournal, UnknownRunError, default_journal
from actloop.journal.sqlite import SQLiteJournal
from actloop.values import events
from actloop.values.messages import ChatMessage, ChatMessageStreamDelta, MessageRole
from actloop.values.usage import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path


def started(run: str = "run1", **fields: Any) -> events.RunStarted:
    texts = {"agent": "CodeAgent", "model": "m", "task": "count", "system_prompt": "s", "prompt": "p"}
    given: dict[str, Any] = {**texts, "run": run, "time": 100.0, "max_steps": 3, **fields}
    return events.RunStarted(**given)


def step(number: int, time: float = 101.0) -> list[events.Event]:
    reply = ChatMessage(MessageRole.ASSISTANT, f"Thought {number}\n<code>\nprint({number})\n</code>" + "x" * 300)
    reply.token_usage = TokenUsage(100, 20)
    return [
        events.StepStarted(number=number, time=time),
        events.ModelReplied(purpose="action", message=reply, seconds=0.5, time=time),
        events.ProgramStarted(id=f"program_{number}", code=f"print({number})", time=time),
        events.ToolCalled(id=f"call_{number}", name="f", args=[number, (1, 2)], kwargs={"x": {3}}, origin="code"),
        events.ToolReturned(id=f"call_{number}", result=Decimal("1.5"), seconds=0.1, time=time),
        events.ProgramFinished(id=f"program_{number}", output=date(2026, 1, 2), logs=f"{number}\n", time=time),
        events.StepFinished(number=number, observation="seen", time=time),
    ]


@pytest.fixture
def stored(own_home: Path) -> Iterator[SQLiteJournal]:
    journal = SQLiteJournal(own_home / "journal.db")
    yield journal
    journal.close()


@pytest.fixture(params=["sqlite", "memory"])
def journal(request: pytest.FixtureRequest, stored: SQLiteJournal) -> Journal:
    return stored if request.param == "sqlite" else MemoryJournal()


def test_a_run_comes_back_as_it_went_in(journal: Journal) -> None:
    written: list[events.Event] = [
        started(),
        *step(1),
        events.RunFinished(state="success", answer={"a": (1, b"\0")}, usage=TokenUsage(5, 6), time=110.0),
    ]
    for event in written:
        journal.append("run1", event)
    assert list(journal.events("run1")) == written


def test_summaries_newest_first(journal: Journal) -> None:
    journal.append("first", started("first"))
    for event in step(1):
        journal.append("first", event)
    journal.append("second", started("second", parent="first", agent="helper", task="other"))
    journal.append("second", events.RunFinished(state="failed", error="no", usage=TokenUsage(1, 2), time=104.5))
    second, first = journal.runs()
    assert (first.id, first.state, first.steps, first.tokens, first.seconds) == ("first", "unfinished", 1, 120, 1.0)
    assert (second.agent, second.task, second.state, second.tokens) == ("helper", "other", "failed", 3)
    assert (second.parent, second.seconds, second.started) == ("first", 4.5, 100.0)
    assert [run.id for run in journal.runs(limit=1)] == ["second"]


def test_ids_may_be_abbreviated(journal: Journal) -> None:
    for name in ("abc1", "abc2", "abc", "xyz"):
        journal.append(name, started(name))
    assert [event.run for event in journal.events("x") if isinstance(event, events.RunStarted)] == ["xyz"]
    assert [event.run for event in journal.events("abc") if isinstance(event, events.RunStarted)] == ["abc"]
    with pytest.raises(UnknownRunError, match="abc1, abc2"):
        list(journal.events("ab"))
    with pytest.raises(UnknownRunError, match="no run 'q%'"):
        list(journal.events("q%"))


def test_what_is_only_passing_is_not_kept(journal: Journal) -> None:
    journal.append("run1", started())
    journal.append("run1", events.Printed(text="hello"))
    journal.append("run1", events.Delta(delta=ChatMessageStreamDelta("hel")))
    assert [type(event).__name__ for event in journal.events("run1")] == ["RunStarted"]


def test_a_value_that_cannot_be_encoded_leaves_its_trace(stored: SQLiteJournal) -> None:
    circular: list[Any] = []
    circular.append(circular)
    stored.append("run1", events.ToolCalled(id="c", name="f", args=[circular, 7], kwargs={}, origin="code"))
    (event,) = stored.events("run1")
    assert isinstance(event, events.ToolCalled)
    assert event.args[1] == 7
    assert "list that was not recorded" in repr(event.args[0])


def test_a_run_of_400_steps_is_small_and_linear(own_home: Path) -> None:
    sizes: list[int] = []
    for steps in (200, 400):
        with closing(SQLiteJournal(own_home / f"{steps}.db")) as journal:
            journal.append("run1", started())
            for number in range(steps):
                for event in step(number):
                    journal.append("run1", event)
        sizes.append((own_home / f"{steps}.db").stat().st_size)
    assert sizes[1] < 2_000_000
    assert sizes[1] < 2.2 * sizes[0]


def test_only_the_user_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "home"
    with closing(SQLiteJournal(folder / "journal.db")) as journal:
        journal.append("run1", started())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_many_threads_append_at_once(stored: SQLiteJournal) -> None:
    def work(name: str) -> None:
        for number in range(50):
            stored.append(name, events.StepStarted(number=number))

    threads = [threading.Thread(target=work, args=(f"run{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(8):
        numbers = [event.number for event in stored.events(f"run{i}") if isinstance(event, events.StepStarted)]
        assert numbers == list(range(50))


WRITER = """
import sys
from actloop.journal.sqlite import SQLiteJournal
from actloop.values.events import StepStarted
journal = SQLiteJournal(sys.argv[1])
print("ready", flush=True)
for number in range(int(sys.argv[3])):
    journal.append(sys.argv[2], StepStarted(number=number))
    print(number, flush=True)
journal.close()
"""


def writer(path: Path, run: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), run, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_several_processes_append_at_once(stored: SQLiteJournal) -> None:
    processes = [writer(stored.path, f"run{i}", 150) for i in range(3)]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert [len(list(stored.events(f"run{i}"))) for i in range(3)] == [150, 150, 150]


def test_kill_9_loses_at_most_the_event_under_way(stored: SQLiteJournal) -> None:
    with writer(stored.path, "killed", 1_000_000) as process:
        assert process.stdout is not None
        said = ""
        while said.strip() != "300":
            said = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        confirmed = [int(line) for line in process.stdout.read().splitlines() if line.isdigit()]
    kept = [event.number for event in stored.events("killed") if isinstance(event, events.StepStarted)]
    assert kept == list(range(len(kept)))
    assert len(kept) >= max(confirmed, default=300)  # the last line may have been cut short
    stored.append("after", started("after"))
    assert stored.runs(1)[0].id == "after"


def test_both_sides_of_a_fork_append(stored: SQLiteJournal) -> None:
    stored.append("run1", started())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            stored.append("child", started("child"))
            stored.close()
            code = 0
        finally:
            os._exit(code)
    stored.append("run1", events.StepStarted(number=1))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(list(stored.events("run1"))) == 2
    assert len(list(stored.events("child"))) == 1


def test_a_corrupt_file_is_moved_aside(stored: SQLiteJournal, caplog: pytest.LogCaptureFixture) -> None:
    stored.path.write_bytes(b"this is no database at all" * 400)
    stored.append("run1", started())
    assert len(list(stored.events("run1"))) == 1
    (aside,) = stored.path.parent.glob("journal.db.corrupt-*")
    assert aside.read_bytes().startswith(b"this is no database")
    assert str(aside) in caplog.text


def test_a_file_that_becomes_corrupt_under_way(stored: SQLiteJournal, caplog: pytest.LogCaptureFixture) -> None:
    for event in [started(), *step(1), *step(2)]:
        stored.append("run1", event)
    stored.close()
    damaged = bytearray(stored.path.read_bytes())
    damaged[4096:] = b"\xff" * (len(damaged) - 4096)
    stored.path.write_bytes(damaged)
    stored.append("run2", started("run2"))
    assert [run.id for run in stored.runs()] == ["run2"]
    assert "was corrupt" in caplog.text


def test_a_folder_that_cannot_be_written_does_not_end_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    with closing(SQLiteJournal(tmp_path / "file" / "journal.db")) as journal:
        for number in range(100):
            journal.append("run1", events.StepStarted(number=number))
        assert caplog.text.count("cannot be written") == 1
        assert "ACTLOOP_HOME" in caplog.text
        (tmp_path / "file").unlink()
    with closing(SQLiteJournal(journal.path)) as again:  # what waited was written by `close`
        assert len(list(again.events("run1"))) == 100


def test_a_full_disk_does_not_end_the_run(own_home: Path) -> None:
    program = """
import resource, sys
from actloop.journal.sqlite import SQLiteJournal
from actloop.values.events import PlanMade, StepStarted
journal = SQLiteJournal(sys.argv[1])
journal.append("run1", StepStarted(number=0))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
for number in range(100):
    journal.append("run1", PlanMade(plan="x" * 10_000, first=False))
print("answer")
journal.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(own_home / "journal.db")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "answer\n")
    assert done.stderr.count("cannot be written") == 1
    with closing(SQLiteJournal(own_home / "journal.db")) as journal:
        assert len(list(journal.events("run1"))) >= 2


@contextmanager
def locked(path: Path) -> Generator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


def numbers_of(journal: Journal, run: str) -> list[int]:
    return [event.number for event in journal.events(run) if isinstance(event, events.StepStarted)]


@pytest.mark.parametrize("connected", [True, False])
def test_an_append_does_not_wait_for_a_lock(
    stored: SQLiteJournal, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, connected: bool
) -> None:
    monkeypatch.setattr("actloop.journal.sqlite.LOCK_SECONDS", 600.0)
    stored.append("run1", events.StepStarted(number=0))
    if not connected:
        stored.close()
    with locked(stored.path):
        for number in range(1, 40):
            stored.append("run1", events.StepStarted(number=number))
    stored.append("run1", events.StepStarted(number=40))
    assert numbers_of(stored, "run1") == list(range(41))
    assert caplog.text == ""


def test_a_lock_that_stays_is_told_of_and_nothing_is_lost(
    stored: SQLiteJournal, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actloop.journal.sqlite.LOCK_SECONDS", 0.0)
    caplog.set_level(logging.WARNING)
    stored.append("run1", events.StepStarted(number=0))
    with locked(stored.path):
        stored.append("run1", events.StepStarted(number=1))
        stored.append("run1", events.StepStarted(number=2))
        assert caplog.text.count("cannot be written (database is locked)") == 1
    assert numbers_of(stored, "run1") == [0, 1, 2]
    assert "nothing was lost" in caplog.text


def test_the_last_event_of_a_run_is_written_before_the_next_attempt_is_due(
    stored: SQLiteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actloop.journal.sqlite.LOCKED_RETRY_SECONDS", 600.0)
    stored.append("run1", started())
    with locked(stored.path):
        stored.append("run1", events.StepStarted(number=1))
    stored.append("run1", events.RunFinished(state="success", answer=1))
    with closing(SQLiteJournal(stored.path)) as other:
        assert other.runs()[0].state == "success"


def test_closing_tells_what_a_lock_kept_from_being_written(
    stored: SQLiteJournal, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actloop.journal.sqlite.LOCK_SECONDS", 0.1)
    stored.append("run1", events.StepStarted(number=0))
    with locked(stored.path):
        stored.append("run1", events.StepStarted(number=1))
        stored.close()
    assert "cannot be written (database is locked)" in caplog.text
    assert numbers_of(stored, "run1") == [0, 1]


def test_closing_waits_for_a_lock(stored: SQLiteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actloop.journal.sqlite.LOCK_SECONDS", 60.0)
    stored.append("run1", events.StepStarted(number=0))
    with locked(stored.path) as other:
        stored.append("run1", events.StepStarted(number=1))
        timer = threading.Timer(0.3, other.execute, ["ROLLBACK"])
        timer.start()
        stored.close()
        timer.join()
    with closing(SQLiteJournal(stored.path)) as again:
        assert numbers_of(again, "run1") == [0, 1]


def test_what_waits_is_written_when_the_process_ends(own_home: Path) -> None:
    program = """
import sqlite3, sys
from actloop.journal.sqlite import SQLiteJournal
from actloop.values.events import StepStarted
journal = SQLiteJournal(sys.argv[1])
journal.append("run1", StepStarted(number=0))
other = sqlite3.connect(sys.argv[1], isolation_level=None)
other.execute("BEGIN IMMEDIATE")
journal.append("run1", StepStarted(number=1))
other.close()
"""
    path = own_home / "journal.db"
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    with closing(SQLiteJournal(path)) as journal:
        assert numbers_of(journal, "run1") == [0, 1]


def test_kinds_of_a_newer_version_are_left_out_on_reading(stored: SQLiteJournal) -> None:
    stored.append("run1", started())
    with closing(sqlite3.connect(stored.path, isolation_level=None)) as other:
        other.execute("INSERT INTO events (run, kind, data) VALUES (1, 'Danced', '{\"kind\": \"Danced\"}')")
        other.execute("INSERT INTO events (run, kind, data) VALUES (1, 'StepStarted', 'not json')")
    stored.append("run1", events.StepStarted(number=1))
    assert [type(event).__name__ for event in stored.events("run1")] == ["RunStarted", "StepStarted"]


def test_a_file_of_a_newer_version_is_left_alone(stored: SQLiteJournal, caplog: pytest.LogCaptureFixture) -> None:
    with closing(sqlite3.connect(stored.path)) as other:
        other.execute("PRAGMA user_version = 99")
    stored.append("run1", started())
    assert "newer actloop" in caplog.text
    with pytest.raises(JournalError, match="newer actloop"):
        stored.runs()


def test_reading_makes_no_file(own_home: Path) -> None:
    with closing(SQLiteJournal(own_home / "none" / "journal.db")) as journal:
        assert journal.runs() == []
        with pytest.raises(UnknownRunError):
            list(journal.events("run1"))
    assert not (own_home / "none").exists()


def test_the_shared_journal_follows_the_environment(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = default_journal()
    assert journal is default_journal()
    assert isinstance(journal, SQLiteJournal)
    assert journal.path == own_home / "journal.db"
    monkeypatch.setenv("ACTLOOP_JOURNAL", "OFF")
    off = default_journal()
    off.append("run1", started())
    assert isinstance(off, NullJournal)
    assert off.runs() == []
    with pytest.raises(UnknownRunError, match="off"):
        off.events("run1")
    monkeypatch.delenv("ACTLOOP_JOURNAL")
    monkeypatch.delenv("ACTLOOP_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(own_home / "data"))
    moved = default_journal()
    assert isinstance(moved, SQLiteJournal)
    assert moved.path == own_home / "data" / "actloop" / "journal.db"

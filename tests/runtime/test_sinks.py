"""What a run's sinks are told: by their own `append`, in order, with times that never go back."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock, patch

import pytest
from tests.runtime.gates import Held

from actloop.journal.base import Journal, MemoryJournal
from actloop.journal.sqlite import SQLiteJournal
from actloop.memory.memory import AgentMemory
from actloop.memory.steps import SystemPromptStep
from actloop.models.scripted import ScriptedModel
from actloop.runtime.gateway import Gateway
from actloop.runtime.run import Run
from actloop.values.events import Event, ToolReturned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def a_run(*sinks: Any, **fields: Any) -> Run:
    memory = AgentMemory(SystemPromptStep(""))
    return Run(
        agent=None,
        agent_name="",
        task="",
        model=ScriptedModel([]),
        memory=memory,
        gateway=Gateway({}),
        sinks=sinks,
        **fields,
    )


@pytest.fixture(params=["sqlite", "memory"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    journal = SQLiteJournal(tmp_path / "journal.db") if request.param == "sqlite" else MemoryJournal()
    yield journal
    journal.close()


def without_secrets(event: Event) -> Event:
    return replace(event, result="[left out]") if isinstance(event, ToolReturned) else event


class Redacting:
    """A user's wrapper: its own `append`, all else the journal's."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def append(self, run_id: str, event: Event) -> None:
        self._journal.append(run_id, without_secrets(event))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


class RedactingJournal(SQLiteJournal):
    def append(self, run_id: str, event: Event) -> None:
        super().append(run_id, without_secrets(event))


def noted(journal: Journal, run: Run) -> list[Any]:
    return [event.result for event in journal.events(run.id) if isinstance(event, ToolReturned)]


def test_a_wrapper_that_leaves_secrets_out_is_asked(journal: Journal) -> None:
    run = a_run(Redacting(journal))
    run.emit(ToolReturned(id="1", result="secret"))
    assert noted(journal, run) == ["[left out]"]


def test_a_subclass_that_leaves_secrets_out_is_asked(tmp_path: Path) -> None:
    journal = RedactingJournal(tmp_path / "journal.db")
    run = a_run(journal)
    run.emit(ToolReturned(id="1", result="secret"))
    assert noted(journal, run) == ["[left out]"]
    journal.close()


def test_an_append_that_was_set_on_a_journal_is_asked(journal: Journal) -> None:
    own = journal.append

    def append(run_id: str, event: Event) -> None:
        own(run_id, without_secrets(event))

    journal.append = append
    run = a_run(journal)
    run.emit(ToolReturned(id="1", result="secret"))
    assert noted(journal, run) == ["[left out]"]


def test_an_append_that_was_set_on_a_class_is_asked(journal: Journal) -> None:
    own = type(journal).append

    def append(self: Journal, run_id: str, event: Event) -> None:
        own(self, run_id, without_secrets(event))

    run = a_run(journal)
    with patch.object(type(journal), "append", append):
        run.emit(ToolReturned(id="1", result="secret"))
    assert noted(journal, run) == ["[left out]"]


def test_an_append_that_has_every_attribute_is_called() -> None:
    sink = Mock()
    run = a_run(sink)
    run.emit(ToolReturned(id="1", result=2))
    [call] = sink.append.call_args_list
    assert call.args[0] == run.id
    assert call.args[1].result == 2


def test_times_do_not_go_back_where_a_later_event_is_written_first(tmp_path: Path) -> None:
    journal, memory, held = SQLiteJournal(tmp_path / "journal.db"), MemoryJournal(), Held()
    times = iter([1.0, 2.0, 3.5])
    run = a_run(journal, memory, now=lambda: next(times))
    first = threading.Thread(target=run.emit, args=(ToolReturned(id="1", result=['"time":5', held]),), daemon=True)
    first.start()
    assert held.reached.wait(60)
    run.emit(ToolReturned(id="2", result=2))
    held.opened.set()
    first.join(60)
    run.emit(ToolReturned(id="3", result=3))
    for sink in (journal, memory):
        told = [event for event in sink.events(run.id) if isinstance(event, ToolReturned)]
        assert [(event.id, event.time) for event in told] == [("2", 2.0), ("1", 2.0), ("3", 3.5)]
        assert told[1].result[0] == '"time":5'
    journal.close()


def test_times_do_not_go_back_with_the_clock(journal: Journal) -> None:
    times = iter([5.0, 4.0, 6.0])
    run = a_run(journal, now=lambda: next(times))
    for number in range(3):
        run.emit(ToolReturned(id=str(number), result=number))
    assert [event.time for event in journal.events(run.id)] == [5.0, 5.0, 6.0]

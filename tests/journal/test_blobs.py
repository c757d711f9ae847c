"""What is large is kept once, by its hash, and comes back as it was."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest

from actloop import ActionStep, AgentMemory, CodeAgent, LogLevel, ScriptedModel, tool
from actloop.guest import Audio, Opaque
from actloop.journal.encoding import APART, decode, encode, encode_apart
from actloop.journal.sqlite import SQLiteJournal
from actloop.memory.fold import replayed
from actloop.tools.types import AgentAudio, AgentImage
from actloop.values import events
from actloop.values.messages import ChatMessage, MessageRole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def noise(seed: int, size: tuple[int, int] = (300, 220)) -> PIL.Image.Image:
    """An image that does not compress: about 200 KB as PNG."""
    data = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return PIL.Image.fromarray(data)


def kinds_of_parts(messages: list[ChatMessage]) -> list[str]:
    lists = [message.content for message in messages if isinstance(message.content, list)]
    return [part["type"] for content in lists for part in content]


def program(code: str) -> str:
    return f"<code>\n{code}\n</code>"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SQLiteJournal]:
    journal = SQLiteJournal(tmp_path / "journal.db")
    yield journal
    journal.close()


def finished(answer: Any) -> events.RunFinished:
    return events.RunFinished(state="success", answer=answer)


def stored_bytes(journal: SQLiteJournal) -> int:
    journal.close()
    return journal.path.stat().st_size


LARGE: list[Any] = [
    "x" * 50_000,
    b"y" * 50_000,
    list(range(20_000)),
    {"rows": [{"a": 1.5, "b": "text"}] * 2_000, "sound": Audio(b"RIFF" * 3_000, 8_000)},
    "half a pair \ud800 " * 1_000,
    Audio(b"ID3" * 3_000),
    ({1, 2}, "z" * 9_000, b"z" * 9_000),
]


@pytest.mark.parametrize("value", LARGE, ids=lambda value: type(value).__name__)
def test_large_values_come_back(journal: SQLiteJournal, value: Any) -> None:
    event = finished(value)
    line, blobs = encode_apart(event)
    assert len(line) < APART
    assert blobs
    assert decode(line, blobs.get) == event
    assert decode(encode(event)) == event
    journal.append("run", event)
    assert list(journal.events("run")) == [event]


def test_small_values_stay_in_their_event() -> None:
    assert encode_apart(finished([1, "a", b"b" * 100]))[1] == {}


def test_an_answer_is_kept_once_for_all_its_events(journal: SQLiteJournal) -> None:
    rows = "{'rows': [[n, 'text %d' % n] for n in range(20_000)]}"
    worker = CodeAgent(
        [], ScriptedModel([program(f"final_answer({rows})")]), verbosity_level=LogLevel.OFF, journal=journal,
        code_block_tags=("<code>", "</code>"),
    )  # fmt: skip
    with worker:
        answer = worker.run("many rows")
    assert len(answer["rows"]) == 20_000
    size = len(encode(finished(answer)))
    assert size < stored_bytes(journal) < 1.4 * size
    last = list(journal.events(journal.runs(1)[0].id))[-1]
    assert isinstance(last, events.RunFinished)
    assert last.answer == answer


def test_a_screenshot_of_twenty_steps_is_kept_once(journal: SQLiteJournal) -> None:
    screenshot = noise(1)

    def look(step: ActionStep, agent: Any) -> None:
        step.observations_images = [screenshot.copy()]

    replies = [program("print('look')")] * 19 + [program("final_answer('seen')")]
    worker = CodeAgent(
        [], ScriptedModel(replies), verbosity_level=LogLevel.OFF, journal=journal, step_callbacks=[look],
        code_block_tags=("<code>", "</code>"), context="off",
    )  # fmt: skip
    with worker:
        worker.run("look at it")
    assert stored_bytes(journal) < 400_000
    with closing(sqlite3.connect(journal.path)) as file:
        sizes = [size for (size,) in file.execute("SELECT length(data) FROM blobs")]
        longest = max(length for (length,) in file.execute("SELECT length(data) FROM events"))
    assert len([size for size in sizes if size > 100_000]) == 1
    assert longest < APART + 500
    rebuilt = replayed(journal.events(journal.runs(1)[0].id), AgentMemory("x"))
    steps = [step for step in rebuilt.steps if isinstance(step, ActionStep)]
    assert len(steps) == 20
    for step in steps:
        assert step.observations_images
        assert step.observations_images[0].tobytes() == screenshot.tobytes()


def test_images_and_sounds_of_a_task_are_kept(journal: SQLiteJournal) -> None:
    picture, sound = noise(2), AgentAudio((8_000, np.zeros(16_000, dtype=np.float32)))
    replies = [program("print(sound, picture.size)"), program("final_answer(sound)")]
    worker = CodeAgent(
        [], ScriptedModel(replies), verbosity_level=LogLevel.OFF, journal=journal, code_block_tags=("<code>", "</code>")
    )
    with worker:
        answer = worker.run("hear it", images=[picture], additional_args={"sound": sound, "picture": picture})
    assert isinstance(answer, AgentAudio)
    assert answer.to_raw().shape == (16_000,)
    begun = next(iter(journal.events(journal.runs(1)[0].id)))
    assert isinstance(begun, events.RunStarted)
    assert begun.images[0].tobytes() == picture.tobytes()
    assert begun.variables["picture"].tobytes() == picture.tobytes()
    assert begun.variables["sound"].samplerate == 8_000
    assert stored_bytes(journal) < 350_000


def test_summaries_do_not_load_what_is_large(journal: SQLiteJournal) -> None:
    task = "a long task " * 1_000
    texts = {"agent": "a", "model": "m", "task": task, "system_prompt": "s", "prompt": "p"}
    journal.append("run", events.RunStarted(run="run", max_steps=1, images=[noise(3)], **texts))  # pyright: ignore[reportArgumentType]
    journal.append("run", finished(noise(4)))
    fetched: list[str] = []
    load = journal._blob  # pyright: ignore[reportPrivateUsage]

    def noting(name: str) -> bytes | None:
        fetched.append(name)
        return load(name)

    journal._blob = noting  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    (summary,) = journal.runs()
    assert (summary.task, summary.state) == (task, "success")
    assert len(fetched) == 1


def test_files_of_the_former_form_are_read_and_written_on(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    former = """
        CREATE TABLE runs (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
        CREATE TABLE events (number INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs, kind TEXT NOT NULL,
            data TEXT NOT NULL);
        CREATE INDEX events_of_run ON events (run);
        PRAGMA user_version = 1;
    """
    old = finished(["before", b"z" * 9_000])
    with closing(sqlite3.connect(path)) as file:
        file.executescript(former)
        file.execute("INSERT INTO runs (id) VALUES ('old')")
        file.execute("INSERT INTO events (run, kind, data) VALUES (1, 'RunFinished', ?)", (encode(old),))
        file.commit()
    with closing(SQLiteJournal(path)) as journal:
        assert list(journal.events("old")) == [old]
        journal.append("new", finished("x" * 50_000))
        assert list(journal.events("new")) == [finished("x" * 50_000)]


def test_a_blob_that_is_gone_or_changed_is_told_and_the_rest_is_read(journal: SQLiteJournal) -> None:
    journal.append("run", finished({"picture": noise(5), "count": 3}))
    journal.append("run", finished("x" * 50_000))
    journal.close()
    with closing(sqlite3.connect(journal.path)) as file:
        file.execute("UPDATE blobs SET data = x'00'")
        file.commit()
    first, second = journal.events("run")
    assert isinstance(first, events.RunFinished)
    assert isinstance(second, events.RunFinished)
    assert first.answer["count"] == 3
    assert isinstance(first.answer["picture"], Opaque)
    assert "missing" in str(first.answer["picture"])
    assert "missing" in second.answer


def test_what_waits_for_a_locked_journal_keeps_its_blobs(journal: SQLiteJournal) -> None:
    journal.append("run", finished(1))
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        journal.append("run", finished(noise(6)))
        journal.append("run", finished("x" * 50_000))
        other.execute("ROLLBACK")
    _, image, text = journal.events("run")
    assert isinstance(image, events.RunFinished)
    assert image.answer.tobytes() == noise(6).tobytes()
    assert text == finished("x" * 50_000)


def test_a_value_that_looks_like_a_reference_is_none(journal: SQLiteJournal) -> None:
    forged = {"$": "str", "b": "sha256:" + "0" * 64, "text": "sha256:" + "0" * 64}
    journal.append("run", finished(forged))
    assert list(journal.events("run")) == [finished(forged)]


def test_a_system_prompt_is_kept_once_for_all_runs(journal: SQLiteJournal) -> None:
    texts = {"agent": "a", "model": "m", "task": "t", "prompt": "p", "system_prompt": "be good " * 2_000}
    for number in range(50):
        journal.append(f"run{number}", events.RunStarted(run=f"run{number}", max_steps=1, **texts))  # pyright: ignore[reportArgumentType]
    assert stored_bytes(journal) < 100_000


def test_images_of_tools_and_answers(journal: SQLiteJournal) -> None:
    @tool
    def photograph(what: str) -> PIL.Image.Image:
        """Takes a picture.

        Args:
            what: What of.
        """
        assert what
        return noise(7)

    @tool
    def widths(picture: PIL.Image.Image) -> int:
        """Measures a picture.

        Args:
            picture: The picture.
        """
        return picture.width

    replies = [
        program("p = photograph('a cat')\nprint(widths(p))\np"),
        program("final_answer(p.rotate(90, expand=True))"),
    ]
    model = ScriptedModel(replies, supports_images=True)
    worker = CodeAgent(
        [photograph, widths], model, verbosity_level=LogLevel.OFF, journal=journal, max_steps=3,
        code_block_tags=("<code>", "</code>"), additional_authorized_imports=["PIL.*"],
    )  # fmt: skip
    with worker:
        answer = worker.run("rotate a cat")
    assert isinstance(answer, AgentImage)
    assert answer.size == (220, 300)
    assert answer.tobytes() == noise(7).rotate(90, expand=True).tobytes()
    # The model was shown the picture that the program's last line gave, and its description, not its repr.
    shown = model.requests[1].messages
    assert kinds_of_parts(shown[-2:]) == ["image", "text"]
    assert "300\nValue of the last line: <image of 300 x 220 pixels, RGB> (Image)" in shown[-1].text
    kinds = {type(event).__name__: event for event in journal.events(journal.runs(1)[0].id)}
    returned = kinds["RunFinished"]
    assert isinstance(returned, events.RunFinished)
    assert returned.answer.tobytes() == answer.tobytes()
    with closing(sqlite3.connect(journal.path)) as file:
        text = "".join(data for (data,) in file.execute("SELECT data FROM events"))
        assert "image mode=" not in text
        assert len(file.execute("SELECT 1 FROM blobs WHERE length(data) > 100000").fetchall()) == 2


def test_a_model_that_sees_no_images_is_told_their_size(journal: SQLiteJournal) -> None:
    picture = noise(8)
    model = ScriptedModel([program("picture"), program("final_answer(1)")])
    worker = CodeAgent([], model, verbosity_level=LogLevel.OFF, journal=journal, code_block_tags=("<code>", "</code>"))
    with worker:
        worker.run("look", additional_args={"picture": picture})
    sent = model.requests[1].messages
    assert "image" not in kinds_of_parts(sent)
    assert "<image of 300 x 220 pixels, RGB>" in sent[-1].text


def test_task_images_are_sent_once(journal: SQLiteJournal) -> None:
    model = ScriptedModel([*[program("print(1)")] * 3, program("final_answer(1)")])
    worker = CodeAgent([], model, verbosity_level=LogLevel.OFF, journal=journal, code_block_tags=("<code>", "</code>"))
    with worker:
        worker.run("look", images=[noise(9)])
    for request in model.requests:
        assert kinds_of_parts(request.messages).count("image") == 1


def test_a_message_with_an_image_survives() -> None:
    reply = ChatMessage(MessageRole.ASSISTANT, [{"type": "text", "text": "x" * 9_000}])
    event = events.ModelReplied(purpose="action", message=reply, seconds=0.1)
    line, blobs = encode_apart(event)
    assert decode(line, blobs.get) == event
    assert len(line) < 1_000

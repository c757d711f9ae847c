"""Secrets: used where they were placed, and masked wherever they surface."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st
from rich.console import Console

from actloop import AgentLogger, CodeAgent, LogLevel, ScriptedModel, Secret, ToolCallingAgent, secret, tool
from actloop.journal.sqlite import SQLiteJournal
from actloop.values.secrets import Vault

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "t0ken/with+odd 'signs\"\\ünd-more"
FOR_PROGRAMS = "pr0gram-s3cret-value"
SECRETS = {"TOKEN": TOKEN, "KEY": Secret(FOR_PROGRAMS, place="sandbox")}

heard: list[str] = []


@tool
def sign(text: str) -> str:
    """Signs a text.

    Args:
        text: What to sign.
    """
    heard.append(secret("TOKEN"))
    return f"{text} signed with {secret('TOKEN')}"


@tool
def leak(kind: str) -> object:
    """Says what it should not.

    Args:
        kind: In which way.
    """
    token = secret("TOKEN")
    ways: dict[str, Any] = {
        "text": f"it is {token}.",
        "bytes": token.encode(),
        "inside": {"a": [{token: (1, {token})}]},
        "base64": base64.b64encode(f"user:{token}".encode()).decode(),
        "hex": token.encode().hex(),
        "url": f"https://example.org/?q={quote(token, safe='')}",
        "json": json.dumps({"t": token}),
        "repr": repr([token]),
        "object": Holder(token),
    }
    if kind == "error":
        raise RuntimeError(f"refused: {token}")
    return ways[kind]


@dataclasses.dataclass
class Holder:
    """Holds something."""

    token: str


@tool
def receive(key: str) -> bool:
    """Takes a key.

    Args:
        key: The key.
    """
    heard.append(key)
    return True


def program(code: str) -> str:
    return f"<code>\n{code}\n</code>"


class Watched:
    """An agent of which everything that it says is kept."""

    def __init__(self, tmp_path: Path, replies: list[Any], tools: list[Any], kind: Any = CodeAgent, **options: Any):
        heard.clear()
        self.screen = io.StringIO()
        self.path = tmp_path / "journal.db"
        self.journal = SQLiteJournal(self.path)
        self.model = ScriptedModel(replies)
        logger = AgentLogger(level=LogLevel.DEBUG, console=Console(file=self.screen, width=500))
        given: dict[str, Any] = {"secrets": SECRETS, "logger": logger, "journal": self.journal} | options
        self.agent: Any = kind(tools, self.model, **given)

    def run(self, task: str = "go", **options: Any) -> Any:
        with self.agent as agent:
            return agent.run(task, **options)

    def everything(self) -> list[bytes]:
        """What was recorded, printed, remembered and sent to the model."""
        self.journal.close()
        stored = b"".join(path.read_bytes() for path in self.path.parent.glob("journal.db*"))
        memory = repr(self.agent.memory.get_full_steps()) + repr(self.agent.memory.steps)
        return [stored, self.screen.getvalue().encode(), memory.encode(), repr(self.model.requests).encode()]


def forms(value: str) -> list[bytes]:
    raw = value.encode()
    texts = [value, repr(value)[1:-1], json.dumps(value)[1:-1], quote(value, safe=""), raw.hex()]
    return [raw, *(text.encode() for text in texts), base64.b64encode(raw)[:-4]]


def check_clean(watched: Watched, value: str = TOKEN) -> None:
    for place in watched.everything():
        for form in forms(value):
            assert form not in place


def test_a_tool_has_its_secret_and_nobody_else(tmp_path: Path) -> None:
    watched = Watched(tmp_path, [program("x = sign('a')\nprint(x)\nfinal_answer(x)")], [sign])
    assert watched.run() == "a signed with [secret TOKEN]"
    assert heard == [TOKEN]
    check_clean(watched)


def test_a_program_never_sees_a_secret_of_tools(tmp_path: Path) -> None:
    code = "x = sign('a')\nfinal_answer([TOKEN_ in x for TOKEN_ in ['t0ken', 'odd', 'ünd']] + ['TOKEN' in globals()])"
    watched = Watched(tmp_path, [program(code)], [sign])
    assert watched.run() == [False, False, False, False]


WAYS = ["text", "bytes", "inside", "base64", "hex", "url", "json", "repr", "object", "error"]


@pytest.mark.parametrize("way", WAYS)
def test_secrets_are_masked_in_results_of_calls_by_programs(way: str, tmp_path: Path) -> None:
    tried = f"try:\n    got = leak({way!r})\nexcept Exception as error:\n    got = str(error)\n"
    code = tried + "print(got)\nfinal_answer(got)"
    watched = Watched(tmp_path, [program(code)], [leak])
    assert "[secret TOKEN]" in str(watched.run())
    check_clean(watched)


@pytest.mark.parametrize("way", WAYS)
def test_secrets_are_masked_in_results_of_calls_by_messages(way: str, tmp_path: Path) -> None:
    calls = [f'{{"name": "leak", "arguments": {{"kind": "{way}"}}}}']
    answer = '{"name": "final_answer", "arguments": {"answer": "done"}}'
    secrets = {"TOKEN": TOKEN}
    watched = Watched(tmp_path, [*calls, answer], [leak], kind=ToolCallingAgent, secrets=secrets)
    assert watched.run() == "done"
    assert "[secret TOKEN]" in repr(watched.model.requests)
    check_clean(watched)


def test_a_program_uses_the_secret_that_it_was_given(tmp_path: Path) -> None:
    code = (
        "ok = receive(KEY)\nprint(KEY)\nprint(ascii(KEY), [KEY], KEY.encode().hex())\nfinal_answer([ok, len(KEY), KEY])"
    )
    watched = Watched(tmp_path, [program(code)], [receive])
    assert watched.run() == [True, len(FOR_PROGRAMS), "[secret KEY]"]
    assert heard == [FOR_PROGRAMS]
    assert "KEY" in str(watched.model.requests[0])
    check_clean(watched, FOR_PROGRAMS)


def test_secrets_are_masked_in_errors_of_programs(tmp_path: Path) -> None:
    watched = Watched(tmp_path, [program("raise ValueError(KEY + '!')"), program("final_answer(1)")], [])
    assert watched.run() == 1
    assert "ValueError: [secret KEY]!" in repr(watched.model.requests[1])
    check_clean(watched, FOR_PROGRAMS)


def test_secrets_in_a_task_do_not_reach_the_model(tmp_path: Path) -> None:
    watched = Watched(tmp_path, [program("final_answer(text)")], [])
    assert watched.run(f"Use {TOKEN}, please", additional_args={"text": f"<{FOR_PROGRAMS}>"}) == "<[secret KEY]>"
    check_clean(watched)
    check_clean(watched, FOR_PROGRAMS)


async def test_an_asynchronous_run_masks_as_well(tmp_path: Path) -> None:
    watched = Watched(tmp_path, [program("final_answer(sign(KEY))")], [sign])
    assert await watched.agent.arun("go") == "[secret KEY] signed with [secret TOKEN]"
    watched.agent.cleanup()
    check_clean(watched)


def test_a_called_agent_keeps_the_secrets_of_its_caller(tmp_path: Path) -> None:
    journal = SQLiteJournal(tmp_path / "inner.db")
    inner_model = ScriptedModel([program("final_answer(task_text + sign('b'))")])
    inner = CodeAgent([sign], inner_model, name="inner", description="Signs.", journal=journal)
    code = "final_answer(inner(f'do it with {KEY}', additional_args={'task_text': KEY}))"
    watched = Watched(tmp_path, [program(code)], [inner])
    answer = watched.run()
    assert "[secret KEY]" in answer
    assert "[secret TOKEN]" in answer
    assert heard == [TOKEN]
    inner.cleanup()
    journal.close()
    check_clean(watched, FOR_PROGRAMS)
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("inner.db*"))
    assert FOR_PROGRAMS.encode() not in stored + repr(inner_model.requests).encode()


def test_what_a_tool_asks_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="only while an agent calls it"):
        secret("TOKEN")
    watched = Watched(
        tmp_path, [program("sign('a')"), program("final_answer(1)")], [sign], secrets={"OTHER": "value-of-it"}
    )
    assert watched.run() == 1
    assert "no secret named 'TOKEN'; there are: OTHER" in repr(watched.model.requests[1])


@pytest.mark.parametrize(
    ("secrets", "error", "words"),
    [
        ({"T": 5}, TypeError, "secret T is no text, but int"),
        ({"T": "short"}, ValueError, "shorter than 6"),
        ({"T": "      "}, ValueError, "shorter than 6"),
        ({"no name": "long enough"}, ValueError, "is a Python name"),
        ({"T": Secret("long enough", place="moon")}, ValueError, "'tools' or 'sandbox'"),  # pyright: ignore[reportArgumentType]
        (["T"], TypeError, "mapping"),
        ({"sign": Secret("long enough", place="sandbox")}, ValueError, "hide the tool"),
    ],
)
def test_bad_secrets_are_refused_without_being_shown(secrets: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words) as refused:
        CodeAgent([sign], ScriptedModel([]), secrets=secrets)
    assert "long enough" not in str(refused.value)
    with pytest.raises(ValueError, match="runs no programs"):
        ToolCallingAgent([], ScriptedModel([]), secrets={"T": Secret("long enough", place="sandbox")})


def test_secrets_are_not_saved(tmp_path: Path) -> None:
    watched = Watched(tmp_path, [], [])
    with pytest.warns(UserWarning, match="secrets"):
        saved = watched.agent.to_dict()
    assert TOKEN not in json.dumps(saved, ensure_ascii=False)
    assert TOKEN not in repr(watched.agent.vault) + repr(SECRETS["KEY"])
    watched.journal.close()


LONG = st.text(min_size=8, max_size=40).filter(lambda text: len(text.strip()) >= 8)


@given(LONG, st.binary(max_size=4), st.binary(max_size=4))
def test_encoded_secrets_are_found_wherever_they_begin(value: str, before: bytes, after: bytes) -> None:
    vault = Vault({"S": value})
    raw = value.encode("utf-8", "surrogatepass")
    for text in (value, f"<{value}>", json.dumps(value), repr(value), quote(raw), raw.hex()):
        assert value not in vault.masked(text)
        assert "[secret S]" in vault.masked(text)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert "[secret S]" in vault.masked(encode(before + raw + after).decode())


@given(
    st.recursive(
        st.integers() | st.text(max_size=5) | st.binary(max_size=5), lambda inner: st.lists(inner) | st.tuples(inner)
    )
)
def test_what_holds_no_secret_stays_itself(value: Any) -> None:
    assert Vault({"S": "a-value-nobody-has"}).masked(value) is value

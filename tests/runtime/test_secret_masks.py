"""Attacks on the masking of secrets: objects that hold them, encodings, cuts, and what cannot be looked through."""

from __future__ import annotations

import base64
import collections
import copy
import dataclasses
import html
import json
import pickle
import types
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import attrs
import numpy as np
import pandas as pd  # pyright: ignore[reportMissingTypeStubs]
import pydantic
import pytest
from hypothesis import given, strategies as st

from actloop import CodeAgent, ScriptedModel, Secret, secret, tool
from actloop.guest import OUTPUT_NOTICE, EncodeError, Opaque, Record, to_json
from actloop.values.secrets import Vault

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = 'Zk/9+x"Qw7&Lm\\3=tR8vB2nH5pYc4'
PLAIN = "tk-93f0c1a7e5d24b8XQ"


class Model(pydantic.BaseModel):
    """Hides its key in its `repr`."""

    url: str
    key: str = pydantic.Field(repr=False)


@attrs.define
class Attrs:
    """Hides its key in its `repr`."""

    url: str
    key: str = attrs.field(repr=False)


@dataclasses.dataclass
class Header:
    """Makes a field that its constructor does not take."""

    token: dataclasses.InitVar[str]
    header: str = dataclasses.field(init=False, repr=False)

    def __post_init__(self, token: str) -> None:
        self.header = "Bearer " + token


class Failure(Exception):
    """Hides its arguments in its `repr`."""

    def __repr__(self) -> str:
        return "Failure()"


OBJECTS: dict[str, Callable[[str], Any]] = {
    "pydantic": lambda s: Model(url="x", key=s),
    "inside": lambda s: {"a": [Model(url="x", key=s)]},
    "attrs": lambda s: Attrs("x", s),
    "dataclass": Header,
    "exception": Failure,
    "memoryview": lambda s: memoryview(s.encode()),
    "deque": lambda s: collections.deque(["x", s]),
    "proxy": lambda s: types.MappingProxyType({"a": s}),
    "namespace": lambda s: types.SimpleNamespace(a="x" * 3000 + s),
    "array of texts": lambda s: np.array(["a"] * 2000 + [s] + ["b"] * 2000),
    "array of bytes": lambda s: np.array([b"a"] * 2000 + [s.encode()] + [b"b"] * 2000),
    "array of numbers": lambda s: np.frombuffer(s.encode(), dtype=np.uint8),
    "frame": lambda s: pd.DataFrame({"a": ["x"] * 500 + [s] + ["y"] * 500}),
    "categories": lambda s: pd.DataFrame({"a": pd.Categorical(["x"], categories=["x", s])}),
    "index": lambda s: pd.Series([1] * 1000, index=["x"] * 500 + [s] + ["y"] * 499),
    "utf-16": lambda s: s.encode("utf-16"),
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_no_object_carries_a_secret_in_what_is_sent_of_it(kind: str) -> None:
    vault = Vault({"TOKEN": PLAIN})
    found = vault.masked(OBJECTS[kind](PLAIN))
    sent = to_json(found)
    for encoding in ("utf-8", "utf-16-le", "utf-32-le"):
        raw = PLAIN.encode(encoding)
        assert PLAIN not in sent
        assert raw not in sent.encode()
        assert base64.b64encode(raw).decode()[4:-4] not in sent
    assert PLAIN not in repr(found)
    harmless = OBJECTS[kind]("nothing of the kind")
    assert vault.masked(harmless) is harmless


def test_the_other_fields_of_an_object_stay() -> None:
    found = Vault({"TOKEN": PLAIN}).masked([Model(url="x", key=PLAIN), Failure(PLAIN, 5)])
    assert found[0] == Record("Model", {"url": "x", "key": "[secret TOKEN]"})
    assert found[1].args == ("[secret TOKEN]", 5)


def test_characters_as_numbers_are_not_shown() -> None:
    found = Vault({"TOKEN": PLAIN}).masked(np.frombuffer(PLAIN.encode(), dtype=np.uint8))
    assert found == Opaque("<ndarray that holds a secret>", "ndarray")
    wide = np.array([ord(one) for one in PLAIN])
    for dtype in (np.int16, np.uint32):
        assert isinstance(Vault({"TOKEN": PLAIN}).masked([wide.astype(dtype)])[0], Opaque)
    many = [{"a": number} for number in range(100)]
    assert Vault({"TOKEN": PLAIN}).masked(many) is many
    assert Vault({"TOKEN": PLAIN}).masked([*many, {"a": PLAIN}]) == [*many, {"a": "[secret TOKEN]"}]


def test_a_uuid_is_a_secret_in_any_form() -> None:
    import uuid

    value = uuid.UUID("550e8400-e29b-41d4-a716-446655440000")
    assert Vault({"ID": str(value)}).masked(value) is not value


WRITTEN: dict[str, Callable[[str], str]] = {
    "PHP": lambda s: json.dumps({"k": s}).replace("/", "\\/"),
    "Go": lambda s: json.dumps({"k": s}).replace("&", "\\u0026"),
    "Gson": lambda s: json.dumps(s).replace("&", "\\u0026").replace("=", "\\u003d").replace("+", "\\u002b"),
    "HTML": lambda s: f"<p>bad key {html.escape(s)}</p>",
    "HTML numbers": lambda s: "".join(f"&#{ord(one)};" for one in s),
    "HTML hexadecimal": lambda s: "".join(f"&#x{ord(one):X};" for one in s),
    "JSON escapes alone": lambda s: "".join(f"\\u{unit:04X}" for unit in np.frombuffer(s.encode("utf-16-le"), "<u2")),
    "JSON in JSON": lambda s: json.dumps({"body": json.dumps({"k": s})}),
    "JSON in JSON in JSON": lambda s: json.dumps([json.dumps([json.dumps([s])])]),
    "repr of repr": lambda s: repr(ValueError(repr(ValueError(repr(s))))),
    "percent in lower case": lambda s: quote(s, safe="").lower(),
    "percent twice": lambda s: quote(quote(s, safe=""), safe=""),
    "percent in part": lambda s: quote(s, safe="/+="),
    "base64 in a URL": lambda s: quote(base64.b64encode(s.encode() + b">>>???").decode(), safe=""),
    "base64 in lines": lambda s: base64.encodebytes(
        b"a prefix of more than forty characters, and then" + s.encode()
    ).decode(),
    "base64 in lines in JSON": lambda s: json.dumps(base64.encodebytes(b"x" * 50 + s.encode()).decode()),
    "base64 twice": lambda s: base64.b64encode(base64.b64encode(b"user:" + s.encode())).decode(),
    "base64 of UTF-16": lambda s: base64.b64encode(s.encode("utf-16")).decode(),
    "base32": lambda s: base64.b32encode(b"ab" + s.encode()).decode(),
    "hex with colons": lambda s: s.encode().hex(":"),
    "hex with spaces": lambda s: s.encode().hex(" ").upper(),
    "base64 of UTF-16 in big endian": lambda s: base64.b64encode(b"ab" + s.encode("utf-16-be")).decode(),
    "HTML numbers with zeros": lambda s: "".join(f"&#{ord(one):08};" for one in s),
    "HTML hexadecimal with zeros": lambda s: "".join(f"&#x{ord(one):08X};" for one in s),
    "HTML numbers with many zeros": lambda s: "".join(f"&#{ord(one):05000};" for one in s[:1]) + s[1:],
    "ASCII alone": ascii,
    "ASCII alone, twice": lambda s: ascii(ascii(s)),
    "Python's long escapes": lambda s: "".join(f"\\U{ord(one):08x}" for one in s),
    "Python's long escapes twice": lambda s: repr("".join(f"\\U{ord(one):08X}" for one in s)),
    "backslashes": lambda s: s.encode("ascii", "backslashreplace").decode(),
    "names of characters": lambda s: s.encode("ascii", "namereplace").decode(),
    "HTML entities alone": lambda s: s.encode("ascii", "xmlcharrefreplace").decode(),
    "bytes escaped": lambda s: "".join(f"\\x{byte:02x}" for byte in s.encode()),
    "lower case": str.lower,
    "upper case": str.upper,
}


@pytest.mark.parametrize("way", WRITTEN)
@pytest.mark.parametrize(
    "value", [TOKEN, PLAIN, "pass wörd & mörE", "kéy😀abcdefgh😁xyz", "0000¡0\xad\U00018cd6", "a\\U0001f600b"]
)
def test_secrets_are_found_as_services_send_them(way: str, value: str) -> None:
    vault, text = Vault({"TOKEN": value}), WRITTEN[way](value)
    found = vault.masked(f"before {text} after \\n %41 &lt;")
    assert "[secret TOKEN]" in found
    assert found.startswith("before ")
    assert found.endswith(" after \\n %41 &lt;")
    assert text not in found
    assert vault.masked(found) is found
    assert "[secret TOKEN]" in str(vault.masked(text.encode()))


@given(st.text(max_size=200), st.sampled_from(sorted(WRITTEN)), st.text(max_size=20))
def test_masking_never_raises_and_changes_nothing_else(before: str, way: str, after: str) -> None:
    vault = Vault({"TOKEN": PLAIN})
    assert vault.masked(before) is before
    assert "[secret TOKEN]" in vault.masked(f"{before} {WRITTEN[way](PLAIN)} {after}")


def test_escapes_that_stand_for_nothing_stay() -> None:
    vault = Vault({"TOKEN": PLAIN})
    for text in (
        "\\N{NO SUCH NAME}",
        "\\n{abc}",
        "\\Uffffffff \\U00110000",
        "&#0000000000;",
        "&#x" + "0" * 9_000 + ";",
    ):
        assert vault.masked(text) is text
        assert vault.masked(text + PLAIN[:4] + "\\x2d" + PLAIN[4:]) is not vault
    found = vault.masked(b"\\\xffffffffff" + PLAIN.encode())
    assert found == b"\\\xffffffffff[secret TOKEN]"


class Hostile:
    """Breaks whatever looks at it."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __repr__(self) -> str:
        raise self.error


def test_what_cannot_be_looked_through_ends_nothing() -> None:
    vault = Vault({"TOKEN": PLAIN})
    for error in (RecursionError, MemoryError, ValueError):
        hostile = Hostile(error)
        assert vault.masked(hostile) is hostile
    endless: list[Any] = [PLAIN]
    endless.append(endless)
    endless.append(endless)
    assert PLAIN not in repr(vault.masked(endless))
    frame = pd.DataFrame({"a": [0]}, dtype=object)
    frame.at[0, "a"] = endless
    with pytest.raises(EncodeError):
        to_json(frame)
    assert PLAIN not in repr(vault.masked(frame))
    deep: Any = PLAIN
    for _ in range(100_000):
        deep = [deep]
    assert PLAIN not in repr(vault.masked(deep))
    twice: Any = [PLAIN]
    for _ in range(60):
        twice = [twice, twice]
    found = vault.masked(twice)
    assert found[0] is found[1]


@tool
def huge() -> object:
    """Gives what is too large to be sent."""
    return np.zeros(200_000_000, dtype=np.uint8)


def program(code: str) -> str:
    return f"<code>\n{code}\n</code>"


def test_a_result_that_is_too_large_does_not_end_the_run() -> None:
    code = "try:\n    huge()\nexcept Exception as error:\n    print(error)\nfinal_answer('fine')"
    with CodeAgent([huge], ScriptedModel([program(code)]), secrets={"TOKEN": PLAIN}, verbosity_level=0) as agent:
        assert agent.run("go") == "fine"


def test_numbers_are_looked_at_where_a_secret_is_one() -> None:
    numbers = list(range(1000))
    assert Vault({"TOKEN": PLAIN}).masked(numbers) is numbers
    pin = Vault({"PIN": "123456789"})
    assert pin.masked(numbers) is numbers
    assert pin.masked([*numbers, 123456789])[-1] == "[secret PIN]"
    assert pin.masked({"pin": 123456789.0}) == {"pin": "[secret PIN].0"}
    assert Vault({"PIN": "00498765"}).masked([498765, "498765"]) == ["[secret PIN]"] * 2
    assert Vault({"PIN": "+0498765.50"}).masked([498765.5]) == ["[secret PIN]"]
    assert Vault({"PIN": "-1234567890123456789.5"}).masked([-1234567890123456789.5]) == ["-[secret PIN]"]
    assert isinstance(pin.masked(np.array([1, 123456789])), Opaque)
    array = np.arange(100.0)
    assert pin.masked(array) is array


def test_a_text_that_was_cut_shows_no_beginning_of_a_secret() -> None:
    vault = Vault({"TOKEN": PLAIN})
    notice = OUTPUT_NOTICE.replace("LIMIT", "50,000")
    assert vault.masked("yyy" + PLAIN[:8] + notice) == "yyy[secret TOKEN]" + notice
    assert vault.masked("yyy" + PLAIN[:15] + "...") == "yyy[secret TOKEN]..."
    assert vault.masked("yyy" + PLAIN[:5] + "...") == "yyy" + PLAIN[:5] + "..."
    assert vault.masked(PLAIN[:8] + " is no end") == PLAIN[:8] + " is no end"


def test_halves_of_a_secret_in_pieces_of_a_stream_are_masked() -> None:
    vault = Vault({"TOKEN": PLAIN})
    assert vault.masked("key: " + PLAIN[:10], piece=True) == "key: [secret TOKEN]"
    assert vault.masked(PLAIN[10:] + "!", piece=True) == "[secret TOKEN]!"
    assert vault.masked(PLAIN[:10]) == PLAIN[:10]
    for place in range(1, len(PLAIN)):
        shown = vault.masked(PLAIN[:place], piece=True) + vault.masked(PLAIN[place:], piece=True)
        assert "[secret TOKEN]" in shown


class Sink:
    """Keeps every event, the passing ones too."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def append(self, run_id: str, event: Any) -> None:
        """Keep it."""
        self.events.append(event)


def test_output_that_is_cut_in_a_secret(tmp_path: Any) -> None:
    sink = Sink()
    code = "print('y' * 49_990 + TOKEN + 'z' * 100_000)"
    model = ScriptedModel([program(code), program("final_answer(1)")])
    secrets = {"TOKEN": Secret(PLAIN, place="sandbox")}
    with CodeAgent([], model, secrets=secrets, journal=cast("Any", sink), verbosity_level=0) as agent:
        agent.run("go")
        assert PLAIN[:8] not in repr(sink.events) + repr(model.requests) + repr(agent.memory.get_full_steps())


PARENTS, CHILDS = "parent-93f0c1a7e5d24b8XQ", "child-77aa0c1a7e5d24b8ZZ"


def complain(step: Any, agent: Any = None) -> None:
    raise ValueError("callback says " + secret("TOKEN"))


@pytest.mark.parametrize("parents", [{}, {"TOKEN": Secret(PARENTS, place="sandbox")}])
@pytest.mark.parametrize("fails", ["callback", "model", ""])
def test_secrets_do_not_cross_between_agents(
    parents: dict[str, Secret], fails: str, capsys: pytest.CaptureFixture[str]
) -> None:
    replies: list[Any] = (
        [ConnectionError(f"401 for {CHILDS}")] if fails == "model" else [program("final_answer(TOKEN)")]
    )
    inner, outer = Sink(), Sink()
    inner_model = ScriptedModel(replies)
    child = CodeAgent(
        [],
        inner_model,
        name="helper",
        description="Helps.",
        secrets={"TOKEN": Secret(CHILDS, place="sandbox")},
        journal=cast("Any", inner),
        step_callbacks=[complain] if fails == "callback" else [],
        verbosity_level=2,
    )
    task = "'use ' + TOKEN" if parents else "'go'"
    tried = f"try:\n    got = helper({task})\nexcept Exception as error:\n    got = str(error)\n"
    model = ScriptedModel([program(f"{tried}print(got[::-1])\nfinal_answer(got)")])
    with CodeAgent(
        [], model, managed_agents=[child], secrets=parents, journal=cast("Any", outer), verbosity_level=2
    ) as agent:
        answer = agent.run("go")
    child.cleanup()
    assert "[secret TOKEN]" in answer
    said = capsys.readouterr()
    everything = [inner.events, outer.events, inner_model.requests, model.requests, answer, said.out, said.err]
    for value in (PARENTS, CHILDS):
        for shown in (value, value[::-1]):
            assert shown not in repr(everything)


@pytest.mark.parametrize("name", ["print", "class", "__builtins__", "__name__", "None", "ValueError"])
def test_names_of_pythons_own_are_no_variables_for_secrets(name: str) -> None:
    with pytest.raises(ValueError, match="name of Python's own"):
        Vault({name: Secret(PLAIN, place="sandbox")})


def test_a_secret_that_its_mask_would_show_is_refused() -> None:
    with pytest.raises(ValueError, match="would stand in its place"):
        Vault({"TOKEN": "Secret"})
    outer = Vault({"A": "secret B-of-A"})
    both = Vault({"TOKEN": "secret-A", "B": "[secret TO"}, outer)
    found = both.masked("it is secret-A")
    assert both.masked(found) == found == "it is [secret TOKEN]"


def test_a_vault_shows_and_writes_down_nothing() -> None:
    agent = CodeAgent([], ScriptedModel([]), secrets={"TOKEN": PLAIN}, verbosity_level=0)
    assert PLAIN not in repr(agent.vault) + repr(vars(agent))
    with pytest.raises(TypeError, match="not written down"):
        pickle.dumps(agent.vault)
    with pytest.raises(TypeError):
        vars(agent.vault)
    assert copy.deepcopy(agent.vault) is agent.vault
    assert agent.copy().vault.value("TOKEN") == PLAIN


def test_an_agent_with_a_secret_in_its_instructions_is_not_saved(tmp_path: Any) -> None:
    agent = CodeAgent([], ScriptedModel([]), secrets={"TOKEN": PLAIN}, instructions=f"use {PLAIN}", verbosity_level=0)
    with pytest.raises(ValueError, match="written out in its instructions"):
        agent.save(tmp_path / "saved")
    assert not any(PLAIN in path.read_text() for path in tmp_path.rglob("*.*") if path.is_file())

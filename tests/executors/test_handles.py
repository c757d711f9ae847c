"""Live objects that a tool returns: a program cannot look into them, but hands them on to other tools."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actloop import CodeAgent, LocalPythonExecutor, LogLevel, Opaque, ScriptedModel, tool
from actloop.guest import Decoder, WireError
from actloop.guest.framing import Unpacker, pack


class Connection:
    """Something that lives on the host."""

    def __init__(self, name: str) -> None:
        self.name = name

    def query(self) -> str:
        """Ask it."""
        return f"asked {self.name}"


@tool
def connect(name: str) -> object:
    """Opens a connection.

    Args:
        name: Of the service.
    """
    return Connection(name)


@tool
def ask(connection: object) -> str:
    """Asks a connection.

    Args:
        connection: As `connect` gives it.
    """
    assert isinstance(connection, Connection)
    return connection.query()


@tool
def ask_typed(connection: Connection) -> str:
    """Asks a connection.

    Args:
        connection: As `connect` gives it.
    """
    return connection.query()


def run(program: str, **options: Any) -> Any:
    model = ScriptedModel([f"<code>\n{program}\n</code>"])
    given: dict[str, Any] = {"verbosity_level": LogLevel.OFF, "journal": None} | options
    with CodeAgent([connect, ask, ask_typed], model, **given) as agent:
        return agent.run("go")


@pytest.mark.parametrize("name", ["ask", "ask_typed"])
def test_an_object_comes_back_as_itself(name: str) -> None:
    assert run(f"final_answer({name}(connect('a')))") == "asked a"


def test_inside_of_other_values_and_in_later_programs() -> None:
    first = "<code>\nopen_ones = {name: connect(name) for name in 'ab'}\nprint(open_ones['a'])\n</code>"
    second = (
        "<code>\nfinal_answer([ask(one) for one in open_ones.values()] + [ask(connection=open_ones['a'])])\n</code>"
    )
    with CodeAgent([connect, ask], ScriptedModel([first, second]), verbosity_level=LogLevel.OFF) as agent:
        assert agent.run("go") == ["asked a", "asked b", "asked a"]


def test_an_answer_may_be_one() -> None:
    found = run("final_answer({'it': connect('z')})")["it"]
    assert isinstance(found, Connection)
    assert found.name == "z"


def test_a_variable_may_be_one() -> None:
    model = ScriptedModel(["<code>\nfinal_answer(ask(given))\n</code>"])
    with CodeAgent([ask], model, verbosity_level=LogLevel.OFF) as agent:
        assert agent.run("go", additional_args={"given": Connection("v")}) == "asked v"


def test_from_threads_and_asynchronous_code() -> None:
    program = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    found = list(pool.map(ask, list(pool.map(connect, 'abcd'))))\n"
        "final_answer(found)"
    )
    assert run(program) == [f"asked {name}" for name in "abcd"]

    async def main() -> Any:
        model = ScriptedModel(["<code>\nfinal_answer(ask(connect('q')))\n</code>"])
        with CodeAgent([connect, ask], model, verbosity_level=LogLevel.OFF) as agent:
            return await agent.arun("go")

    assert asyncio.run(main()) == "asked q"


def test_a_program_cannot_look_into_it() -> None:
    program = "try:\n    connect('a').name\nexcept AttributeError:\n    final_answer(str(type(connect('a'))))"
    assert "Opaque" in run(program)


def test_a_handle_that_was_never_given_is_worth_nothing() -> None:
    program = (
        "x = connect('a')\nx.handle = 77\ntry:\n    ask(x)\nexcept Exception as error:\n    final_answer('refused')"
    )
    assert run(program) == "refused"
    executor = LocalPythonExecutor([])
    try:
        assert isinstance(executor("class Own:\n    pass\nOwn()").output, Opaque)
    finally:
        executor.cleanup()


def test_sessions_do_not_share_handles() -> None:
    held: list[Any] = []

    def keep(value: Any) -> int:
        held.append(value)
        return len(held)

    frame = pack({"value": Connection("secret")}, keep=keep)
    other = Unpacker(held={})
    other.feed(frame)
    assert isinstance((other.next() or {})["value"], Opaque)
    guest = Unpacker()
    guest.feed(frame)
    handed = (guest.next() or {})["value"]
    assert isinstance(handed, Opaque)
    assert handed.handle == 1
    back = Unpacker(held=dict(enumerate(held, 1)))
    back.feed(pack({"value": [handed]}))
    assert (back.next() or {})["value"][0] is held[0]


@pytest.mark.parametrize("handle", ['"1"', "true", "1.5", "[1]", "{}"])
def test_a_handle_is_a_number(handle: str) -> None:
    text = f'{{"$": "opaque", "v": "x", "n": "y", "h": {handle}}}'
    with pytest.raises(WireError, match="handle"):
        Decoder(held={1: "secret"}).decode(text)

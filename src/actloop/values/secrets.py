"""Secrets of an agent: handed to tools, or to programs as variables, and masked wherever else they would surface."""

from __future__ import annotations

import builtins
import keyword
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self

from actloop.values.cuts import cut
from actloop.values.secret_forms import SHORTEST, Finder, mask_of
from actloop.values.secret_masks import masked

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

Place = Literal["tools", "sandbox"]


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret and where it may be used.

    Attributes:
        value: The secret itself.
        place: "tools": tools ask for it with `secret(name)`, and no program ever sees it. "sandbox": programs have it
            as a variable of its name besides, so they can do anything with it that their sandbox allows.
    """

    value: str = field(repr=False)
    place: Place = "tools"


class Vault:
    """The secrets of one agent, and of those that called it.

    Args:
        secrets: Each by its name: a text, for tools; or a `Secret`, which says where it is placed.
        outer: Secrets of the agent that called this one: they are masked as well, and its tools' to ask for.

    Raises:
        TypeError: A secret is no text.
        ValueError: A name is no Python name, a value is too short, or a place is unknown.
    """

    __slots__ = ("_all", "_finder", "_of_tools", "_values", "own")

    def __init__(self, secrets: Mapping[str, str | Secret] | None = None, outer: Vault | None = None) -> None:
        own = {name: _checked(name, value) for name, value in _mapping(secrets).items()}
        self.own = own
        self._all: dict[str, Secret] = {**(outer._all if outer is not None else {}), **own}
        # A name goes to the innermost secret, but values that it hides stay secret.
        self._values: list[tuple[str, Secret]] = [*own.items(), *(outer._values if outer is not None else [])]
        self._finder = Finder((name, one.value) for name, one in self._values)
        given = set(self.of_sandbox.values())
        self._of_tools = Finder(
            (name, one.value) for name, one in self._values if one.place == "tools" and one.value not in given
        )

    def __bool__(self) -> bool:
        return bool(self._all)

    def __repr__(self) -> str:
        return f"Vault({', '.join(self._all)})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: Any) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} holds secrets, which are not written down")

    def value(self, name: str) -> str:
        """A secret's value.

        Raises:
            LookupError: There is none of that name.
        """
        if name not in self._all:
            known = f"there are: {', '.join(self._all)}" if self._all else "it has none"
            raise LookupError(f"this agent has no secret named {name!r}; {known}. Give it as secrets={{{name!r}: ...}}")
        return self._all[name].value

    def within(self, outer: Vault) -> Vault:
        """This vault for a run that an agent with secrets of its own began."""
        return Vault(self.own, outer) if outer else self

    @property
    def of_sandbox(self) -> dict[str, str]:
        """The agent's own secrets that programs have as variables."""
        return {name: one.value for name, one in self.own.items() if one.place == "sandbox"}

    def masked(self, value: Any, *, piece: bool = False) -> Any:
        """The value with a mask in place of every secret in it; itself where there is none. Never raises.

        Args:
            value: Any value.
            piece: Its texts are pieces of a stream, whose ends may be halves of a secret.
        """
        return masked(value, self._finder, piece=piece)

    def without_tools_own(self, value: Any) -> Any:
        """As `masked`, for what goes to a program: it may have the secrets that it was given."""
        return masked(value, self._of_tools)

    @contextmanager
    def open(self) -> Generator[None]:
        """While a tool runs, which may ask for secrets."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


def secret(name: str) -> str:
    """A secret of the agent whose tool calls this: `CodeAgent(..., secrets={name: value})`.

    Args:
        name: The secret's name.

    Raises:
        LookupError: The agent has no secret of that name, or no agent's tool runs here.
    """
    vault = _current.get()
    if vault is None:
        raise LookupError(f"secret({name!r}) is known to a tool only while an agent calls it")
    return vault.value(name)


_current: ContextVar[Vault | None] = ContextVar("actloop_secrets", default=None)


def _mapping(secrets: Any) -> Mapping[str, Any]:
    if secrets is None:
        return {}
    if not hasattr(secrets, "items"):
        raise TypeError(f"secrets is a mapping of names to values; got {type(secrets).__name__}")
    return secrets


def _checked(name: Any, given: Any) -> Secret:
    """A secret as it was given; no error shows its value."""
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(cut(f"the name of a secret is a Python name; got {name!r}", 200))
    one = given if isinstance(given, Secret) else Secret(given)
    if not isinstance(one.value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"the secret {name} is no text, but {type(one.value).__name__}")
    if len(one.value.strip()) < SHORTEST:
        raise ValueError(
            f"the secret {name} is shorter than {SHORTEST} characters: masking it would garble ordinary text"
        )
    if one.place not in ("tools", "sandbox"):
        raise ValueError(cut(f"the secret {name} is placed in 'tools' or 'sandbox', not in {one.place!r}", 200))
    if one.value.strip().lower() in mask_of(name).lower():
        raise ValueError(f"the value of the secret {name} is part of {mask_of(name)!r}, which would stand in its place")
    if one.place == "sandbox" and (keyword.iskeyword(name) or name.startswith("__") or hasattr(builtins, name)):
        raise ValueError(f"the secret {name} cannot be a variable of programs: that is a name of Python's own")
    return one

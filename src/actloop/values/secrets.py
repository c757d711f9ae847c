"""Secrets of an agent: handed to tools, or to programs as variables, and masked wherever else they would surface."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import quote, quote_plus

from actloop.guest import Opaque, Record, to_json

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

Place = Literal["tools", "sandbox"]

SHORTEST = 6
"""Characters of a secret at least: a shorter one would be masked in the middle of ordinary words."""

_LONG_LINE = 16
"""Characters from which on a line of a longer secret, such as a key in PEM, is masked by itself."""

_DEPTH = 100


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

    def __init__(self, secrets: Mapping[str, str | Secret] | None = None, outer: Vault | None = None) -> None:
        own = {name: _checked(name, value) for name, value in _mapping(secrets).items()}
        self.own = own
        self._all: dict[str, Secret] = {**(outer._all if outer is not None else {}), **own}
        self._forms = _Forms(self._all.items())
        self._of_tools = _Forms((name, one) for name, one in self._all.items() if one.place == "tools")

    def __bool__(self) -> bool:
        return bool(self._all)

    def __repr__(self) -> str:
        return f"Vault({', '.join(self._all)})"

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

    def masked(self, value: Any) -> Any:
        """The value with a mask in place of every secret in it; itself where there is none."""
        return self._forms.masked(value, 0)

    def without_tools_own(self, value: Any) -> Any:
        """As `masked`, for what goes to a program: it may have the secrets that it was given."""
        return self._of_tools.masked(value, 0)

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
        raise ValueError(f"the name of a secret is a Python name; got {name!r}"[:200])
    one = given if isinstance(given, Secret) else Secret(given)
    if not isinstance(one.value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"the secret {name} is no text, but {type(one.value).__name__}")
    if len(one.value.strip()) < SHORTEST:
        raise ValueError(
            f"the secret {name} is shorter than {SHORTEST} characters: masking it would garble ordinary text"
        )
    if one.place not in ("tools", "sandbox"):
        raise ValueError(f"the secret {name} is placed in 'tools' or 'sandbox', not in {one.place!r}"[:200])
    return one


def _forms(value: str) -> set[str]:
    """The ways in which a secret may stand in some text: itself, escaped, and encoded as is usual for sending it."""
    stripped = value.strip()
    plain = {value, stripped, *(line.strip() for line in stripped.splitlines() if len(line.strip()) >= _LONG_LINE)}
    forms = set(plain)
    for text in plain:
        forms |= {repr(text)[1:-1], json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
        forms |= {quote(text), quote(text, safe=""), quote_plus(text)}
        raw = text.encode("utf-8", "surrogatepass")
        forms |= {raw.hex(), raw.hex().upper(), repr(raw)[2:-1]}
        if len(raw) >= SHORTEST + 2:
            forms |= _in_base64(raw)
    return {form for form in forms if len(form) >= SHORTEST}


def _in_base64(raw: bytes) -> set[str]:
    """What of a base64 text stands for these bytes alone, wherever they begin in what was encoded."""
    forms: set[str] = set()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            text = encode(b"\0" * shift + raw).decode().rstrip("=")
            first = (shift * 8 + 5) // 6
            last = (shift + len(raw)) * 8 // 6
            forms.add(text[first:last])
    return forms


class _Forms:
    """Finds some secrets in values."""

    def __init__(self, secrets: Iterable[tuple[str, Secret]]) -> None:
        self._names = {form: name for name, one in secrets for form in _forms(one.value)}
        longest_first = sorted(self._names, key=len, reverse=True)
        self._texts = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        self._bytes = {form.encode("utf-8", "surrogatepass"): name for form, name in self._names.items()}

    def text(self, text: str) -> str:
        if self._texts is None:
            return text
        return self._texts.sub(lambda found: f"[secret {self._names[found[0]]}]", text)

    def raw(self, data: bytes) -> bytes:
        for form in sorted(self._bytes, key=len, reverse=True):
            if form in data:
                data = data.replace(form, f"[secret {self._bytes[form]}]".encode())
        return data

    def masked(self, value: Any, depth: int) -> Any:
        """See `Vault.masked`."""
        if self._texts is None or value is None or isinstance(value, bool | float | complex):
            return value
        if isinstance(value, str):
            found = self.text(value)
            return value if found == value else found
        if isinstance(value, int):
            digits = value.bit_length() < 4000 and self.text(str(value)) != str(value)
            return self.text(str(value)) if digits else value
        if isinstance(value, bytes | bytearray):
            found = self.raw(bytes(value))
            return value if found == value else type(value)(found)
        if depth > _DEPTH:
            return Opaque("...", type(value).__name__)
        return self._masked_parts(value, depth + 1)

    def _masked_parts(self, value: Any, depth: int) -> Any:
        """A value of several parts; the very same object where no part holds a secret."""
        if isinstance(value, dict):
            pairs = cast("dict[Any, Any]", value)
            masked = [(self.masked(key, depth), self.masked(item, depth)) for key, item in pairs.items()]
            same = all(a is k and b is v for (a, b), (k, v) in zip(masked, pairs.items(), strict=True))
            return cast("Any", value) if same else dict(masked)
        if isinstance(value, list | tuple | set | frozenset):
            items = list(cast("Iterable[Any]", value))
            masked = [self.masked(item, depth) for item in items]
            if all(a is b for a, b in zip(masked, items, strict=True)):
                return cast("Any", value)
            if isinstance(value, list):
                return masked
            if isinstance(value, tuple):
                return type(cast("Any", value))(*masked) if hasattr(cast("Any", value), "_fields") else tuple(masked)
            return frozenset(masked) if isinstance(value, frozenset) else set(masked)
        if isinstance(value, Record):
            fields = self.masked(value.record_fields, depth)
            return value if fields is value.record_fields else Record(value.record_type, fields)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._masked_fields(value, depth)
        return self._masked_object(value)

    def _masked_fields(self, value: Any, depth: int) -> Any:
        changed: dict[str, Any] = {}
        for item in dataclasses.fields(value):
            held = getattr(value, item.name, None)
            masked = self.masked(held, depth)
            if masked is not held and item.init:
                changed[item.name] = masked
        if not changed:
            return value
        try:
            return dataclasses.replace(value, **changed)
        except Exception:  # a class of the user's whose constructor does more than setting fields
            return Opaque(self.text(_shown(value)), type(value).__name__)

    def _masked_object(self, value: Any) -> Any:
        """Some object: what is seen of it is its `repr`."""
        shown = value.text if isinstance(value, Opaque) else _shown(value)
        masked = self.text(shown)
        inside = to_json(value) if type(value).__module__.partition(".")[0] in ("pandas", "numpy") else ""
        if masked == shown and self.text(inside) == inside:
            return value
        return Opaque(masked, value.type_name if isinstance(value, Opaque) else type(value).__name__)


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return object.__repr__(value)

"""Values that stand for what cannot cross as it is, and the two errors of the codec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


_MAX_REPR = 2000


class WireError(ValueError):
    """Bytes that are not what this codec would have written."""


class EncodeError(ValueError):
    """A value cannot be sent: it contains itself, is nested too deeply, or is too large."""


class Opaque:
    """Stands for a value that cannot leave its process.

    Attributes:
        text: The value's `repr`, cut to 2,000 characters.
        type_name: Name of its class.
    """

    __slots__ = ("text", "type_name")

    def __init__(self, text: str, type_name: str = "object") -> None:
        self.text = text
        self.type_name = type_name

    def __repr__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and (self.text, self.type_name) == (other.text, other.type_name)

    def __hash__(self) -> int:
        return hash((self.text, self.type_name))


class Record:
    """An object as plain data: the name of its class and its fields, readable as attributes, by name or by position.

    Dataclasses, named tuples, enum members, exceptions and pydantic models arrive as records, since a class cannot be
    sent. Records cannot be changed.

    Attributes:
        record_type: Name of the class.
        record_fields: The fields, in order.
    """

    __slots__ = ("record_fields", "record_type")

    record_type: str
    record_fields: dict[str, Any]

    def __init__(self, record_type: str, record_fields: Mapping[str, Any]) -> None:
        object.__setattr__(self, "record_type", record_type)
        object.__setattr__(self, "record_fields", dict(record_fields))

    def __getattr__(self, name: str) -> Any:
        if name not in Record.__slots__ and name in self.record_fields:
            return self.record_fields[name]
        raise AttributeError(f"{self.record_type!r} record has no field {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{self.record_type!r} record cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{self.record_type!r} record cannot be changed")

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self.record_fields[key]
        return tuple(self.record_fields.values())[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.record_fields.values())

    def __len__(self) -> int:
        return len(self.record_fields)

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return self.record_type == other.record_type and self.record_fields == other.record_fields

    def __hash__(self) -> int:
        return hash((self.record_type, *self.record_fields.items()))

    def __repr__(self) -> str:
        return f"{self.record_type}({', '.join(f'{name}={value!r}' for name, value in self.record_fields.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Record, (self.record_type, self.record_fields))

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *self.record_fields]


def safe_repr(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = object.__repr__(value)
    return text if len(text) <= _MAX_REPR else text[:_MAX_REPR] + "..."


type_of: Callable[[Any], Any] = type

"""Reads what a docstring says of a function and its parameters: Google, NumPy and Sphinx styles."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field

_PARAMETERS = {"args", "arguments", "parameters", "params", "other parameters", "keyword args", "keyword arguments"}
_RETURNS = {"returns", "return", "yields", "yield"}
_OTHERS = {
    "raises", "raise", "warns", "warnings", "example", "examples", "note", "notes", "references", "see also",
    "attributes", "todo", "usage", "methods",
}  # fmt: skip
_GOOGLE_HEADER = re.compile(r"^(?P<title>[A-Za-z][A-Za-z ]*):[ \t]*$")
_UNDERLINE = re.compile(r"^-{3,}[ \t]*$")
_SPHINX = re.compile(
    r"^:(?P<key>param|parameter|arg|argument|key|keyword|type|returns?|rtype|raises?|except|exception)\b"
    r"[ \t]*(?P<about>[^:\n]*):[ \t]*(?P<text>.*)$"
)
_ENTRY = re.compile(
    r"^`{0,2}(?P<stars>\*{0,2})(?P<name>\w+)`{0,2}[ \t]*(?:\((?P<type>.*?)\))?[ \t]*:(?!:)[ \t]*(?P<text>.*)$"
)
_NUMPY_ENTRY = re.compile(r"^\*{0,2}(?P<names>\w+(?:[ \t]*,[ \t]*\*{0,2}\w+)*)[ \t]*(?::[ \t]*(?P<type>.*))?$")


@dataclass(slots=True)
class Docstring:
    """A docstring in its parts.

    Attributes:
        description: Everything before the first section on parameters, results or errors.
        parameters: Descriptions by name, each on one line.
        types: Types that it states, by parameter, as text.
        returns: What is returned, on one line.
    """

    description: str = ""
    parameters: dict[str, str] = field(default_factory=dict[str, str])
    types: dict[str, str] = field(default_factory=dict[str, str])
    returns: str = ""


def parse_docstring(text: str | None) -> Docstring:
    """The parts of a docstring, whatever its style; an unknown style is all description."""
    found = Docstring()
    if not text:
        return found
    lines = inspect.cleandoc(text).splitlines()
    description: list[str] = []
    section: list[str] = []
    kind = "description"
    seen = False  # a section that is not part of the description has begun

    def close() -> None:
        if kind == "parameters":
            _parameters(section, found)
        elif kind == "numpy parameters":
            _numpy_parameters(section, found)
        elif kind in ("returns", "numpy returns") and not found.returns:
            found.returns = _returns(section, numpy=kind.startswith("numpy"))
        section.clear()

    number = 0
    while number < len(lines):
        line = lines[number]
        numpy = number + 1 < len(lines) and bool(_UNDERLINE.match(lines[number + 1]))
        title = line.strip().lower() if numpy else _google_title(line)
        sphinx = _SPHINX.match(line)
        begins = _kind(title, numpy=numpy, seen=seen) if title is not None else None
        if sphinx is not None:
            close()
            kind, seen = "sphinx", True
            number = _sphinx_field(lines, number, sphinx, found)
            continue
        if begins is not None:
            close()
            kind, seen = begins, True
            number += 2 if numpy else 1
            continue
        (description if kind == "description" else section).append(line)
        number += 1
    close()
    found.description = "\n".join(description).strip()
    return found


def _google_title(line: str) -> str | None:
    header = _GOOGLE_HEADER.match(line)
    return header["title"].strip().lower() if header else None


def _kind(title: str, *, numpy: bool, seen: bool) -> str | None:
    """Which section a title begins; sections of other sorts belong to the description until one of ours has begun."""
    if title in _PARAMETERS:
        return "numpy parameters" if numpy else "parameters"
    if title in _RETURNS:
        return "numpy returns" if numpy else "returns"
    if title in ("raises", "raise") or (title in _OTHERS and seen):
        return "other"
    return None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines if line.strip())


def _parameters(lines: list[str], found: Docstring) -> None:
    """Google's entries: `name (type): text`, going on where lines are indented deeper."""
    entries = [line for line in lines if line.strip()]
    if not entries:
        return
    base = min(map(_indent, entries))
    name = ""
    for line in entries:
        entry = _ENTRY.match(line.strip()) if _indent(line) == base else None
        if entry is not None:
            name = entry["name"]
            found.parameters[name] = entry["text"].strip()
            if entry["type"]:
                found.types[name] = entry["type"].strip().strip("`")
        elif name:
            found.parameters[name] = f"{found.parameters[name]} {line.strip()}".strip()


def _numpy_parameters(lines: list[str], found: Docstring) -> None:
    """NumPy's entries: `name : type`, and the text indented below."""
    entries = [line for line in lines if line.strip()]
    if not entries:
        return
    base = min(map(_indent, entries))
    names: list[str] = []
    for line in entries:
        entry = _NUMPY_ENTRY.match(line.strip()) if _indent(line) == base else None
        if entry is not None:
            names = [name.strip().lstrip("*") for name in entry["names"].split(",")]
            for name in names:
                found.parameters[name] = ""
                if entry["type"]:
                    found.types[name] = entry["type"].strip()
        else:
            for name in names:
                found.parameters[name] = f"{found.parameters[name]} {line.strip()}".strip()


def _returns(lines: list[str], *, numpy: bool) -> str:
    entries = [line for line in lines if line.strip()]
    if not entries:
        return ""
    if numpy:
        deeper = [line for line in entries if _indent(line) > min(map(_indent, entries))]
        return _joined(deeper or entries)
    text = _joined(entries)
    stated = re.match(r"^[`\w.\[\], |]{1,60}?:[ \t]+", text)  # a type before the text: "dict[str, int]: The counts."
    return text[stated.end() :] if stated and re.match(r"^`?[A-Za-z_.]+(\[.*\])?`?:", stated[0]) else text


def _sphinx_field(lines: list[str], number: int, match: re.Match[str], found: Docstring) -> int:
    """Take one `:key about: text` with the indented lines that go on; returns the number of the next line."""
    text = [match["text"]]
    number += 1
    while number < len(lines) and lines[number].strip() and _indent(lines[number]) > 0:
        text.append(lines[number])
        number += 1
    about = match["about"].split()
    if match["key"] in ("param", "parameter", "arg", "argument", "key", "keyword") and about:
        name = about[-1].lstrip("*")
        found.parameters[name] = _joined(text)
        if len(about) > 1:
            found.types[name] = " ".join(about[:-1])
    elif match["key"] == "type" and about:
        found.types[about[-1]] = _joined(text)
    elif match["key"] in ("return", "returns"):
        found.returns = _joined(text)
    return number

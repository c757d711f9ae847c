"""Finds the program in a model's reply.

A reply is read generously: whatever marks the program, and whatever stands around it, a program whose meaning is plain
is found. Where its end is in doubt (a closing tag may stand inside one of its strings), Python's own parser decides.
Nothing here raises, and the time is bounded for every input.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from actloop.loop.calls import NamedCall, call_in_tag, program_from_json, program_from_prose
from actloop.loop.source import Parser, looks_like_code, parsed, tidied

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_TAGS = ("<code>", "</code>")

_MOST_BLOCKS = 64
_MOST_ENDS = 200
_MOST_STARTS = 8
_MOST_FAILURES = 8

_PYTHON = frozenset({"", "code", "ipython", "ipython3", "py", "py3", "pycon", "python", "python3", "tool_code"})
_JSON = frozenset({"action", "json", "json5", "jsonc", "tool_call"})

_NAMES = "code|python|py|execute|execute_python|tool_code"
_FENCE = r"(?P<fence>`{3,20}|~{3,20})(?P<info>[ \t]{0,9}\{?\.?[A-Za-z_][\w+.-]*\}?(?=[\s:,]|\Z))?"
_OPENING = (
    r"(?P<call><(?:tool_call|function_call)>|<function=(?P<function>[\w.-]{1,100})>)"
    rf"|(?P<named><(?:{_NAMES})(?:\s[^<>\n]{{0,100}})?>|\[PYTHON\]|<\|python_tag\|>)"
    rf"|{_FENCE}"
)
_CLOSING = (
    rf"</(?:{_NAMES})>|\[/PYTHON\]|<end_code>|<end_action>|<\|\w{{1,20}}\|>"
    r"|^[ \t]*(?:`{3,20}|~{3,20})[ \t]*$|^Observation:"
)
_CALL_END = re.compile(r"</(?:tool_call|function_call|function)>")
_REASONING = re.compile(r"\s*<(think|thinking|reasoning)>(?P<inside>.*?)(?:</\1>|\Z)", re.IGNORECASE | re.DOTALL)
_LATE_REASONING = re.compile(r"</(?:think|thinking|reasoning)>", re.IGNORECASE)
_INVENTED = re.compile(r"^[ \t]*\**Observation:", re.MULTILINE)
_LABEL = re.compile(r"[ \t]*[*#_]{0,4}(?:thoughts?|reasoning)[*_]{0,4}:[*_]{0,4}[ \t]*", re.IGNORECASE)
_CODE_LABEL = re.compile(
    r"^[ \t]*[*#_]{0,4}[ \t]?(?:code|action|program|python)[*_]{0,4}:[*_]{0,4}[ \t]*$", re.IGNORECASE | re.MULTILINE
)
_CODE_LABEL_BEFORE = re.compile(r"[ \t]*(?:code|action|program|python):[ \t]*(?=\S)", re.IGNORECASE)
_NONSPACE = re.compile(r"\S")


@dataclass(frozen=True, slots=True)
class Program:
    """A program found in a reply, and what the model said before it. It need not be valid Python.

    Attributes:
        code: Its source.
        thought: What was said before it.
        calls: The tool calls as which it was written, where it was written as nothing else.
    """

    code: str
    thought: str = ""
    calls: tuple[NamedCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Misread:
    """No program was found; the message tells the model what a right reply looks like."""

    message: str


def parse_reply(text: str, tags: tuple[str, str] = DEFAULT_TAGS, *, structured: bool = False) -> Program | Misread:
    """Find the program in a model's reply.

    Args:
        text: The reply.
        tags: Opening and closing tag of a program; each is taken literally or as a regular expression.
        structured: The model is asked for JSON with a thought and a program, and told so where there is none.

    Returns:
        The program, which may hold syntax errors when it is plain what was meant; or why there is none.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    text, reasoning = _without_reasoning(text, tags)
    parser = Parser()
    whole = program_from_json(text)
    if whole is not None:
        inner = _marked(whole.code, tags, parser) if "```" in whole.code or tags[0] in whole.code else None
        code = inner.code if isinstance(inner, Program) else parser.accepted(whole.code)
        return Program(code or tidied(whole.code), whole.thought or reasoning, whole.calls)
    found = _marked(text, tags, parser) or _bare(text, parser)
    if found is None or (structured and isinstance(found, Misread)):
        return Misread(_explanation(text, _RIGHT_JSON if structured else _right_reply(tags)))
    if isinstance(found, Program) and reasoning and not found.thought:
        return replace(found, thought=reasoning)
    return found


def _without_reasoning(text: str, tags: tuple[str, str]) -> tuple[str, str]:
    """The reply without the reasoning block at its beginning, and that block's text."""
    match = _REASONING.match(text)
    if match is not None:
        rest, inside = text[match.end() :], match["inside"].strip()
        return (rest, inside) if rest.strip() else (inside, "")
    late = _LATE_REASONING.search(text)
    if late is not None:
        opening = _patterns(tags)[0].search(text)
        if opening is None or opening.start() > late.start():
            return text[late.end() :], text[: late.start()].strip()
    return text, ""


# ------------------------------------------------------------------------------------------------- marked programs


@dataclass(frozen=True, slots=True)
class _Block:
    """A stretch of a reply that is marked as a program: its text, where it lies, and whether Python accepts it."""

    code: str
    start: int
    end: int
    valid: bool
    closed: bool = True
    calls: tuple[NamedCall, ...] = ()


@lru_cache(maxsize=64)
def _patterns(tags: tuple[str, str], fence: str | None = None) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What opens a program; and what closes one, its `proper` mark being the one that belongs to the opening."""
    flags = re.IGNORECASE | re.MULTILINE
    fences = tags[0].startswith(("```", "~~~"))
    opening = _OPENING if fences else f"(?P<custom>{_literal_or_regex(tags[0])})|{_OPENING}"
    if fence is not None:
        proper = re.escape(fence)
    else:
        own = "" if fences else f"{_literal_or_regex(tags[1])}|"
        proper = rf"{own}</(?:{_NAMES})>|\[/PYTHON\]|<end_code>"
    return re.compile(opening, flags), re.compile(f"(?P<proper>{proper})|{_CLOSING}", flags)


def _literal_or_regex(tag: str) -> str:
    literal = re.escape(tag)
    if not re.search(r"[\\*+?]", tag):
        return literal
    try:
        pattern = re.compile(tag)
    except re.error:
        return literal
    # Groups could clash with our own, and what matches the empty text marks nothing.
    if pattern.groups or pattern.match("") is not None:
        return literal
    return f"(?:{literal}|{tag})"


def _marked(text: str, tags: tuple[str, str], parser: Parser) -> Program | Misread | None:
    """The program in the blocks of a reply, None when there is no block of code."""
    blocks = [block for block in _blocks(text, tags, parser) if block.code.strip()]
    if len(blocks) > 1:
        blocks = [block for block in blocks if not _is_mere_value(block, parser)] or blocks[:1]
    if not blocks:
        return None
    first = next((block for block in blocks if block.valid), blocks[0])
    # What follows an invented observation answers something that never happened.
    invented = _INVENTED.search(text, first.end)
    horizon = invented.start() if invented else len(text)
    blocks = [block for block in blocks if block.start < horizon]
    if any(block.valid for block in blocks):
        blocks = [block for block in blocks if block.valid or looks_like_code(block.code)]
    else:
        blocks = [block for block in blocks if looks_like_code(block.code)][:1] or blocks[:1]
    thought = _thought(text[: blocks[0].start])
    if len(blocks) == 1 and not blocks[0].valid and not blocks[0].closed and _is_broken_off(blocks[0].code):
        return Misread(_broken_off(tags))
    kept = _without_drafts(blocks)
    calls = tuple(call for block in kept for call in block.calls) if all(block.calls for block in kept) else ()
    return Program("\n\n".join(block.code.strip("\n") for block in kept), thought, calls)


def _is_mere_value(block: _Block, parser: Parser) -> bool:
    """Whether a block is a value or a name rather than a program, as when a reply shows an output or names a tag."""
    tree = parser.tree(block.code) if block.valid else None
    return tree is not None and all(
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant | ast.Name | ast.List | ast.Tuple | ast.Dict | ast.UnaryOp)
        for node in tree.body
    )


def _without_drafts(blocks: list[_Block]) -> list[_Block]:
    """The blocks that no later one repeats."""
    return [
        block
        for number, block in enumerate(blocks)
        if not any(block.code.strip() in later.code for later in blocks[number + 1 :])
    ]


def _blocks(text: str, tags: tuple[str, str], parser: Parser) -> Iterator[_Block]:
    opening, _ = _patterns(tags)
    place = failures = 0
    for _ in range(_MOST_BLOCKS):
        if failures > _MOST_FAILURES:
            return
        match = opening.search(text, place)
        if match is None:
            return
        if match["call"]:
            place, block = _call_block(text, match)
        elif match["fence"]:
            place, block = _fenced_block(text, match, tags, parser)
        else:
            block = _delimited(text, match.start(), match.end(), None, tags, parser)
            found = program_from_json(block.code)
            if found is not None:
                block = replace(block, code=found.code, calls=found.calls, valid=True)
            # A tag that is only talked about opens nothing: look for another one right behind it.
            place = block.end if block.valid else match.end()
        if block is not None:
            failures += not block.valid
            yield block


def _call_block(text: str, match: re.Match[str]) -> tuple[int, _Block | None]:
    """A tool call in another framework's tags, as a program."""
    close = _CALL_END.search(text, match.end())
    inside = text[match.end() : close.start() if close else len(text)]
    name = match["function"]
    found = call_in_tag(name, inside) if name else program_from_json(inside)
    if found is None:
        return match.end(), None
    end = close.end() if close else len(text)
    return end, _Block(found.code, match.start(), end, valid=True, calls=found.calls)


def _fenced_block(text: str, match: re.Match[str], tags: tuple[str, str], parser: Parser) -> tuple[int, _Block | None]:
    fence, start = match["fence"], match.end()
    info = (match["info"] or "").strip(" \t{}.").lower()
    line_end = text.find("\n", start)
    on_one_line = fence in text[start : line_end if line_end >= 0 else len(text)]
    end = text.find(fence, start) + len(fence) if on_one_line else _after_fence(text, fence, start)
    first = _NONSPACE.search(text, start)
    if info in _JSON or (info in _PYTHON and first is not None and first[0] in "{["):
        found = program_from_json(text[start:end].rstrip().rstrip(fence[0]))
        if found is not None:
            return end, _Block(found.code, match.start(), end, valid=True, calls=found.calls)
    if info not in _PYTHON:
        if not on_one_line or info in _JSON:
            return end, None
        start = match.start("info")  # `final_answer(5)` between fences on one line: no language at all
    block = _delimited(text, match.start(), start, fence, tags, parser)
    if not info and (_is_mere_value(block, parser) if block.valid else not looks_like_code(block.code)):
        return end, None
    return (block.end if block.valid else end), block


def _after_fence(text: str, fence: str, start: int) -> int:
    """The place after the line that closes a fence, the end of the text when none does."""
    close = re.compile(rf"^[ \t]*{fence}{fence[0]}*[ \t]*$", re.MULTILINE).search(text, start)
    return close.end() if close else len(text)


def _delimited(text: str, opened: int, start: int, fence: str | None, tags: tuple[str, str], parser: Parser) -> _Block:
    """The block from `start` to the first mark at which Python accepts it; else to the first proper one."""
    first: re.Match[str] | None = None
    commented: _Block | None = None
    for count, mark in enumerate(_patterns(tags, fence)[1].finditer(text, start)):
        if mark["proper"] and first is None:
            first = mark
        if parser.spent or count >= _MOST_ENDS:
            break
        code = parser.accepted(text[start : mark.start()])
        if code is None:
            continue
        block = _Block(code, opened, mark.end(), valid=True)
        if not _ends_in_comment(text, start, mark.start()):
            return commented or block if not code.strip() else block
        # The mark may be part of the comment: a later one at which Python accepts the text is the right one then.
        commented = commented or block
    code = parser.accepted(text[start:])
    if code is not None:
        return _Block(code, opened, len(text), valid=True, closed=False)
    if commented is not None:
        return commented
    if first is not None:
        return _Block(tidied(text[start : first.start()]), opened, first.end(), valid=False)
    return _Block(tidied(text[start:]), opened, len(text), valid=False, closed=False)


def _ends_in_comment(text: str, start: int, end: int) -> bool:
    return text.find("#", max(start, text.rfind("\n", start, end) + 1), end) >= 0


# ----------------------------------------------------------------------------------------------- unmarked programs


def _bare(text: str, parser: Parser) -> Program | Misread | None:
    """A program without any mark: a call in JSON, or Python on its own or below a line or two of prose."""
    found = program_from_prose(text)
    if found is not None:
        return Program(found.code, _thought(found.thought), found.calls)
    invented = _INVENTED.search(text)
    lines = text[: invented.start() if invented else len(text)].split("\n")
    starts: list[int] = []
    for number, line in enumerate(lines):
        label = _CODE_LABEL_BEFORE.match(line)
        if label is not None:
            lines[number] = line = line[label.end() :]
        if line.strip() and looks_like_code(line):
            starts.append(number)
            if len(starts) >= _MOST_STARTS:
                break
    for start in starts:
        for end in _prose_begins(lines, start):
            code = parser.accepted("\n".join(lines[start:end]))
            if code is not None and _does_something(parser.tree(code)):
                return Program(code, _thought("\n".join(lines[:start])))
    if starts and looks_like_code(rest := "\n".join(lines[starts[0] :]), share=0.7) and "\n" in rest.strip():
        return Program(tidied(rest), _thought("\n".join(lines[: starts[0]])))
    return None


def _prose_begins(lines: list[str], start: int) -> Iterator[int]:
    """Places at which a program that begins at line `start` may end, the likeliest first."""
    yield len(lines)
    blanks = [number for number in range(start + 1, len(lines)) if not lines[number].strip()]
    yield from reversed(blanks[:_MOST_STARTS])
    if start + 1 < len(lines):
        yield start + 1


def _does_something(tree: ast.Module | None) -> bool:
    """Whether a text that Python accepts is a program: a single word of prose is a valid expression, too."""
    for node in tree.body if tree is not None else ():
        if isinstance(node, ast.Expr):
            if isinstance(node.value, ast.Call | ast.Await):
                return True
        elif not (isinstance(node, ast.AnnAssign) and node.value is None):
            return True
    return False


# -------------------------------------------------------------------------------------------------------- wording


def _thought(before: str) -> str:
    text = _CODE_LABEL.sub("", before).strip()
    label = _LABEL.match(text)
    return (text[label.end() :] if label else text).strip()


def _is_broken_off(code: str) -> bool:
    """Whether the program ends in the middle, as when a reply reached its limit of tokens."""
    error = parsed(code)
    if not isinstance(error, SyntaxError):
        return False
    message, last = error.msg or "", code.rstrip().count("\n") + 1
    if "never closed" in message or "unexpected EOF" in message:
        return True
    at_end = (error.lineno or 0) >= last
    return at_end and ("unterminated string" in message or "expected an indented block" in message)


_RIGHT_JSON = '{"thought": "one short sentence", "code": "answer = 6 * 7\\nfinal_answer(answer)"}'


def _right_reply(tags: tuple[str, str]) -> str:
    return f"Thought: one short sentence\n{tags[0]}\nanswer = 6 * 7\nfinal_answer(answer)\n{tags[1]}"


def _broken_off(tags: tuple[str, str]) -> str:
    return (
        "Your program breaks off in the middle: the reply got too long, or something is never closed. "
        f"Write a shorter program. A right reply looks like this:\n{_right_reply(tags)}"
    )


def _explanation(text: str, right: str) -> str:
    what = "There is no program in your reply" if text.strip() else "Your reply is empty"
    return (
        f"{what}. If you know the answer, give it with final_answer in a program. "
        f"A right reply looks like this:\n{right}"
    )

"""A grammar under which a model can write nothing but a right reply."""

from __future__ import annotations

import json
import re
from functools import lru_cache

_LONGEST_THOUGHT = 300
_LONGEST_LINE = 240
_MOST_LINES = 80
_MOST_CALLS = 4
_LONGEST_STRING = 4_000
_MOST_ITEMS = 100


@lru_cache(maxsize=16)
def reply_grammar(tags: tuple[str, str]) -> str | None:
    """A GBNF grammar of a reply: a line of thought, then one program between the tags.

    Every repetition is bounded, so that a model that runs on is stopped.

    Returns:
        None for tags that are regular expressions, since nobody can tell which text they stand for.
    """
    if any(not tag or "\n" in tag or re.search(r"[\\*+?|()\[\]{}^$.]", tag) for tag in tags):
        return None
    opening, closing = (_quoted(tag) for tag in tags)
    first = re.sub(r"([\\\]^-])", r"\\\1", tags[1][0])
    # A line that begins like the closing tag is taken for it; within a line the tag's first character is free.
    return (
        f'root ::= "Thought: " thought "\\n" {opening} "\\n" line line{{0,{_MOST_LINES - 1}}} {closing}\n'
        f"thought ::= [^\\n{first}]{{1,{_LONGEST_THOUGHT}}}\n"
        f'line ::= ([^\\n{first}] [^\\n]{{0,{_LONGEST_LINE}}})? "\\n"\n'
    )


@lru_cache(maxsize=16)
def call_grammar(names: tuple[str, ...]) -> str:
    """A GBNF grammar of a reply: a line of thought, then calls of these tools in JSON, one a line.

    Every repetition is bounded, so that a model that runs on is stopped.
    """
    known = " | ".join(_quoted(json.dumps(name, ensure_ascii=False)) for name in names)
    return (
        'root ::= "Thought: " thought "\\n" call ("\\n" call)'
        f"{{0,{_MOST_CALLS - 1}}}\n"
        f"thought ::= [^\\n]{{1,{_LONGEST_THOUGHT}}}\n"
        'call ::= "{\\"name\\": " name ", \\"arguments\\": " object "}"\n'
        f"name ::= {known}\n"
        f'object ::= "{{" (pair (", " pair){{0,{_MOST_ITEMS}}})? "}}"\n'
        'pair ::= string ": " value\n'
        f'array ::= "[" (value (", " value){{0,{_MOST_ITEMS}}})? "]"\n'
        'value ::= object | array | string | number | "true" | "false" | "null"\n'
        f'string ::= "\\"" character{{0,{_LONGEST_STRING}}} "\\""\n'
        'character ::= [^"\\\\\\x00-\\x1f] | "\\\\" (["\\\\/bfnrt] | "u" [0-9a-fA-F]{4})\n'
        'number ::= "-"? [0-9]{1,20} ("." [0-9]{1,20})? ([eE] [-+]? [0-9]{1,3})?\n'
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

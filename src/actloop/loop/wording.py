"""What the model is told of a program's outcome."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from actloop.guest import OUTPUT_NOTICE
from actloop.loop.preview import preview, type_name
from actloop.loop.source import parsed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actloop.executors.session import GuestFailure
    from actloop.loop.effects import ToolUse
    from actloop.values.events import StepFinished

OUTPUT_LIMIT = 5_000
"""Characters of printed output that the model is shown of one step."""

RESULT_LIMIT = 20_000
"""Characters of a tool's result that the model is shown, where it called the tool by a message."""

MESSAGE_LIMIT = 2_000
"""Characters of an error's message that the model is shown."""

RETRY_TEMPERATURE = 0.7
"""Temperature of a reply after the same program gave the same result twice."""

_VARIABLE_LIMIT = 300
_ARGUMENT_LIMIT = 60
_RESULT_LIMIT = 400
_SENTENCE = 20  # characters from which on a text is taken to be more than an id or a name
_MOST_NUMBERS = 8
_MOST_KEYS = 15
_MISTAKEN = frozenset({"TypeError", "ValueError", "KeyError", "LookupError", "AttributeError", "IndexError"})
_NUMBER = re.compile(r"(?<![\w.-])-?\d+(?:,\d{3})*(?:\.\d+)?(?!\d)")
_NOTHING = "The program ended without printing anything and without an answer."
_SANDBOX_NOTICE = re.compile(re.escape(OUTPUT_NOTICE).replace("LIMIT", r"[\d,]{1,20}") + r"\Z")

_SOURCE_LIMIT = 200
_TRACEBACK = "Traceback (most recent call last):\n"
_TOP_LEVEL = re.compile(r'^  File "<step \d+>", line (?P<line>\d{1,9}), in <module>\n    (?P<source>.+)$', re.MULTILINE)
_IN_FUNCTION = re.compile(
    r'^  File "<step \d+>", line \d+, in (?!<(?:module|listcomp|setcomp|dictcomp|genexpr)>$)', re.MULTILINE
)

_LABEL = re.compile(
    r"^(?=[ \t]*(?:Observation|Thought|Task|Tools|Error|New task)[ \t]*:)", re.MULTILINE | re.IGNORECASE
)
_ROLE = re.compile(
    r"<(?=[|\uff5c][^<>\n]{1,40}[|\uff5c]>|/?(?:s|start_of_turn|end_of_turn|tool_call|think)>)|\[(?=/?INST\])"
)


def neutral(text: str) -> str:
    """Text from outside, so that the model does not take it for the framework's own words.

    A line that begins like one of the framework's labels gets a `> ` in front of it, as a quotation; a mark that
    changes the speaker in a model's own format gets a space. Everything else stays as it is.
    """
    return _ROLE.sub(lambda match: f"{match[0]} ", _LABEL.sub("> ", text))


def cut(text: str, limit: int) -> str:
    """A text cut in its middle, saying how much is missing."""
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    tail = limit - head
    return f"{text[:head]}\n[... {len(text) - head - tail:,} characters left out ...]\n{text[len(text) - tail :]}"


def variables(given: Mapping[str, Any]) -> str:
    """Variables by name, with type and preview, one a line."""
    return "\n".join(
        f"{name}: {type_name(value)} = {neutral(preview(value, _VARIABLE_LIMIT))}" for name, value in given.items()
    )


def printed(logs: str, limit: int = OUTPUT_LIMIT) -> str:
    """What a program printed, cut for the model; the sandbox's notice that it kept no more stays whole."""
    kept = _SANDBOX_NOTICE.sub("", logs)
    notice = logs[len(kept) :].rstrip("\n")
    # Cut first: the count is of what was printed, without the marks that make it neutral.
    return neutral(cut(kept.rstrip("\n"), limit)) + notice


def ran(output: Any, logs: str, limit: int = OUTPUT_LIMIT, uses: Sequence[ToolUse] = ()) -> str:
    """The outcome of a program that ran to its end; what its tools returned, if it shows nothing itself."""
    parts = [printed(logs, limit)] if logs.strip() else []
    if output is not None:
        parts.append(f"Value of the last line: {neutral(preview(output, limit))} ({type_name(output)})")
    if parts:
        return "\n".join(parts)
    seen = returned(uses)
    return f"{seen}\n{_NOTHING}" if seen else f"{_NOTHING} Print the values to see them."


def returned(uses: Sequence[ToolUse]) -> str:
    """What tools returned, one call a line: a model that guessed sees what it has got, without asking again."""
    return "\n".join(dict.fromkeys(map(_returned, uses)))


def _returned(use: ToolUse) -> str:
    given = [preview(value, _ARGUMENT_LIMIT) for value in use.args]
    given += [f"{name}={preview(value, _ARGUMENT_LIMIT)}" for name, value in use.kwargs.items()]
    shown = neutral(preview(use.value, _RESULT_LIMIT))
    return f"{use.name}({', '.join(given)}) returned {type_name(use.value)}: {shown}"


def failed(failure: GuestFailure, uses: Sequence[ToolUse] = ()) -> str:
    """The error of a program: kind, message, offending line and a hint; `uses` are the tool calls that went well."""
    message = neutral(cut(failure.message, MESSAGE_LIMIT))
    text = f"{failure.kind}: {message}" if message else failure.kind
    source = failure.source.strip()
    if source:
        text += f"\nin line {failure.line}: {source}"
    caller = _top_level_caller(failure)
    if caller:
        text += f"\ncalled from {neutral(caller)}"
    hint = _hint_from_results(failure, uses) or neutral(failure.hint)
    return f"{text}\nHint: {hint}" if hint else text


def _top_level_caller(failure: GuestFailure) -> str:
    """The statement of the program through whose calls it came to the line that failed, if that is another one."""
    end = failure.traceback.rfind(failure.message) if failure.message else len(failure.traceback)
    # Behind the frames stands the message, which may look like frames itself; before them, other exceptions may stand.
    frames = failure.traceback[: max(end, 0)].rpartition(_TRACEBACK)[2]
    top = _TOP_LEVEL.search(frames)
    if top is None or int(top["line"]) == failure.line or not _IN_FUNCTION.search(frames, top.end()):
        return ""
    return f"line {top['line']}: {cut(top['source'].strip(), _SOURCE_LIMIT)}"


def _hint_from_results(failure: GuestFailure, uses: Sequence[ToolUse]) -> str:
    """What to do when a program took a tool's result for something that it is not."""
    if not uses or failure.kind not in _MISTAKEN:
        return ""
    name, value = uses[-1].name, uses[-1].value
    if isinstance(value, str):
        if len(value) >= _SENTENCE and value[:_RESULT_LIMIT] in failure.message:
            return f"{name} returned a whole text: pass on only the part that is needed, not all of it."
        found = _NUMBER.findall(value[:_RESULT_LIMIT])
        if failure.kind in ("TypeError", "ValueError") and found and failure.source:
            listed = ", ".join(dict.fromkeys(found[:_MOST_NUMBERS]))
            return f"{name} returned a text, not a number; the numbers in it are: {listed}. Write the right one down."
    if isinstance(value, dict) and failure.kind == "KeyError" and value:
        keys = list(islice(cast("dict[Any, Any]", value), _MOST_KEYS))
        return f"{name} returned a dict with these keys: {', '.join(neutral(preview(key, 40)) for key in keys)}."
    return ""


def refused(reason: str) -> str:
    """Why a final answer was not accepted."""
    return f"The answer was not accepted: {reason}"


def same_program(a: str, b: str) -> bool:
    """Whether two programs differ in layout and comments at most."""
    if a.strip() == b.strip():
        return True
    first, second = parsed(a), parsed(b)
    if not isinstance(first, ast.Module) or not isinstance(second, ast.Module):
        return False
    try:
        return ast.dump(first) == ast.dump(second)
    except RecursionError:
        return False


def noting_repetition(step: StepFinished) -> StepFinished:
    """The step, with a word that its program and outcome are those of the step before."""
    word = "This is the same program as before, with the same result. Do something else: print values and look at them."
    if step.error is not None:
        return replace(step, error=f"{step.error}\n{word}")
    return replace(step, observation=f"{step.observation}\n{word}")

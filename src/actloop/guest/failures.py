"""What the host is told of a snippet that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from .hints import Hints
from .values import shortened

if TYPE_CHECKING:
    from types import TracebackType

    from .session import Guest


STEP = "<step "
_MAX_FRAMES = 30


def _own_frames(traceback: TracebackType | None) -> TracebackType | None:
    """A traceback with the frames of the user's program only; of a deep recursion the first and last ones."""
    from types import TracebackType

    own: list[TracebackType] = []
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename.startswith(STEP):
            own.append(traceback)
        traceback = traceback.tb_next
    if len(own) > _MAX_FRAMES and len({entry.tb_lineno for entry in own}) > _MAX_FRAMES // 3:
        own = own[: _MAX_FRAMES // 2] + own[-_MAX_FRAMES // 2 :]
    kept: TracebackType | None = None
    for entry in reversed(own):
        kept = TracebackType(kept, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return kept


def _trim(error: BaseException, seen: set[int]) -> None:
    """Leave the user's frames only in an exception and in all that are linked to it."""
    while id(error) not in seen:
        seen.add(id(error))
        error.__traceback__ = _own_frames(error.__traceback__)
        group = getattr(error, "exceptions", ())
        if isinstance(error, BaseExceptionGroup):
            for part in cast("tuple[BaseException, ...]", group):
                _trim(part, seen)
        if error.__cause__ is not None:
            _trim(error.__cause__, seen)
        if error.__context__ is None:
            return
        error = error.__context__


def describe(error: BaseException, name: str, source: str, guest: Guest) -> dict[str, Any]:
    """What the host is told of a snippet that failed."""
    import traceback

    try:
        message = str(error)
    except Exception:
        message = "<the exception has no readable message>"
    _trim(error, set())
    line = _line_of(error, name)
    lines = source.splitlines()
    if isinstance(error, SyntaxError) and error.text is None and line is not None and 0 < line <= len(lines):
        error.text = lines[line - 1] + "\n"
    text = lines[line - 1].strip() if line is not None and 0 < line <= len(lines) else ""
    try:
        shown = "".join(traceback.TracebackException.from_exception(error, compact=True).format())
    except Exception:
        shown = f"{type(error).__name__}: {message}\n"
    if len(shown) > 10_000:
        shown = f"{shown[:5_000]}\n...\n{shown[-5_000:]}"
    try:
        hint = Hints(guest, name, source).of(error)
    except Exception:
        hint = ""
    return {
        "kind": type(error).__name__[:200],
        "message": shortened(message, 10_000),
        "traceback": shown,
        "line": line,
        "source": shortened(text, 1_000),
        "hint": shortened(hint, 1_000),
    }


def _line_of(error: BaseException, name: str) -> int | None:
    if isinstance(error, SyntaxError) and error.filename == name:
        return error.lineno if type(error.lineno) is int and 0 < error.lineno < 1 << 31 else None
    line, entry = None, error.__traceback__
    while entry is not None:
        if entry.tb_frame.f_code.co_filename == name:
            line = entry.tb_lineno
        entry = entry.tb_next
    return line

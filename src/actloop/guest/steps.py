"""The programs that a session runs: their code, their numbers, and their lines for tracebacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from .failures import STEP

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType


class Steps:
    """Counts programs and keeps their lines, those of functions from other sessions included.

    Attributes:
        count: Number of the latest one.
    """

    def __init__(self) -> None:
        import linecache

        self.count = 0
        self._cache: dict[str, Any] = linecache.cache
        self._coming: dict[str, tuple[str, str]] = {}

    def add(self, source: str) -> str:
        """Keep the lines of the next program; returns the name of its file."""
        self.count += 1
        name = f"{STEP}{self.count}>"
        self._keep(name, source)
        return name

    def _keep(self, name: str, source: str) -> None:
        self._cache[name] = (len(source), None, [line + "\n" for line in source.splitlines()], name)

    def text(self, name: str) -> str:
        """The lines of a program; empty when they are not known any more."""
        return "".join(self._cache[name][2]) if name in self._cache else ""

    def expect(self, files: Mapping[str, str]) -> None:
        """Code of these programs of another session comes: where a name is taken here, its program gets a new one."""
        self._coming = {}
        count = max(self.count, *map(_number, files), 0)
        for name, text in files.items():
            ours = name
            if self.text(name) not in ("", text):
                count += 1
                ours = f"{STEP}{count}>"
            self._coming[name] = (ours, text)

    def placed(self, code: CodeType) -> CodeType:
        """Code under the name that its program has here."""
        ours, _ = self._coming.get(code.co_filename, (code.co_filename, ""))
        if ours == code.co_filename:
            return code
        parts = tuple(self.placed(part) if isinstance(part, type(code)) else part for part in code.co_consts)
        return code.replace(co_filename=ours, co_consts=parts)

    def accept(self) -> None:
        """What came stays: its programs are among the session's own."""
        for name, text in self._coming.values():
            self._keep(name, text)
            self.count = max(self.count, _number(name))
        self._coming = {}


def _number(name: str) -> int:
    digits = name[len(STEP) : -1]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0


_FUTURES = 0x1FF0000  # the flags that `from __future__` sets on a program
_AWAITING = 0x2000  # `ast.PyCF_ALLOW_TOP_LEVEL_AWAIT`
_NO_STATEMENT = ("", *" \t\f\r\n#)]}")
"""What no line begins with that is the first one of a statement."""


def compiled(source: str, name: str) -> list[CodeType]:
    """A program as one or two pieces of code, the last of which has the value of its last statement, if that has one.

    Args:
        source: The program.
        name: Of its file.

    Raises:
        SyntaxError, ValueError, MemoryError, RecursionError, OverflowError: It is none, or too large for a parser.
    """
    try:
        return _in_parts(source, name)
    except Exception:  # noqa: S110 - whatever is wrong with the program is told below
        pass
    return _by_tree(source, name)


def _in_parts(source: str, name: str) -> list[CodeType]:
    """As `compiled`, in half the time, as it makes no tree of Python objects; fails where the last line is not plain.

    The source is parted before the last line that is not indented. If what comes before is a program by itself, and
    what follows is an expression by itself, then together they are the program: nothing is open between them.
    """
    if "\r" in source:
        raise SyntaxError("its lines may end otherwise than they are counted here")
    start = len(source)
    while True:
        start = source.rfind("\n", 0, start)
        if source[start + 1 : start + 2] not in _NO_STATEMENT:
            break
        if start < 0:
            raise SyntaxError("no statement was found")
    before, after = source[: start + 1], source[start + 1 :]
    last = compile("\n" * before.count("\n") + after, name, "eval", _AWAITING, dont_inherit=True)
    if not before:
        return [last]
    if before.endswith("\\\n"):
        raise SyntaxError("the last line goes on one before it")
    first = compile(before, name, "exec", _AWAITING, dont_inherit=True)
    if first.co_flags & _FUTURES:
        raise SyntaxError("the last statement was compiled without them")
    return [first, last]


def _by_tree(source: str, name: str) -> list[CodeType]:
    """As `compiled`, for every program."""
    import ast

    tree = ast.parse(source, name)
    last: ast.Expression | None = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(cast("ast.Expr", tree.body.pop()).value)
    programs: list[CodeType] = [compile(tree, name, "exec", _AWAITING, dont_inherit=True)]
    if last is not None:
        flags = _AWAITING | programs[0].co_flags & _FUTURES
        programs.append(compile(last, name, "eval", flags, dont_inherit=True))
    return programs

"""What is done to a program before Monty sees it, and what is learnt from it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actloop.executors.monty.prelude import LAST
from actloop.values.syntax import syntax_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

INSERTED = len(LAST) + 2
"""Characters that stand before the last expression."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program.

    Attributes:
        source: As the user wrote it.
        tree: Its syntax.
        fed: What Monty is fed: the same, line by line, with the value of the last expression handed over.
        awaits: Whether it uses asyncio or awaits.
        names: What it binds.
        classes: Attributes that objects of its classes may have, which Monty does not tell.
    """

    source: str
    tree: ast.Module
    fed: str
    awaits: bool
    names: frozenset[str]
    classes: dict[str, list[str]]


def read_program(source: str) -> Program:
    """Read a program.

    Raises:
        SyntaxError: It is no Python.
    """
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    try:
        tree = syntax_tree(source)
    except SyntaxError:
        raise
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(f"the program cannot be read: {error or type(error).__name__}") from None
    nodes = list(ast.walk(tree))
    awaiting = (ast.Await, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith)
    return Program(
        source,
        tree,
        _fed(source, tree),
        any(isinstance(node, awaiting) or (isinstance(node, ast.Name) and node.id == "asyncio") for node in nodes),
        frozenset(name for node in nodes for name in _bound(node)),
        {node.name: list(dict.fromkeys(_attributes(node))) for node in nodes if isinstance(node, ast.ClassDef)},
    )


def _fed(source: str, tree: ast.Module) -> str:
    if not tree.body or not isinstance(last := tree.body[-1], ast.Expr):
        return source + "\nNone"
    lines = [line.encode("utf-8", "surrogatepass") for line in source.split("\n")]
    assert last.end_lineno is not None
    assert last.end_col_offset is not None
    first, end = last.lineno - 1, last.end_lineno - 1
    lines[end] = lines[end][: last.end_col_offset] + b"))" + lines[end][last.end_col_offset :]
    start = last.col_offset
    lines[first] = lines[first][:start] + f"{LAST}((".encode() + lines[first][start:]
    return b"\n".join(lines).decode("utf-8", "replace") + "\nNone"


def _bound(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store()):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            for alias in names:
                yield alias.asname or alias.name.partition(".")[0]
        case ast.arg(arg=name):
            yield name
        case ast.ExceptHandler(name=str(name)):
            yield name
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
            yield name
        case _:
            pass


def _attributes(node: ast.ClassDef) -> Iterator[str]:
    """The fields of a dataclass, then what methods set on their first argument."""
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            yield item.target.id
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.args.args:
            own = method.args.args[0].arg
            for part in ast.walk(method):
                match part:
                    case ast.Attribute(value=ast.Name(id=name), attr=attr, ctx=ast.Store()) if name == own:
                        yield attr
                    case _:
                        pass

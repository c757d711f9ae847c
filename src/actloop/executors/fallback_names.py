"""What programs have defined that can be defined again from its source, because it cannot be sent."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from actloop.values.syntax import syntax_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MOST = 1_000
_EVERYTHING = "*"


class Definitions:
    """The source of functions and imports, by name: of those names only that nothing else has bound since."""

    def __init__(self) -> None:
        self.imports: dict[str, str] = {}
        self.functions: dict[str, str] = {}
        self._unsettled: set[str] = set()

    def learn(self, code: str, *, ended: bool) -> None:
        """Take note of what a program bound.

        Args:
            code: The program.
            ended: Whether it ran to its end. Of one that did not, it is not known how far it came.
        """
        try:
            tree = syntax_tree(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return  # it was not run
        # A function that declares a name global may bind it whenever it is called.
        self._unsettled |= {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
        for statement in tree.body:
            self.forget(_bound(statement))
            if not ended:
                continue
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self.imports |= _imports(statement)
            elif name := _defined(statement):
                self.functions[name] = ast.unparse(statement)
        self.forget(self._unsettled)
        for kept in (self.imports, self.functions):
            while len(kept) > _MOST:
                del kept[next(iter(kept))]

    def forget(self, names: Iterable[str]) -> None:
        """Take note that names were bound to something else."""
        for name in names:
            if name == _EVERYTHING:
                self.clear()
            self.imports.pop(name, None)
            self.functions.pop(name, None)

    def copy(self) -> Definitions:
        """The same, for a session that goes its own way from here."""
        other = Definitions()
        other.imports, other.functions = self.imports.copy(), self.functions.copy()
        other._unsettled = self._unsettled.copy()
        return other

    def clear(self) -> None:
        """Take note that any name may have been bound to something else."""
        self.imports.clear()
        self.functions.clear()


def _imports(node: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """A statement for each name that is imported."""
    single: dict[str, str] = {}
    for alias in node.names:
        if alias.name != "*":
            one = (
                ast.Import([alias])
                if isinstance(node, ast.Import)
                else ast.ImportFrom(node.module, [alias], node.level)
            )
            single[_imported(alias)] = ast.unparse(one)
    return single


def _defined(node: ast.stmt) -> str:
    """The function that a statement defines, if it does nothing else when it runs; else nothing."""
    match node:
        case ast.FunctionDef(name=name, decorator_list=[]) | ast.AsyncFunctionDef(name=name, decorator_list=[]):
            given = [*node.args.defaults, *(value for value in node.args.kw_defaults if value is not None)]
            return name if all(isinstance(value, ast.Constant) for value in given) and not _acts(node) else ""
        case _:
            return ""


def _imported(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def _acts(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether annotations would call or bind something."""
    notes = [note for note in (*(item.annotation for item in _parameters(node.args)), node.returns) if note]
    kinds = ast.Call | ast.Await | ast.NamedExpr
    return any(isinstance(part, kinds) for note in notes for part in ast.walk(note))


def _parameters(given: ast.arguments) -> list[ast.arg]:
    more = [item for item in (given.vararg, given.kwarg) if item is not None]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *more]


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module may bind there, or delete."""
    nodes: list[ast.AST] = [statement]
    while nodes:
        node = nodes.pop()
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from map(_imported, names)
            case ast.ExceptHandler(name=str(name)):
                yield name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case _:
                pass
        nodes.extend(_within(node))


def _within(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node that belong to the same scope."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            notes = [item.annotation for item in _parameters(node.args)]
            parts = [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults, *notes, node.returns]
            yield from filter(None, parts)
        case ast.Lambda(args=args):
            yield from filter(None, (*args.defaults, *args.kw_defaults))
        case ast.ClassDef():
            yield from (*node.decorator_list, *node.bases, *node.keywords)
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            # Their own names are theirs alone; those of := are not.
            yield from (part.target for part in ast.walk(node) if isinstance(part, ast.NamedExpr))
        case _:
            yield from ast.iter_child_nodes(node)

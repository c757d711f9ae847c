"""Imports run one way, and `import actloop` loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "actloop"
RANK = {
    "cli": 8,
    "screens": 7,
    "agents": 6,
    "runtime": 5,
    "loop": 4,
    "mcp": 4,
    "models": 3,
    "executors": 3,
    "tools": 3,
    "hub": 3,
    "memory": 3,
    "journal": 3,
    "ui": 3,
    "prompts": 3,
    "values": 2,
    "errors": 1,
    "guest": 1,
}
"""A package may import those of a lower rank, and itself; those of one rank do not know each other at import time."""

HEAVY = (
    "rich", "pydantic", "jinja2", "yaml", "openai", "httpx2", "numpy", "PIL", "pandas", "cyclopts", "xllamacpp",
    "stamina", "sqlite3", "asyncio",
)  # fmt: skip


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """Packages of ours that a module imports, and whether it does so when it is loaded itself."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, at_load: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.ImportFrom):
                module = child.module or ""
                if child.level:
                    folder = path.parents[child.level - 1].relative_to(PACKAGE.parent)
                    module = ".".join([*folder.parts, *([module] if module else [])])
                names = [f"{module}.{alias.name}" for alias in child.names] if module == "actloop" else [module]
                found.extend((name.split(".")[1], at_load) for name in names if name.startswith("actloop."))
            elif isinstance(child, ast.Import):
                found.extend((a.name.split(".")[1], at_load) for a in child.names if a.name.startswith("actloop."))
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            visit(child, at_load and not inside)

    visit(ast.parse(path.read_text()), at_load=True)
    return found


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem in RANK)


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(PACKAGE)) for path in MODULES])
def test_imports_run_one_way(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for other, at_load in imports_of(path):
        assert other in RANK, f"{path} imports actloop.{other}, which has no place in the order"
        if other == own:
            continue
        assert RANK[other] <= RANK[own], f"{path} imports upwards: actloop.{other}"
        if at_load and own in ("ui", "journal", "memory"):
            assert RANK[other] < RANK[own], f"{path} imports its neighbour actloop.{other}"


def test_executors_know_each_other_one_way() -> None:
    """Also for types only: whoever reads one module need not read those that build upon it."""
    folder = PACKAGE / "executors"
    names = {
        path: ".".join(("actloop", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in folder.rglob("*.py")
    }
    modules = {name.removesuffix(".__init__"): path for path, name in names.items()}
    known: dict[str, set[str]] = {}
    for name, path in modules.items():
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        within = {f"{node.module}.{alias.name}" for node in imports for alias in node.names}
        known[name] = ((within | {node.module or "" for node in imports}) & modules.keys()) - {
            name,
            "actloop.executors",
        }
        if path.stem != "__init__":
            packages = {module for module in known[name] if any(one.startswith(f"{module}.") for one in known[name])}
            known[name] -= packages
    list(TopologicalSorter(known).static_order())  # an error names a circle


def test_the_loop_knows_no_concrete_part() -> None:
    for path in (PACKAGE / "loop").glob("*.py"):
        used = {name for name, _ in imports_of(path)}
        assert not used & {"models", "executors", "tools", "journal", "ui"}, f"{path} imports {used}"


def loaded_by(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_by("import actloop") & set(HEAVY)


def test_building_an_agent_class_loads_no_screen_and_no_service() -> None:
    loaded = loaded_by("from actloop import CodeAgent, ScriptedModel, tool")
    assert not loaded & {"rich", "openai", "numpy", "PIL", "pandas", "cyclopts", "xllamacpp"}


def test_sandboxes_do_not_load_the_executor_without_one() -> None:
    assert "actloop.executors.unsafe" not in loaded_by("import actloop.executors.wasm.process")


def test_the_guest_needs_nothing_but_the_standard_library() -> None:
    roots: set[str] = set()
    for path in (PACKAGE / "guest").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                roots |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                roots.add((node.module or "").split(".")[0])
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1, f"{path} imports {ast.unparse(node)}"
    assert {"os", "json", "ast"} <= roots <= sys.stdlib_module_names

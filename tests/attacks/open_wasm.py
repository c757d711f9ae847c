"""Pyodide in Deno with every wall of `WasmExecutor` taken away, in which attacks on it have to succeed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actloop.executors.wasm import WasmExecutor, assets, image, process as deno

if TYPE_CHECKING:
    from collections.abc import Mapping

WALLS: Mapping[str, Mapping[str, str]] = {
    "main.mjs": {
        'permissions: "none"': 'permissions: "inherit"',
        'Deno.permissions.revokeSync({ name: "read" });': "",
    },
    "worker.mjs": {
        "const post =": "const all = Object.getOwnPropertyDescriptors(globalThis);\nconst post =",
        "jsglobals: Object.fromEntries(names.map((name) => [name, nothing]))": "jsglobals: globalThis",
        "delete globalThis.fetch;": (
            "delete globalThis.fetch;\n  for (const name in all) "
            "if (!KEPT.has(name)) Object.defineProperty(globalThis, name, all[name]);"
        ),
    },
    "boot.py": {"    _close_javascript()\n": ""},
}
"""By file: what is a wall, and what stands there without it."""


@dataclass(frozen=True, slots=True)
class OpenPlan(deno.Plan):
    """Deno with every permission, and JavaScript at hand.

    Attributes:
        folder: Where files without walls are written.
    """

    folder: Path = Path()

    def files(self) -> dict[str, Path]:
        """As in `Plan`."""
        for name, walls in WALLS.items():
            text = (deno.HERE / name).read_text()
            for wall, instead in walls.items():
                assert wall in text, f"{name} has another wall now: {wall}"
                text = text.replace(wall, instead)
            (self.folder / name).write_text(text)
        return {**deno.Plan.files(self), "worker": self.folder / "worker.mjs", "boot": self.folder / "boot.py"}

    def command(self, memory: int | None, **task: Any) -> list[str]:
        """As in `Plan`."""
        command = deno.Plan.command(self, memory, **task)
        allowed = [part for part in command if not part.startswith(("--allow-read", "--deny-import", "--no-remote"))]
        flags = [part.replace("--disallow-code-generation-from-strings,", "") for part in allowed]
        main = str(deno.HERE / "main.mjs")
        return [str(self.folder / "main.mjs") if part == main else part for part in [*flags[:2], "-A", *flags[2:]]]

    def confined(self, command: list[str]) -> list[str]:
        """As in `Plan`."""
        return command


class OpenWasmExecutor(WasmExecutor):
    """Without a sandbox.

    Args:
        folder: Where its files are written.
        options: As for `WasmExecutor`.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self._folder = folder
        super().__init__(["*"], **options)

    def _start(self, config: dict[str, Any]) -> deno.DenoProcess:
        found = assets.find_deno(self.deno_path)
        plan = OpenPlan(found, assets.ensure_pyodide(found), None, image.guest_file(), folder=self._folder)
        return deno.DenoProcess(plan, config, self.limits)

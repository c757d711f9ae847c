"""Fetches Pyodide and prepares it, so that the first session starts quickly and needs no network."""

from __future__ import annotations

import sys

from actloop.errors import AgentError
from actloop.executors.wasm import assets, image


def main() -> int:
    """Fetch and prepare; the exit status."""
    try:
        deno = assets.find_deno()
        pyodide = assets.ensure_pyodide(deno, print)
    except AgentError as error:
        print(error, file=sys.stderr)
        return 1
    print(image.ensure_image(deno, pyodide, print) or "Pyodide starts without an image here, and slowly.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

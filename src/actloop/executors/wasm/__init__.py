"""Programs in WebAssembly: Pyodide, which is CPython for WebAssembly, in Deno.

- `assets`: Deno's program and Pyodide's files; `image`: the memory that sessions start from; `packages`: wheels;
- `process`: Deno as a child process. It runs `main.mjs`, which starts `worker.mjs`, which starts Pyodide, which runs
  `boot.py`, which runs the guest;
- `executor`: `WasmExecutor`. `python -m actloop.executors.wasm` fetches and prepares all that it needs.
"""

from __future__ import annotations

from actloop.executors.wasm.executor import WasmExecutor

__all__ = ["WasmExecutor"]

"""Programs in Monty, an interpreter of a part of Python that is written in Rust.

From the bottom up: `values` and `prelude` (what crosses, on both sides), `pool` and `workers` (processes, and those
that are ready), `source` (programs), `lacks` (what Monty cannot do), `engine` and `running` (the thread of a session),
`failures` and `endings`, `snapshots`, `session`, `executor`.
"""

from __future__ import annotations

from actloop.executors.monty.executor import MontyExecutor as MontyExecutor

"""One benchmark's figures of one side, in that side's environment: `python -m benchmarks.child CASE SIDE [quick]`.

Prints them as one line of JSON. The benchmarks call it; users call `benchmarks.run`.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module


def main() -> None:
    case, side, *rest = sys.argv[1:]
    figures = import_module(f"benchmarks.cases.{case}").measure(side, quick=bool(rest))
    sys.stdout.flush()
    print("\n" + json.dumps(figures))


if __name__ == "__main__":
    main()

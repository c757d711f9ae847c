"""The benchmarks. Each module has `LINES`, the rows it fills, and `measure(side, quick=...)`, which fills them.

`measure` gives figures by the keys of the lines. It runs in the environment of its side, in a process of its own.
"""

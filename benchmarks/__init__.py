"""Measures actloop beside smolagents: `python -m benchmarks.run`."""

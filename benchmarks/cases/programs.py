"""Six programs that compute, as a model might write them, against plain CPython."""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.frameworks import framework
from benchmarks.measuring import output_of, seconds
from benchmarks.rows import Figure, Line, about

if TYPE_CHECKING:
    from benchmarks.frameworks import Side

ENOUGH = 0.25
"""Seconds that a program should run for, so that nothing else counts: a slower interpreter gets a smaller size."""


@dataclass(frozen=True, slots=True)
class Computation:
    """A program: `source` with its size for `SIZE`, and the sizes that may be tried, from small to large."""

    name: str
    what: str
    source: str
    sizes: tuple[int, ...]


PROGRAMS = (
    Computation(
        "primes",
        "sieve of primes",
        """
def sieve(limit):
    prime = [True] * (limit + 1)
    found = []
    for number in range(2, limit + 1):
        if prime[number]:
            found.append(number)
            for multiple in range(number * number, limit + 1, number):
                prime[multiple] = False
    return len(found), sum(found)

sieve(SIZE)
""",
        (300, 1_000, 5_000, 20_000, 100_000, 500_000, 2_000_000),
    ),
    Computation(
        "nbody",
        "planets that attract each other",
        """
def simulate(steps):
    masses = [1000.0, 1.0, 0.5, 0.1]
    places = [[0.0, 0.0], [10.0, 0.0], [0.0, 20.0], [-30.0, 0.0]]
    speeds = [[0.0, 0.0], [0.0, 10.0], [-7.0, 0.0], [0.0, -5.0]]
    for step in range(steps):
        for one in range(4):
            for other in range(4):
                if one != other:
                    dx = places[other][0] - places[one][0]
                    dy = places[other][1] - places[one][1]
                    pull = masses[other] / (dx * dx + dy * dy + 0.01) ** 1.5
                    speeds[one][0] += dx * pull * 0.001
                    speeds[one][1] += dy * pull * 0.001
        for one in range(4):
            places[one][0] += speeds[one][0] * 0.001
            places[one][1] += speeds[one][1] * 0.001
    return [round(value, 9) for place in places for value in place]

simulate(SIZE)
""",
        (2, 10, 50, 200, 1_000, 5_000, 20_000, 60_000),
    ),
    Computation(
        "text",
        "words built, joined, split and counted",
        """
def count_words(amount):
    words = []
    state = 7
    for number in range(amount):
        state = (state * 1103515245 + 12345) % 2147483648
        word = ""
        for letter in range(3 + state % 5):
            word += chr(97 + (state >> letter) % 26)
        words.append(word)
    text = " ".join(words).upper().replace("A", "aa")
    counts = {}
    for word in text.split():
        counts[word] = counts.get(word, 0) + 1
    vowels = 0
    for letter in text:
        if letter in "aEIOU":
            vowels += 1
    return len(counts), max(counts.values()), vowels

count_words(SIZE)
""",
        (20, 100, 500, 2_000, 10_000, 50_000, 300_000),
    ),
    Computation(
        "sorting",
        "records grouped and sorted",
        """
def summarise(amount):
    groups = {}
    state = 1
    for number in range(amount):
        state = (state * 16807) % 2147483647
        key = state % 97
        if key not in groups:
            groups[key] = []
        groups[key].append((state % 1000, number))
    totals = []
    for key in sorted(groups):
        ordered = sorted(groups[key], key=lambda record: (-record[0], record[1]))
        totals.append((key, sum([record[0] for record in ordered]), ordered[0][1]))
    totals.sort(key=lambda total: total[1], reverse=True)
    return totals[:3]

summarise(SIZE)
""",
        (50, 200, 1_000, 5_000, 20_000, 100_000, 600_000),
    ),
    Computation(
        "matrix",
        "product of two matrices",
        """
def product(size):
    left = [[(row * column) % 7 for column in range(size)] for row in range(size)]
    right = [[(row + column) % 5 for column in range(size)] for row in range(size)]
    result = []
    for row in left:
        line = []
        for column in range(size):
            total = 0
            for place in range(size):
                total += row[place] * right[place][column]
            line.append(total)
        result.append(line)
    return sum([sum(line) for line in result])

product(SIZE)
""",
        (4, 8, 14, 24, 40, 80, 160, 200),
    ),
    Computation(
        "recursion",
        "Fibonacci numbers by recursion",
        """
def fibonacci(number):
    if number < 2:
        return number
    return fibonacci(number - 1) + fibonacci(number - 2)

fibonacci(SIZE)
""",
        (8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30),
    ),
)

LINES = (
    *(Line(one.name, f"{one.what}: time against CPython's", "times", about(1, 0.1)) for one in PROGRAMS),
    Line("median", "median of the six", "times", about(1, 0.1)),
)

_PLAIN = """
import ast, json, sys, time
tree = ast.parse(sys.argv[1])
last = tree.body.pop()
body, value = compile(tree, "program", "exec"), compile(ast.Expression(last.value), "program", "eval")
took = []
for _ in range(int(sys.argv[2])):
    names = {}
    start = time.perf_counter()
    exec(body, names)
    result = eval(value, names)
    took.append(time.perf_counter() - start)
print(json.dumps([sorted(took)[len(took) // 2], repr(result)]))
"""


def measure(side: Side, *, quick: bool) -> dict[str, Figure]:
    """How many times longer than plain CPython, at the same size; median of several rounds, both in turn."""
    ours = framework(side)
    figures: dict[str, Figure] = {}
    for one in PROGRAMS:
        executor = ours.executor()
        figures[one.name] = _slowdown(one, executor, enough=0.01 if quick else ENOUGH, rounds=1 if quick else 5)
        if hasattr(executor, "cleanup"):
            executor.cleanup()
    figures["median"] = statistics.median(value for value in figures.values() if isinstance(value, float))
    return figures


def _slowdown(one: Computation, executor: Any, enough: float, rounds: int) -> float:
    executor("1")  # a session begins with the first program
    source = ""
    for size in one.sizes:
        source = one.source.replace("SIZE", str(size))
        if seconds(lambda source=source: executor(source)) >= enough:
            break
    return statistics.median(_round(source, executor) for _ in range(rounds))


def _round(source: str, executor: Any) -> float:
    """One run in the executor against CPython's; a program that is over at once is repeated there."""
    plain, expected = _plain(source, 1)
    if plain < 0.1:
        plain, _ = _plain(source, 3 if plain > 0.01 else 101)
    results: list[Any] = []
    took = seconds(lambda: results.append(executor(source).output))
    if repr(results[0]) != expected:
        raise RuntimeError(f"a program gave {results[0]!r}, in CPython {expected}:\n{source}")
    return took / plain


def _plain(source: str, times: int) -> tuple[float, str]:
    """Median seconds in a plain CPython process of the same version, and the result's `repr`."""
    took, result = json.loads(output_of([sys.executable, "-I", "-S", "-c", _PLAIN, source, str(times)]))
    return took, result

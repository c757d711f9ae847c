"""The evaluation's tasks: every check accepts the right answer, and nothing that answers another task."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from evaluation.outcome import Outcome, comparison, totals
from evaluation.run import TASKS_FILE, load_tasks
from evaluation.tasks import TASKS, Task, make_tools

from actloop import Tool, tool

if TYPE_CHECKING:
    from pathlib import Path

RIGHT: dict[str, Any] = {
    "arithmetic": 396, "letters": 3, "primes": 1060, "fibonacci": [0, 1, 1, 2, 3, 5, 8, 13, 21, 34],
    "fahrenheit": "37.78 degrees", "reverse": "tnega edoc", "days": "46 days", "dedupe": [1, 3, 5, 9], "digits": 54,
    "csv": "Globex", "top_word": "apple", "weather": "18", "convert": 231.25, "warmer": "Oslo", "price": 73.5,
    "salary": "$68,250", "tower": 1082.6772, "secret": "X7-PLUM",
    "median": 10.0, "palindromes": 108, "weekday": "Tuesday", "order_total": 205.05, "log_errors": 3,
    "stock_value": 1383.5, "distance": 59.651616, "oldest": "Henk Visser", "exam": 87, "caesar": "hello world",
    "emails": ["amy_k@example.org", "bo.lee@mail.test", "tina@example.org"], "bounce": 0.7776, "meeting": "room 4.17",
    "moving_average": [9.0, 13.0, 18.0, 27.0],
    "multiple": 840, "vowels": 11, "compound": 1973.9, "leap": 25, "collatz": 111, "roman": "MCMXCIV", "minutes": 455,
    "transpose": [[1, 4], [2, 5], [3, 6]], "tank": 60.31, "anagrams": ("stone", "notes"), "warmest": "Graz",
    "csv_filter": ["Adil", "Belen", "Mara"], "port": "8443", "day_of_memo": 70, "flight": "TP764", "pounds": 32.6,
    "phone": "555-0193", "record": "archived", "pages": 191, "density": 170.6, "stations": 16.0,
    "invoices": (3, 655.5),
}  # fmt: skip


def test_there_are_enough_tasks_of_each_kind() -> None:
    assert Counter(task["split"] for task in TASKS if "split" in task) == {"given": 18, "dev": 14, "test": 22}
    assert len({task["name"] for task in TASKS}) == len(TASKS)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task["name"])
def test_a_check_accepts_the_right_answer_only(task: Task) -> None:
    right = RIGHT[task["name"]]
    assert task["check"](right)
    assert task["check"](str(right))
    others: list[Any] = [answer for answer in RIGHT.values() if str(answer) != str(right)]
    others += [None, "", True, [], "I do not know."]
    assert [answer for answer in others if task["check"](answer)] == []


def test_tools_are_made_with_the_frameworks_decorator() -> None:
    tools = make_tools(tool)
    assert all(isinstance(made, Tool) for made in tools.values())
    assert {name for task in TASKS for name in task.get("tools", [])} <= tools.keys()


def test_a_task_file_is_loaded_by_path(tmp_path: Path) -> None:
    assert len(load_tasks(TASKS_FILE).TASKS) == len(TASKS)
    file = tmp_path / "mine.py"
    file.write_text("TASKS = [{'name': 'a', 'prompt': 'b', 'check': bool}]\ndef make_tools(tool): return {}\n")
    assert load_tasks(file).TASKS[0]["name"] == "a"


def test_sums_and_comparison() -> None:
    ours = [Outcome("a", "dev", True, 1, 1000, 50, 2.0), Outcome("b", "test", True, 2, 2000, 50, 3.0)]
    theirs = [Outcome("a", "dev", True, 3, 15000, 100, 20.0), Outcome("b", "test", False, 6, 15000, 100, 30.0)]
    assert [line.split()[:2] for line in totals(ours).splitlines()] == [["dev", "1/1"], ["test", "1/1"], ["all", "2/2"]]
    assert comparison(ours, theirs, "peer").endswith("tasks solved 2.00, input tokens 0.10, time 0.10")

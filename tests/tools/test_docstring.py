from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from actloop.tools.docstring import parse_docstring

GOOGLE = """Finds a book.

    It looks everywhere.

    Example:
        find("Dune")

    Args:
        title: Title of the book: as printed,
            even where it is long.
        *authors (list[str], optional): Who wrote it.
        `year` (`int`): When.

    Returns:
        dict[str, int]: Where it is.

    Raises:
        KeyError: There is no such book.
    """

NUMPY = """Finds a book.

    It looks everywhere.

    Parameters
    ----------
    title : str
        Title of the book: as printed,
        even where it is long.
    authors, year : int, optional
        Who and when.

    Returns
    -------
    dict
        Where it is.

    Notes
    -----
    Slow.
    """

SPHINX = """Finds a book.

    It looks everywhere.

    :param str title: Title of the book: as printed,
        even where it is long.
    :param authors: Who wrote it.
    :type authors: list[str]
    :returns: Where it is.
    :rtype: dict
    :raises KeyError: There is no such book.
    """

TITLE = "Title of the book: as printed, even where it is long."


def test_google() -> None:
    found = parse_docstring(GOOGLE)
    assert found.description == 'Finds a book.\n\nIt looks everywhere.\n\nExample:\n    find("Dune")'
    assert found.parameters == {"title": TITLE, "authors": "Who wrote it.", "year": "When."}
    assert found.types == {"authors": "list[str], optional", "year": "int"}
    assert found.returns == "Where it is."


def test_numpy() -> None:
    found = parse_docstring(NUMPY)
    assert found.description == "Finds a book.\n\nIt looks everywhere."
    assert found.parameters == {"title": TITLE, "authors": "Who and when.", "year": "Who and when."}
    assert found.types == {"title": "str", "authors": "int, optional", "year": "int, optional"}
    assert found.returns == "Where it is."


def test_sphinx() -> None:
    found = parse_docstring(SPHINX)
    assert found.description == "Finds a book.\n\nIt looks everywhere."
    assert found.parameters == {"title": TITLE, "authors": "Who wrote it."}
    assert found.types == {"title": "str", "authors": "list[str]"}
    assert found.returns == "Where it is."


@pytest.mark.parametrize(
    ("text", "description", "parameters"),
    [
        (None, "", {}),
        ("", "", {}),
        ("One line.", "One line.", {}),
        ("Args:\n    a: x", "", {"a": "x"}),
        ("D.\n\nArgs:\n    a: x\n\n    b: y", "D.", {"a": "x", "b": "y"}),
        ("D.\n\nArgs:\n    a: x\n        see: this\n    b: y", "D.", {"a": "x see: this", "b": "y"}),
        ("D.\n\nArguments:\n  a (int): x", "D.", {"a": "x"}),
        ("D.\n\nArgs:\n", "D.", {}),
        ("D.\n\nNote: nothing here is a section.", "D.\n\nNote: nothing here is a section.", {}),
        ("D.\nArgs:\n    a:\n        on the next line", "D.", {"a": "on the next line"}),
    ],
)
def test_corners(text: str | None, description: str, parameters: dict[str, str]) -> None:
    found = parse_docstring(text)
    assert (found.description, found.parameters) == (description, parameters)


@pytest.mark.parametrize(
    ("returns", "text"),
    [
        ("The price: in euros.", "The price: in euros."),
        ("float: The price.", "The price."),
        ("dict[str, int]: Counts.", "Counts."),
        ("A list.\n        Of things.", "A list. Of things."),
    ],
)
def test_returns(returns: str, text: str) -> None:
    assert parse_docstring(f"D.\n\n    Returns:\n        {returns}\n    ").returns == text


@given(st.lists(st.sampled_from(["Args:", "  a: b", ":param x: y", "----", "Returns:", "", "text", "Notes", "    c"])))
def test_no_docstring_is_refused(lines: list[str]) -> None:
    found = parse_docstring("\n".join(lines))
    assert all(isinstance(text, str) for text in [found.description, found.returns, *found.parameters.values()])

from __future__ import annotations

import keyword

import pytest
from hypothesis import given, strategies as st

from actloop.tools.names import python_name, python_names


@pytest.mark.parametrize(
    ("name", "alias"),
    [
        ("search", "search"),
        ("print", "print"),
        ("class", "class_"),
        ("None", "None_"),
        ("match", "match"),
        ("image-generator", "image_generator"),
        ("web.search/v2", "web_search_v2"),
        ("2fast", "_2fast"),
        ("größe", "größe"),
        ("x²", "x2"),
        ("", "_"),
    ],
)
def test_python_name(name: str, alias: str) -> None:
    assert python_name(name) == alias


@given(st.text())
def test_an_alias_is_always_a_name(name: str) -> None:
    alias = python_name(name)
    assert alias.isidentifier()
    assert not keyword.iskeyword(alias)


@given(st.lists(st.text(alphabet="a-_.2", max_size=3), unique=True))
def test_aliases_differ(names: list[str]) -> None:
    aliases = python_names(names)
    assert list(aliases) == names
    assert len(set(aliases.values())) == len(names)


def test_a_name_that_python_allows_keeps_it() -> None:
    assert python_names(["a-b", "a.b", "a_b"]) == {"a-b": "a_b_2", "a.b": "a_b_3", "a_b": "a_b"}

"""Schemas as strangers may send them: right ones, broken ones, and values to try on them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from actloop.tools.schema import AUTHORIZED_TYPES

words = st.text(max_size=4)
odd: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 3, "", "text", [], [3], ["a", None], {}, {"type": 3}, {"": ""}]
)
keywords = [
    "type", "enum", "const", "anyOf", "oneOf", "items", "prefixItems", "properties", "additionalProperties",
    "required", "nullable", "$ref", "$defs", "format", "description", "default",
]  # fmt: skip
plain = st.fixed_dictionaries({"type": st.sampled_from(AUTHORIZED_TYPES), "description": words})
broken = st.dictionaries(st.sampled_from(keywords), odd, max_size=4)
reference = st.just("#/$defs/T")


def _deeper(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        st.fixed_dictionaries({"type": st.just("array"), "prefixItems": st.lists(inner, max_size=2)}),
        st.fixed_dictionaries({"type": st.just("object"), "properties": st.dictionaries(words, inner, max_size=2)}),
        st.fixed_dictionaries({"type": st.just("object"), "additionalProperties": inner}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, max_size=3), "nullable": st.booleans()}),
        st.fixed_dictionaries({"$ref": reference, "$defs": st.fixed_dictionaries({"T": inner})}),
    )


schemas: st.SearchStrategy[dict[str, Any]] = st.recursive(
    plain | broken | st.fixed_dictionaries({"$ref": reference}), _deeper, max_leaves=6
)

values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), words, st.binary(max_size=3), st.decimals(),
        st.fractions(), st.integers().map(str), st.floats().map(str), st.dates(), st.just(object()),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(words, inner, max_size=3),
        st.lists(inner, max_size=2).map(tuple),
        st.sets(st.integers(), max_size=2),
    ),
    max_leaves=6,
)  # fmt: skip

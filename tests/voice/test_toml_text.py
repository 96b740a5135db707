import tomllib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrane.voice.toml_text import as_toml

# TOML has no halves of characters.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
plain = text | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
values = st.recursive(
    plain | st.lists(plain, max_size=3),
    lambda inner: (
        st.lists(st.lists(plain, max_size=3), max_size=3) | st.dictionaries(text, inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(text, values, max_size=4))
def test_what_is_written_is_read_back(tables):
    assert tomllib.loads(as_toml(tables)) == tables


def test_tables_keep_their_order():
    tables = {"b": {"z": {}, "a": {"y": 1}}, "a": {}}
    read = tomllib.loads(as_toml(tables))
    assert [list(read), list(read["b"])] == [["b", "a"], ["z", "a"]]


def test_numbers_of_arrays_are_numbers():
    tables = {
        "count": np.int64(3),
        "rate": np.float32(0.5),
        "wide": np.float64(0.1),
        "pair": (1, 2),
    }
    assert tomllib.loads(as_toml(tables)) == {"count": 3, "rate": 0.5, "wide": 0.1, "pair": [1, 2]}


def test_half_a_character_becomes_a_question_mark():
    assert tomllib.loads(as_toml({"file": "a\udc80b"})) == {"file": "a?b"}


def test_it_reads_well():
    assert as_toml({"one": {"two": {"a": 1.0, "b-c": "x"}}}) == '[one.two]\na = 1.0\nb-c = "x"\n'


@pytest.mark.parametrize("value", [None, b"bytes", [{"a": 1}], {1, 2}])
def test_what_has_no_place_in_it_is_refused(value):
    with pytest.raises(TypeError, match="has no place"):
        as_toml({"key": value})

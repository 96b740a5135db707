import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrane.store.keyed_lines import KeyedLines

KEYS = st.sampled_from([character * 32 for character in "abcdef0123"])
VALUES = st.recursive(
    st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.lists(st.tuples(KEYS, st.none() | VALUES)))
def test_lines_are_a_dictionary_whose_last_change_stands_last(changes):
    lines, expected = KeyedLines.of({"head": 1}), {}
    for key, value in changes:
        lines = lines.put(key, value)
        expected.pop(key, None)
        if value is not None:
            expected[key] = value
    assert list(lines.items()) == list(expected.items())
    assert lines.count() == len(expected)
    assert all(lines.get(key) == value for key, value in expected.items())
    assert lines.get("9" * 32) is None
    assert lines.head() == {"head": 1}


@given(st.dictionaries(KEYS, VALUES), st.sets(KEYS))
def test_some_lines_are_kept_and_the_first_one_changed(values, kept):
    lines = KeyedLines.of("old")
    for key, value in values.items():
        lines = lines.put(key, value)
    lines = lines.keeping(kept).headed("new")
    assert dict(lines.items()) == {key: value for key, value in values.items() if key in kept}
    assert lines.head() == "new"


@given(st.binary() | st.binary().map(lambda some: b"{}\n" + some + b"\n"))
def test_any_content_is_read_or_refused(content):
    lines = KeyedLines(content)
    try:
        lines.head()
        items = list(lines.items())
    except ValueError:
        return
    assert len(items) == lines.count()


@pytest.mark.parametrize("nested", [b"[" * 100_000, b'{"a":' * 100_000])
def test_a_line_that_is_nested_too_deeply_is_refused(nested):
    with pytest.raises(ValueError, match="nested"):
        KeyedLines(nested + b"\n").head()

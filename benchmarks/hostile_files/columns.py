"""Databases that are sound pickles of columns that are not: what only their contents betray."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

from benchmarks.hostile_files.damage import Chance, Damage, any_of
from membrane.store.columns import TEXT_COLUMNS, Texts
from membrane.store.database_file import PICKLE_PROTOCOL
from membrane.store.unpickling import load_plain

DEEP = 100_000
"""Brackets within brackets."""

HOSTILE_BYTES = (
    *(b"", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"x" * 10_000, b"9" * 5_000),
    *(b"../../x", b"a\nb", b"\x1b[2J", "\u202eanna".encode(), "\U0001f600".encode()),
    *(b"[" * DEEP, b'{"a":' * DEEP, b"{}", b"[]", b"null", b"NaN", b'"x"', b"1e999"),
)
"""What a text may hold: nothing, no text at all, controls, numbers of 5,000 digits, deep JSON."""

HOSTILE_VALUES = (
    *(None, True, 0, -1, 1 << 70, 1e308, -1e308, float("nan"), float("inf"), "", "x", "1e400"),
    *("x" * 10_000, "\x1b[2J\n", "\ud800", [], [[]], {}, {"x": None}, [1] * 1000),
)

HOSTILE_NUMBERS = (0, 1, -1, 2, 255, 65_535, 2**31 - 1, 2**32 - 1, -(2**31), 2**62, 2**63 - 1)


def rewrite_columns(damage: Damage) -> None:
    """Put into one column of the sound database what does not belong there."""
    import joblib

    mapping = dict(load_plain(damage.sound.content))
    any_of(REWRITINGS, damage.chance)(mapping, damage.chance)
    file = io.BytesIO()
    try:
        joblib.dump(mapping, file, protocol=PICKLE_PROTOCOL)
    except UnicodeEncodeError:  # half a surrogate pair is no text that a pickle could hold
        return
    damage.content[:] = file.getvalue()


def _set_value(mapping: dict[str, Any], chance: Chance) -> None:
    name = any_of(list(mapping), chance)
    values = [*HOSTILE_VALUES, [any_of(HOSTILE_VALUES, chance)], np.zeros(3)]
    mapping[name] = any_of(values, chance)


def _drop(mapping: dict[str, Any], chance: Chance) -> None:
    del mapping[any_of(list(mapping), chance)]


def _set_numbers(mapping: dict[str, Any], chance: Chance) -> None:
    name, array = _any_array(mapping, chance)
    changed = array.copy()
    for _ in range(chance.integers(1, 4)):
        place = int(chance.integers(array.size))
        with np.errstate(over="ignore"):
            number = np.array(any_of(HOSTILE_NUMBERS, chance)).astype(array.dtype)
        if array.dtype.kind == "f":
            number = any_of([np.nan, np.inf, -np.inf, 3e38, 0, number], chance)
        changed.flat[place] = number
    mapping[name] = changed


def _set_shape(mapping: dict[str, Any], chance: Chance) -> None:
    name, array = _any_array(mapping, chance)
    mapping[name] = any_of(
        [array.ravel(), array[:-1], array[:0], array[np.newaxis], np.append(array, array[:1])],
        chance,
    )


def _set_type(mapping: dict[str, Any], chance: Chance) -> None:
    name, array = _any_array(mapping, chance)
    with np.errstate(all="ignore"):
        mapping[name] = array.astype(any_of(["f4", "f8", "i8", "u1", "u2", ">f4", "?"], chance))


def _set_text(mapping: dict[str, Any], chance: Chance) -> None:
    _replace_text(mapping, any_of(TEXT_COLUMNS, chance), any_of(HOSTILE_BYTES, chance), chance)


def _set_fact(mapping: dict[str, Any], chance: Chance) -> None:
    """Put another value into what is said of a person or an utterance as JSON."""
    column = any_of(("facts", "utterance_facts"), chance)
    facts = json.loads(_texts(mapping, column)[0])
    inner = facts["quality"] if "quality" in facts and chance.random() < 0.5 else facts
    name = any_of([*inner, "unknown"], chance)
    inner[name] = any_of(HOSTILE_VALUES, chance)
    if chance.random() < 0.2:
        del inner[name]
    _replace_text(mapping, column, json.dumps(facts).encode(), chance)


def _replace_text(mapping: dict[str, Any], column: str, content: bytes, chance: Chance) -> None:
    texts = _texts(mapping, column)
    contents = [texts.content(row) for row in range(len(texts))]
    contents[int(chance.integers(len(contents)))] = content
    changed = Texts.of_bytes(contents)
    mapping[f"{column}_characters"] = changed.characters
    mapping[f"{column}_starts"] = changed.starts


def _texts(mapping: dict[str, Any], column: str) -> Texts:
    return Texts(mapping[f"{column}_characters"], mapping[f"{column}_starts"])


def _any_array(mapping: dict[str, Any], chance: Chance) -> tuple[str, np.ndarray]:
    arrays = [name for name, value in mapping.items() if isinstance(value, np.ndarray)]
    name = any_of(arrays, chance)
    return name, mapping[name]


REWRITINGS = (_set_value, _drop, _set_numbers, _set_shape, _set_type, _set_text, _set_fact)

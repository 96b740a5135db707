"""What the docstrings of the package promise to tell."""

import ast
import re
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "membrane"
OTHERS = ("audio", "evaluation", "models", "phrase", "protection", "store", "system")
"""Rooms that are not held to this yet."""

SECTIONS = ("Parameters", "Attributes", "Other Parameters")
NAME = re.compile(r"`(membrane(?:\.\w+)+)`")
ENTRY = re.compile(r"[\w*]+(, [\w*]+)*( : .*)?$")


def _docstrings():
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] in OTHERS:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node)
                if text:
                    where = path.relative_to(PACKAGE.parent).as_posix()
                    yield f"{where}:{getattr(node, 'name', '')}", text


def _undescribed(text):
    """Return the entries of a docstring that are listed without a word about them."""
    lines = text.splitlines()
    inside, found = False, []
    for place, line in enumerate(lines):
        following = lines[place + 1] if place + 1 < len(lines) else ""
        if following and set(following) == {"-"}:
            inside = line in SECTIONS
        elif inside and ENTRY.match(line) and not following.startswith("    "):
            found.append(line)
    return found


def test_a_parameter_that_is_listed_is_described():
    found = {where: entries for where, text in _docstrings() if (entries := _undescribed(text))}
    assert found == {}


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("One.\n\nParameters\n----------\na : int\nb : str\n    Told.", ["a : int"]),
        ("One.\n\nParameters\n----------\na : int\n    Told.\n\nRaises\n------\nb", []),
    ],
)
def test_an_entry_without_a_description_is_found(text, entries):
    assert _undescribed(text) == entries


def _is_there(name):
    """Tell whether a dotted name is a module, or something that a module has."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            module = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        return count == len(parts) or _has(module, ".".join(parts[count:]))
    return False


def _has(module, path):
    try:
        attrgetter(path)(module)
    except AttributeError:
        return False
    return True


def test_every_name_that_the_text_refers_to_exists():
    pytest.importorskip("torch")
    found = {
        (path.relative_to(PACKAGE.parent).as_posix(), name)
        for path in PACKAGE.rglob("*.py")
        for name in NAME.findall(path.read_text(encoding="utf-8"))
    }
    assert len(found) > 20
    assert {(where, name) for where, name in found if not _is_there(name)} == set()


@pytest.mark.parametrize(
    ("name", "is_there"),
    [
        ("membrane.voice.judge", True),
        ("membrane.voice.judge.Judge", True),
        ("membrane.voice.jury", False),
        ("membrane.voice.judge.Jury", False),
    ],
)
def test_a_name_that_is_gone_is_found(name, is_there):
    assert _is_there(name) is is_there

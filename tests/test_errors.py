import inspect
import re

import pytest

from membrane import errors
from membrane.errors import MembraneError

CODES = {
    "MembraneError": 2,
    "LockedOut": 1,
    "UsageError": 2,
    "InvalidName": 2,
    "NoSuchFile": 2,
    "UnusableRecording": 3,
    "UndecodableAudio": 3,
    "RecordingTooLong": 3,
    "PoorQuality": 3,
    "RoomNotQuiet": 3,
    "Disagreement": 3,
    "PersonError": 4,
    "NameTaken": 4,
    "UnknownName": 4,
    "StoreError": 5,
    "StoreDamaged": 5,
    "StoreUnreadable": 5,
    "StoreLocked": 5,
    "WrongKey": 5,
    "NotTheOwner": 5,
    "StoreUnwritable": 5,
    "Unavailable": 6,
    "MicrophoneUnavailable": 6,
    "EngineUnavailable": 6,
    "ModelUnavailable": 6,
    "EncoderMismatch": 6,
    "OutputUnwritable": 7,
    "Declined": 130,
}
"""As the exit codes of the command are promised to scripts: changing one breaks them."""

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and value.__module__ == "membrane.errors"
}
BRANCH = re.compile(r"^ *(?P<stem>[│├└─ ]*)(?P<name>[A-Z]\w+)(?P<code> +\d+)?")


def drawn_tree():
    """Return {name: (parent, code or None)} as the docstring of the module draws it."""
    tree, above = {}, {}
    for line in inspect.cleandoc(errors.__doc__).split("::\n")[1].splitlines():
        branch = BRANCH.match(line)
        if not branch or ("─" not in line and branch["name"] != "MembraneError"):
            continue
        depth = len(branch["stem"]) // 4
        above[depth] = branch["name"]
        tree[branch["name"]] = (above.get(depth - 1), branch["code"] and int(branch["code"]))
    return tree


def test_every_error_has_its_exit_code():
    assert {name: error.exit_code for name, error in CLASSES.items()} == CODES


def test_the_tree_that_is_drawn_is_the_tree_of_classes():
    parents = {name: error.__bases__[0].__name__ for name, error in CLASSES.items()}
    parents["MembraneError"] = None
    assert {name: parent for name, (parent, _) in drawn_tree().items()} == parents


def test_the_codes_that_are_drawn_are_those_of_the_classes():
    drawn = {name: code for name, (_, code) in drawn_tree().items() if code is not None}
    assert drawn == {name: CODES[name] for name in drawn}
    assert set(drawn.values()) == set(CODES.values())


def test_only_a_locked_name_ends_like_a_rejection_and_no_error_like_an_acceptance():
    codes = {name: error.exit_code for name, error in CLASSES.items()}
    assert [name for name, code in codes.items() if code in {0, 1}] == ["LockedOut"]
    assert codes["LockedOut"] == 1


@pytest.mark.parametrize("name", CODES)
def test_every_error_is_a_membrane_error_with_one_base_and_a_meaning(name):
    error = CLASSES[name]
    assert issubclass(error, MembraneError)
    assert len(error.__bases__) == 1
    assert error.__doc__
    assert str(error("what happened: what to do")) == "what happened: what to do"

import importlib
import inspect
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

import membrane
from membrane import errors

NAMES = {"Membrane", "Utterance", "Decision", "__version__"}
ERRORS = {name for name, value in vars(errors).items() if inspect.isclass(value)}
HEAVY = ("numpy", "scipy", "joblib", "onnxruntime", "soundfile", "typer", "rich")


def printed_by(code):
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return shown.stdout.strip()


def test_the_public_names_are_these_and_no_others():
    assert set(membrane.__all__) == NAMES | ERRORS
    assert len(membrane.__all__) == len(set(membrane.__all__))


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("Membrane", "membrane.login.membrane"),
        ("Utterance", "membrane.audio.utterance"),
        ("Decision", "membrane.login.decision"),
        ("PoorQuality", "membrane.errors"),
    ],
)
def test_a_public_name_is_the_one_of_its_module(name, home):
    assert getattr(membrane, name) is getattr(importlib.import_module(home), name)


def test_every_public_name_can_be_had_and_is_listed():
    for name in membrane.__all__:
        assert getattr(membrane, name) is not None
        assert name in dir(membrane)


def test_a_star_brings_them_all():
    code = "from membrane import *; print(Membrane.__name__, Utterance.__name__, Decision.__name__)"
    assert printed_by(code) == "Membrane Utterance Decision"


def test_another_name_is_no_attribute():
    with pytest.raises(AttributeError, match="module 'membrane' has no attribute 'Encoder'"):
        membrane.Encoder  # noqa: B018
    with pytest.raises(ImportError):
        from membrane import nothing  # noqa: F401


def test_importing_membrane_is_light():
    code = f"import sys, membrane; print([name for name in {HEAVY} if name in sys.modules])"
    assert printed_by(code) == "[]"


def test_errors_can_be_caught_without_importing_what_is_heavy():
    code = (
        "import sys; from membrane import MembraneError, PoorQuality;"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert printed_by(code) == "[]"


def test_the_version_is_one_that_packages_have():
    assert re.fullmatch(r"\d+\.\d+\.\d+", membrane.__version__)
    try:
        installed = version("membrane-voice-login")
    except PackageNotFoundError:
        pytest.skip("membrane is not installed here")
    assert installed == membrane.__version__


def test_type_checkers_know_the_public_names(tmp_path):
    pytest.importorskip("mypy")
    user = tmp_path / "user.py"
    user.write_text(
        "from membrane import Decision, Membrane, PoorQuality, Utterance\n"
        "def let_in(membrane: Membrane, utterance: Utterance) -> bool:\n"
        "    decision: Decision = membrane.verify('ada', utterance)\n"
        "    reveal_type(decision.accepted)\n"
        "    return decision.accepted\n"
    )
    shown = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={tmp_path}", str(user)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'Revealed type is "bool"' in shown.stdout.replace("builtins.", ""), shown.stdout
    assert "user.py:1" not in shown.stdout

import os
from functools import cache
from pathlib import Path

import pytest

from tests.virtual_microphone import VirtualMicrophone, missing_programs

RECORDINGS = Path(__file__).parent / "recordings"
SHARED_SPEECH = Path(__file__).resolve().parents[2] / "shared" / "speech"
LOOKS = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES")


@pytest.fixture(autouse=True)
def membrane_home(tmp_path, monkeypatch):
    """The folder that all data goes to, a new one for each test; nothing else is set."""
    for name in [*LOOKS, *(name for name in os.environ if name.startswith("MEMBRANE_"))]:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "membrane-home"
    monkeypatch.setenv("MEMBRANE_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def recordings():
    """The folder of synthetic voices: a folder for each person, the words in the file's name."""
    return RECORDINGS


@pytest.fixture(scope="session")
def recording():
    """Return the path of a recording: ``recording("ada", "login", 0)`` is her first login."""

    def path_of(person, purpose, number=0):
        return sorted((RECORDINGS / person).glob(f"{purpose}*.flac"))[number]

    return path_of


@pytest.fixture(scope="session")
def words_of():
    """Return what is said in a recording, as its name tells."""
    return lambda path: path.stem.split("-", 1)[1].replace("-", " ")


@pytest.fixture(scope="session")
def utterance_of(recording):
    """Return a recording, read once: ``utterance_of("ada", "enrol", 2)``."""
    from membrane.audio.files import read_utterance

    @cache
    def read(person, purpose, number=0):
        return read_utterance(recording(person, purpose, number))

    return read


@pytest.fixture(scope="session")
def shared_speech():
    """The folder of real speech, which is not part of the project."""
    if not SHARED_SPEECH.is_dir():
        pytest.skip("the folder shared/speech with real recordings is not here")
    return SHARED_SPEECH


@pytest.fixture(scope="session")
def virtual_microphone():
    """A microphone that hears what the test plays; without PulseAudio only CI insists on it."""
    missing = missing_programs()
    if missing and os.environ.get("CI"):
        pytest.fail(f"CI must test the microphone, but {', '.join(missing)} is not installed")
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed: apt install pulseaudio")
    with VirtualMicrophone() as microphone:
        yield microphone

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from functools import cache
from itertools import cycle
from pathlib import Path

import pytest

from membrane.__main__ import run
from membrane.settings import EVALUATING
from tests.virtual_microphone import VirtualMicrophone, missing_programs

RECORDINGS = Path(__file__).parent / "recordings"
SHARED_SPEECH = Path(__file__).resolve().parents[2] / "shared" / "speech"
MEMBRANE = (sys.executable, "-m", "membrane")
LOOKS = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES")


# Whoever runs the tests in the background may have Ctrl-C ignored, and programs inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
def examiner():
    """Return what looks at utterances as a Membrane with the usual settings does."""
    from membrane.login.examine import Examiner
    from membrane.login.voices import Voices, words_of
    from membrane.settings import Settings

    return Examiner(Voices(Settings()).own, words=words_of(Settings()))


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


@pytest.fixture
def answer(capsys):
    """Run a command and return its exit code and what it answered."""

    def run_for(*arguments):
        code = run([str(argument) for argument in arguments])
        return code, capsys.readouterr().out

    return run_for


@pytest.fixture
def plain(answer):
    """Run a command with ``--json`` and return its exit code and the value."""

    def run_for(*arguments):
        code, text = answer(*arguments, "--json")
        (line,) = text.splitlines()
        return code, json.loads(line)

    return run_for


@pytest.fixture
def environment(membrane_home):
    """The environment of a program that runs this Membrane with the test's own home."""
    return {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
        "OMP_NUM_THREADS": "1",
        "MEMBRANE_HOME": str(membrane_home),
    }


@pytest.fixture
def program(environment):
    """Run Membrane as a process of its own: ``program("list", redirect=">&-")``."""

    def run(*arguments, redirect="", stdin="", **variables):
        return subprocess.run(
            ["sh", "-c", f'exec "$@" {redirect}', "sh", *MEMBRANE, *arguments],
            env={**environment, **variables},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def terminal(environment):
    """Run Membrane in a terminal: ``terminal("verify", columns=40)``; see `Terminal`."""
    from tests.pseudo_terminal import Terminal

    with ExitStack() as running:

        def run(*arguments, also=(), **options):
            return running.enter_context(
                Terminal([*MEMBRANE, *arguments], {**environment, **dict(also)}, **options)
            )

        yield run


@pytest.fixture(scope="session")
def three_enrolled(recording, tmp_path_factory):
    """A database of ada, boris and clara, each enrolled from three recordings."""
    database = tmp_path_factory.mktemp("three") / "voiceprints.joblib"
    for name in ("ada", "boris", "clara"):
        files = [("-f", str(recording(name, "enrol", number))) for number in range(3)]
        options = ["-u", name, "--consent", "--database", str(database)]
        assert run(["enroll", *options, *(part for file in files for part in file)]) == 0
    return database


@pytest.fixture
def enrolled(three_enrolled, membrane_home):
    """The test's home, with ada, boris and clara in its database."""
    membrane_home.mkdir()
    shutil.copy(three_enrolled, membrane_home)
    return membrane_home


UNGUARDED = {**EVALUATING, "scores": "show"}
"""Settings of tests, and of evaluators, that judge the same recordings again and again."""


@pytest.fixture(scope="session")
def unguarded():
    """Settings with which nothing is counted, remembered or hidden."""
    return dict(UNGUARDED)


@pytest.fixture
def evaluating(monkeypatch):
    """Let every command count, remember and hide nothing."""
    for name, value in UNGUARDED.items():
        monkeypatch.setenv(f"MEMBRANE_{name.upper()}", value)


@pytest.fixture
def speak(virtual_microphone, tmp_path):
    """Let a synthetic voice say digits or words to the microphone: ``speak("edgar", "4 7 1")``."""
    if shutil.which("espeak-ng") is None:
        if os.environ.get("CI"):
            pytest.fail("CI must speak to the microphone, but espeak-ng is not installed")
        pytest.skip("espeak-ng is not installed: apt install espeak-ng")
    import soundfile

    from scripts.make_recordings import PEOPLE, RATE, Take, record, spoken

    path = tmp_path / "spoken.wav"
    # Nobody says a digit twice in the very same way: that is a recording, and is refused.
    # Slower, rather than faster: of too quick a prompt too little speech is heard.
    changes = cycle((-2, -4, 2, -3, -5, 3))

    def say(person, text):
        text = spoken(text.replace(" ", "")) if text[0].isdigit() else text
        samples = record(PEOPLE[person], Take("spoken", text, next(changes)), seed=0)
        soundfile.write(path, samples, RATE)
        virtual_microphone.say(path)

    return say

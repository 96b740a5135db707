import os
import random
import resource
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from membrane.errors import EngineUnavailable, ModelUnavailable, Unavailable, UsageError
from membrane.models.fetching import fetch_model
from membrane.models.registry import find, place_of
from membrane.phrase.recognizer import load_recognizer
from membrane.phrase.recognizers import deepspeech
from membrane.phrase.recognizers.deepspeech import DeepSpeechRecognizer

ROOT = Path(__file__).resolve().parents[3]
SMOKE = ROOT.parent / "shared" / "speech" / "deepspeech-smoke"
MODEL, SCORER = SMOKE / "model.tflite", SMOKE / "pruned_lm.scorer"
FILES = {"model": (MODEL, 8), "scorer": (SCORER, 52)}
"""What may be damaged, and how many bytes of it are its header."""

PATIENCE_S = 12
"""Less than the engine's own limit for the sentence, 14 s."""

needs_smoke = pytest.mark.skipif(
    not SMOKE.is_dir(), reason="the tiny DeepSpeech model of ../shared/speech is not here"
)
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="children are found in /proc, which is not here"
)


@pytest.fixture(scope="session")
def library(request):
    model = find("deepspeech-library")
    if place_of(model).exists():
        return place_of(model)
    folder = Path(request.config.cache.mkdir("deepspeech"))
    try:
        return fetch_model(model, folder / model.file)
    except ModelUnavailable as error:
        pytest.skip(f"DeepSpeech's library is not here: {error}")


@pytest.fixture(scope="module")
def sentence():
    with wave.open(str(SMOKE / "LDC93S1.wav")) as file:
        stored = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return stored.astype(np.float32) / 32768


@pytest.fixture(scope="module")
def words():
    return (SMOKE / "transcript.txt").read_text(encoding="utf-8").strip()


@pytest.fixture
def recognizer(library):
    return DeepSpeechRecognizer(library=library, model=MODEL, scorer=SCORER)


def _damage():
    """Return what is done to a file, by name: a function of its bytes and of its header's size."""
    kinds = {
        "empty": lambda whole, head: b"",
        "text": lambda whole, head: b"This is not a model.\n" * 500,
        "only its header": lambda whole, head: whole[:head],
        "zeros after its header": lambda whole, head: whole[:head] + bytes(len(whole) - head),
    }
    for length in (1, 7, 30, 100, 1_000, 10_000, 100_000):
        kinds[f"cut to {length}"] = lambda whole, head, length=length: whole[:length]
    for seed in range(3):
        kinds[f"noise after its header {seed}"] = lambda whole, head, seed=seed: (
            whole[:head] + random.Random(seed).randbytes(len(whole) - head)
        )
    return kinds


def _flipped(whole, head, seed):
    generator, flipped = random.Random(seed), bytearray(whole)
    for _ in range(generator.choice([1, 20, 400])):
        flipped[generator.randrange(head, len(flipped))] ^= 1 << generator.randrange(8)
    return bytes(flipped)


def _hears(library, sentence, **files):
    started = time.monotonic()
    # The largest of all children so far: other tests have some that are larger.
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    try:
        chosen = {"model": MODEL, "scorer": SCORER} | files
        return DeepSpeechRecognizer(library=library, **chosen).transcribe(sentence)
    finally:
        assert time.monotonic() - started < PATIENCE_S
        kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        assert kilobytes <= max(before, deepspeech.OWN_MEMORY // 1024)


def _one_clear_line(error):
    text = str(error.value)
    assert "\n" not in text
    assert "model" in text or "scorer" in text
    assert "give " in text


@needs_smoke
def test_the_tiny_model_hears_its_sentence(recognizer, sentence, words):
    assert recognizer.transcribe(sentence) == words


@needs_smoke
def test_a_model_of_ones_own_needs_no_scorer(library, sentence, words):
    assert DeepSpeechRecognizer(library=library, model=MODEL).transcribe(sentence) == words


@needs_smoke
def test_the_right_sentence_matches_and_another_does_not(recognizer, sentence, words):
    assert recognizer.match(sentence, words, strict=True).accepted
    other = recognizer.match(sentence, "three one four one five nine")
    assert not other.accepted
    assert other.heard == words
    assert other.problem == "other words"


@needs_smoke
def test_no_sound_holds_no_words(recognizer):
    nothing = np.zeros(0, np.float32)
    assert recognizer.transcribe(nothing) == ""
    assert recognizer.match(nothing, "one two three").problem == "not speech"


@needs_smoke
def test_one_sound_is_transcribed_once_for_many_passphrases(recognizer, sentence, monkeypatch):
    heard = recognizer.transcribe(sentence)
    monkeypatch.setattr(deepspeech.subprocess, "Popen", None)
    assert [recognizer.match(sentence, phrase).heard for phrase in ("one", "two")] == [heard] * 2


@needs_smoke
def test_it_is_found_by_its_name(library, sentence, words):
    files = {"library": library, "model": MODEL, "scorer": SCORER}
    assert load_recognizer("deepspeech", **files).transcribe(sentence) == words


@needs_smoke
def test_words_that_are_not_of_english_letters_are_unknown(recognizer):
    assert recognizer.unknown_words("Don't say naïve, say 42") == ["naïve"]
    with pytest.raises(UsageError, match="naïve"):
        recognizer.match(np.zeros(0, np.float32), "say naïve")
    with pytest.raises(UsageError, match="no word"):
        recognizer.match(np.zeros(0, np.float32), "…")


@needs_smoke
@pytest.mark.parametrize("kind", _damage())
@pytest.mark.parametrize("role", FILES)
def test_a_damaged_file_is_one_clear_error(library, sentence, tmp_path, role, kind):
    good, head = FILES[role]
    bad = tmp_path / "bad"
    bad.write_bytes(_damage()[kind](good.read_bytes(), head))
    with pytest.raises((EngineUnavailable, ModelUnavailable)) as error:
        _hears(library, sentence, **{role: bad})
    _one_clear_line(error)


@needs_smoke
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("role", FILES)
def test_flipped_bits_never_do_more_than_fail(library, sentence, tmp_path, role, seed):
    good, head = FILES[role]
    bad = tmp_path / "bad"
    bad.write_bytes(_flipped(good.read_bytes(), head, seed))
    try:
        assert isinstance(_hears(library, sentence, **{role: bad}), str)
    except Unavailable as error:
        assert "\n" not in str(error)  # noqa: PT017


@needs_smoke
@pytest.mark.parametrize("role", FILES)
def test_a_missing_file_a_folder_and_a_pipe_are_clear_errors(library, sentence, tmp_path, role):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "nothing", tmp_path, tmp_path / "pipe"):
        with pytest.raises(ModelUnavailable, match="no such file") as error:
            _hears(library, sentence, **{role: path})
        _one_clear_line(error)


@needs_smoke
def test_another_library_or_none_at_all_is_a_clear_error(sentence, tmp_path):
    (tmp_path / "text.so").write_text("no library")
    python_extension = next(Path(np.__file__).parent.rglob("*.so"))
    for other in (tmp_path / "text.so", python_extension):
        with pytest.raises(EngineUnavailable, match=r"its library .* failed"):
            _hears(other, sentence)


@needs_smoke
def test_the_engine_may_not_take_more_memory_than_its_limit(library, sentence, monkeypatch):
    monkeypatch.setattr(deepspeech, "OWN_MEMORY", 16 * 1024**2)
    recognizer = DeepSpeechRecognizer(library=library, model=MODEL, scorer=SCORER)
    with pytest.raises(EngineUnavailable, match="failed to map"):
        recognizer.transcribe(sentence)


@needs_smoke
def test_the_engine_may_not_take_more_time_than_its_limit(recognizer, sentence, monkeypatch):
    monkeypatch.setattr(deepspeech, "START_S", 1)
    monkeypatch.setattr(deepspeech, "PER_SECOND_S", 0)
    with pytest.raises(EngineUnavailable, match="did not answer in 1 s"):
        recognizer.transcribe(np.tile(sentence, 60))


def test_without_the_fetched_files_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMBRANE_HOME", str(tmp_path))
    with pytest.raises(ModelUnavailable, match="membrane weights fetch deepspeech"):
        DeepSpeechRecognizer()


def test_a_platform_without_deepspeech_is_told_so(monkeypatch):
    monkeypatch.setattr("membrane.models.registry.this_platform", lambda: "darwin-arm64")
    with pytest.raises(ModelUnavailable, match=r"for darwin-arm64, only for linux-x86_64.*another"):
        DeepSpeechRecognizer()


PARENT = """
import sys
from pathlib import Path
import numpy as np
from membrane.phrase.recognizers import deepspeech
deepspeech.START_S, deepspeech.PER_SECOND_S, deepspeech.THREADS = 2, 0, 1
noise = np.random.default_rng(0).standard_normal(16_000 * 120).astype(np.float32) / 10
recognizer = deepspeech.DeepSpeechRecognizer(*map(Path, sys.argv[1:]))
print("ready", flush=True)
try:
    recognizer.transcribe(noise)
except KeyboardInterrupt:
    print("the parent decides", flush=True)
"""


@pytest.fixture
def parent_and_child(library):
    """Return a process that transcribes a long noise, and its child's id, once both are at work."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, library, MODEL, SCORER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    with parent:
        assert parent.stdout.readline() == "ready\n"
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        while not children.read_text():
            time.sleep(0.01)
        time.sleep(0.5)
        yield parent, int(children.read_text())
        parent.kill()


def _is_gone(process):
    """Return whether a process ended; one that nobody has waited for yet counts as ended."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state.split()[0] == "Z"


@needs_smoke
@needs_proc
def test_ctrl_c_is_the_parents_to_decide_and_leaves_no_child(parent_and_child):
    parent, child = parent_and_child
    os.killpg(parent.pid, signal.SIGINT)
    said, complained = parent.communicate(timeout=PATIENCE_S)
    assert (said, complained) == ("the parent decides\n", "")
    assert _is_gone(child)


@needs_smoke
@needs_proc
def test_a_child_whose_parent_was_killed_ends_at_its_own_limit(parent_and_child):
    parent, child = parent_and_child
    parent.kill()
    parent.wait()
    assert not _is_gone(child)
    deadline = time.monotonic() + PATIENCE_S
    while not _is_gone(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)

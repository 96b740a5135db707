import os
import pickle
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from membrane.errors import EngineUnavailable, RecordingTooLong, UsageError
from membrane.phrase.recognizer import load_recognizer
from membrane.phrase.recognizers import word_processes as workers
from membrane.phrase.recognizers.pocketsphinx import PocketSphinxRecognizer
from membrane.phrase.recognizers.word_processes import WordProcesses

RECORDINGS = Path(__file__).resolve().parents[2] / "recordings"
LOGINS = sorted(RECORDINGS.glob("*/login-*.flac"))
SILENCE = np.zeros(16_000, np.float32)


def _said(path):
    return " ".join(path.stem.split("-")[1:])


def _check_for_ever(recognizer, samples, said):
    while True:
        recognizer.match(samples, said)


@pytest.fixture(scope="module")
def sounds():
    return [(soundfile.read(path, dtype="float32")[0], _said(path)) for path in LOGINS]


@pytest.fixture
def recognizer():
    made = load_recognizer("pocketsphinx", processes=2)
    yield made
    made._end()


def _children(recognizer):
    return [worker.process.pid for worker in recognizer._workers]


def test_processes_answer_as_this_process_does(recognizer, sounds):
    alone = PocketSphinxRecognizer()
    assert recognizer.name == alone.name
    assert recognizer.unknown_words("my blorfle") == alone.unknown_words("my blorfle")
    for samples, said in sounds[:2]:
        for expected, strict in ((said, False), (said, True), (sounds[-1][1], False)):
            found = recognizer.match(samples, expected, strict=strict)
            assert found == alone.match(samples, expected, strict=strict)
    assert recognizer.match(SILENCE[:100], "1 2 3") == alone.match(SILENCE[:100], "1 2 3")
    assert recognizer.transcribe(sounds[0][0]) == alone.transcribe(sounds[0][0])


@pytest.mark.parametrize(
    ("samples", "phrase", "error"),
    [
        (SILENCE, "my blorfle", UsageError),
        (SILENCE, "?!", UsageError),
        (np.zeros(61 * 16_000, np.float32), "1 2 3", RecordingTooLong),
    ],
)
def test_errors_arrive_as_they_are_and_end_no_process(recognizer, samples, phrase, error):
    with pytest.raises(error) as here:
        PocketSphinxRecognizer().match(samples, phrase)
    with pytest.raises(error) as there:
        recognizer.match(samples, phrase)
    assert str(there.value) == str(here.value)
    before = _children(recognizer)
    recognizer.match(SILENCE, "1 2 3")
    assert _children(recognizer) == before


def test_more_threads_than_processes_wait_their_turn(recognizer, sounds):
    asked = [(samples, said, other) for samples, said in sounds for _, other in sounds[:2]]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda one: recognizer.match(one[0], one[2]), asked))
    assert [match.accepted for match in found] == [said == other for _, said, other in asked]
    assert len(_children(recognizer)) == 2


def test_other_threads_run_while_words_are_checked(recognizer, sounds):
    recognizer.match(*sounds[0])
    checking = threading.Thread(target=recognizer.match, args=sounds[1])
    longest, before = 0.0, time.perf_counter()
    checking.start()
    while checking.is_alive():
        time.sleep(0.001)
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
    assert longest < 0.15  # in this process it is the whole time of a check, 0.3 s and more


def test_a_process_that_was_killed_is_replaced(recognizer, sounds):
    recognizer.match(*sounds[0])
    (pid,) = _children(recognizer)
    os.kill(pid, signal.SIGKILL)
    assert recognizer.match(*sounds[0]).accepted
    assert pid not in _children(recognizer)


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.15])
def test_a_process_killed_while_it_decodes_costs_nobody_their_answer(recognizer, sounds, delay_s):
    recognizer.match(SILENCE, "1 2 3")
    (pid,) = _children(recognizer)
    threading.Timer(delay_s, os.kill, (pid, signal.SIGKILL)).start()
    assert recognizer.match(*sounds[0]).accepted


def test_a_process_that_always_dies_is_an_engine_error(recognizer, monkeypatch):
    monkeypatch.setattr(workers, "BOOT", "import os; os.abort()")
    with pytest.raises(EngineUnavailable, match=r"failed twice \(it died: Aborted\)"):
        recognizer.match(SILENCE, "1 2 3")
    assert _children(recognizer) == []


def test_a_process_that_cannot_be_started_is_an_engine_error(recognizer, monkeypatch):
    monkeypatch.setattr(workers.spawn, "get_executable", lambda: "/there/is/no/python")
    with pytest.raises(EngineUnavailable, match="cannot be started"):
        recognizer.match(SILENCE, "1 2 3")


def test_a_process_that_hangs_is_ended_and_replaced(recognizer, monkeypatch, sounds):
    recognizer.match(SILENCE, "1 2 3")
    (pid,) = _children(recognizer)
    os.kill(pid, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(workers, "PATIENCE_S", 0.3)
        patch.setattr(workers, "PATIENCE_PER_SECOND_S", 0.0)
        with pytest.raises(EngineUnavailable, match="longer than 0 s"):
            recognizer.match(*sounds[0])
    assert recognizer.match(*sounds[0]).accepted
    assert pid not in _children(recognizer)


def test_an_answer_to_another_request_is_never_used(recognizer, monkeypatch, sounds):
    recognizer.match(SILENCE, "1 2 3")
    numbers = iter([7, 7, 7])
    monkeypatch.setattr(recognizer, "_numbers", numbers)
    monkeypatch.setattr(
        workers.json, "loads", lambda line: {"number": 6, "match": {"accepted": True}}
    )
    with pytest.raises(EngineUnavailable):
        recognizer.match(*sounds[0])


def test_an_interrupted_check_ends_its_process(recognizer, monkeypatch, sounds):
    recognizer.match(SILENCE, "1 2 3")
    (pid,) = _children(recognizer)
    main = threading.main_thread().ident
    threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        _check_for_ever(recognizer, *sounds[0])
    assert pid not in _children(recognizer)
    assert recognizer.match(*sounds[0]).accepted


def test_the_processes_end_with_the_recognizer(sounds):
    recognizer = WordProcesses(1)
    recognizer.match(SILENCE, "1 2 3")
    (worker,) = recognizer._workers
    del recognizer
    assert worker.process.returncode is not None


def test_a_pickled_one_starts_processes_of_its_own(recognizer, sounds):
    recognizer.match(SILENCE, "1 2 3")
    other = pickle.loads(pickle.dumps(recognizer))
    assert _children(other) == []
    assert other.match(*sounds[0]).accepted
    assert not set(_children(other)) & set(_children(recognizer))
    other._end()

"""A tenth of ``python -m benchmarks.sharing``, and what a Membrane promises those who share it."""

import json
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from membrane import Membrane
from membrane.phrase.recognizers.deepspeech import DeepSpeechRecognizer
from membrane.settings import EVALUATING, Settings
from tests.conftest import SHARED_SPEECH

ROOT = Path(__file__).resolve().parents[1]
CLEAN = {"wrong_words_accepted": 0, "other_answers": 0, "errors": 0}


def _tried(*arguments):
    command = [sys.executable, "-m", "benchmarks.sharing", "--json", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 1), ended.stderr
    return json.loads(ended.stdout), ended.stderr


@pytest.mark.parametrize(
    ("arguments", "trials", "least"),
    [
        pytest.param(
            ["--share", "0.1"],
            8,
            370,
            marks=pytest.mark.skipif(not SHARED_SPEECH.is_dir(), reason="no real speech here"),
            id="real speech",
        ),
        pytest.param(
            ["--share", "0.02", "--synthetic", "--only", "threads,forks"], 3, 40, id="synthetic"
        ),
    ],
)
def test_whoever_shares_a_membrane_gets_the_answers_of_one_alone(arguments, trials, least):
    found, told = _tried(*arguments)
    assert len(found) == trials
    for name, tally in found.items():
        assert tally == {"checks": tally["checks"], **CLEAN}, (name, told)
    assert sum(tally["checks"] for tally in found.values()) >= least


def test_a_pickled_membrane_keeps_its_settings_and_loads_its_engines_anew(tmp_path, utterance_of):
    settings = Settings(database=tmp_path / "voiceprints.joblib", **EVALUATING)
    membrane = Membrane(settings, processes=0, explains=True)
    membrane.enroll("ada", [membrane.examine(utterance_of("ada", "enrol"), enrolling=True)])
    login = utterance_of("ada", "login")
    made = {"store", "voices", "words"}
    assert made <= set(vars(membrane))
    other = pickle.loads(pickle.dumps(membrane))
    assert (other.settings, other.explains, other.processes) == (settings, True, 0)
    assert not made & set(vars(other))
    assert other.verify("ada", login).voice == membrane.verify("ada", login).voice


def test_one_process_a_core_checks_words_and_four_at_most(monkeypatch):
    for cores, processes in ((1, 1), (2, 2), (64, 4)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert Membrane(Settings()).processes == processes


def test_threads_that_log_in_at_once_are_all_counted_and_written_down(tmp_path, utterance_of):
    membrane = Membrane(Settings(database=tmp_path / "voiceprints.joblib"), processes=0)
    membrane.enroll("ada", [membrane.examine(utterance_of("ada", "enrol"), enrolling=True)])
    stranger, names = (
        utterance_of("boris", "login"),
        [f"nobody {number % 4}" for number in range(12)],
    )
    with ThreadPoolExecutor(4) as threads:
        decisions = list(threads.map(lambda name: membrane.verify(name, stranger), names))
    assert not any(decision.accepted for decision in decisions)
    for name in set(names):
        assert len(membrane.guard.attempts.state_of(name)["failures"]) == 3
    assert membrane.guard.log.verify().problems == ()
    assert sum(line["event"] == "verify" for line in membrane.guard.log.entries()) == 12


def test_deepspeech_gives_each_thread_the_words_of_its_own_sound(monkeypatch):
    recognizer = object.__new__(DeepSpeechRecognizer)
    recognizer._last = (b"", "")
    monkeypatch.setattr(recognizer, "_listen", lambda sound: time.sleep(0.001) or sound[:2].hex())
    sounds = [np.full(10, number / 100, np.float32) for number in range(8)] * 20
    alone = [recognizer.transcribe(sound) for sound in sounds]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(recognizer.transcribe, sounds)) == alone
    assert len(set(alone)) == 8

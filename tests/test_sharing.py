"""A tenth of ``python -m benchmarks.sharing``, and what a Membrane promises those who share it."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from membrane import Membrane
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

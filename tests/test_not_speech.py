"""Sixty of the sounds of benchmarks/not_speech.py, which makes a thousand."""

import pytest

from benchmarks.not_speech import MAKERS, at_level, outcome, sounds, upper_bound
from membrane.login.membrane import Membrane
from membrane.settings import EVALUATING, Settings

FEW = 30


@pytest.fixture(scope="module")
def membrane(utterance_of, tmp_path_factory):
    """Return a Membrane that knows ada and lets in as easily as it ever does."""
    database = tmp_path_factory.mktemp("ada") / "voiceprints.joblib"
    membrane = Membrane(Settings(database=database, security="convenient", **EVALUATING))
    membrane.enroll("ada", [membrane.examine(utterance_of("ada", "enrol", n)) for n in range(3)])
    return membrane


def test_ada_herself_is_let_in(membrane, utterance_of):
    assert outcome(membrane, "ada", utterance_of("ada", "login")) == "accepted"


def test_sounds_made_here_let_nobody_in(membrane):
    outcomes = [outcome(membrane, "ada", utterance) for utterance in sounds(FEW, None)]
    assert len(outcomes) == FEW
    assert "accepted" not in outcomes


def test_noises_of_the_world_let_nobody_in(membrane, shared_speech):
    heard = list(sounds(FEW, shared_speech / "noise"))
    assert sum("recorded" in utterance.source for utterance in heard) == FEW * 7 // 10
    assert "accepted" not in [outcome(membrane, "ada", utterance) for utterance in heard]


def test_a_scream_too_loud_to_be_judged_names_its_gate(membrane, utterance_of):
    shouted = at_level(utterance_of("ada", "login").samples, -8)
    loud = type(utterance_of("ada", "login"))(shouted)
    assert outcome(membrane, "ada", loud) == "clipped"


def test_every_kind_of_sound_is_among_them():
    kinds = {utterance.source.split()[1] for utterance in sounds(200, None)}
    assert kinds == set(MAKERS)


@pytest.mark.parametrize(("accepted", "count", "bound"), [(0, 1000, 0.003682), (2, 2, 1.0)])
def test_the_bound_is_exact(accepted, count, bound):
    # 1 - 0.025 ** (1 / 1000)
    assert upper_bound(accepted, count) == pytest.approx(bound, abs=1e-6)

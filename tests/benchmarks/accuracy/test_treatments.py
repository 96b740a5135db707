from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy import treatments
from benchmarks.accuracy.treatments import BOTH, CHANGED, DENOISED, HEARD, TREATMENTS
from membrane.audio.preparation import Sound
from membrane.audio.utterance import no_samples
from membrane.evaluation.asked import RIGHT, Asked
from membrane.evaluation.conditions import CLEAN, Condition
from membrane.evaluation.corpora.recordings import Recording
from membrane.evaluation.corpora.transcripts import Said
from membrane.evaluation.trials import Enrolled

PINK = Condition("pink 10 dB", "noise", made="pink", snr_db=10.0)


@pytest.fixture
def login(recording):
    return Recording((recording("ada", "login"),), "ada")


def test_every_treatment_is_cut_to_what_was_spoken(login):
    sound, snr_db = treatments.sound_of(login, PINK)
    assert snr_db == pytest.approx(10, abs=2)
    treated = {name: treat(sound) for name, treat in TREATMENTS.items()}
    assert {len(samples) for samples in treated.values()} == {len(sound.heard)}
    np.testing.assert_array_equal(treated[HEARD], sound.heard)
    assert all(
        not np.array_equal(treated[name], sound.heard) for name in TREATMENTS if name != HEARD
    )


def test_without_a_noise_profile_the_denoised_kind_is_the_one_that_was_heard():
    sound = Sound(np.arange(8, dtype=np.float32), no_samples(), slice(2, 6))
    np.testing.assert_array_equal(TREATMENTS[DENOISED](sound), [2, 3, 4, 5])


def test_words_are_judged_as_heard_and_denoised(login, words_of):
    words = words_of(login.files[0])
    other = "nine" if not words.startswith("nine") else "five"
    changed = " ".join([other, *words.split()[1:]])
    claims = (Asked(RIGHT, words), Asked(CHANGED, changed))
    judged = treatments.judge_words(Said(login, words), claims, CLEAN)
    assert judged.condition == "clean"
    assert set(judged.wrong) == {
        (treatment, kind) for treatment in (HEARD, DENOISED) for kind in (RIGHT, CHANGED)
    }
    assert not judged.wrong[HEARD, RIGHT]
    assert not judged.wrong[HEARD, CHANGED]


def test_a_voice_is_heard_after_every_treatment(login, recording):
    heard = treatments.hear_voice("resemblyzer", 3, login, PINK)
    assert (heard.condition, heard.place) == ("pink 10 dB", 3)
    assert set(heard.vectors) == set(TREATMENTS)
    own = Recording((recording("ada", "enrol", 1),), "ada")
    place, prints = treatments.voiceprint("resemblyzer", 5, Enrolled("ada", "ada", (own,)))
    assert place == 5
    assert set(prints) == {HEARD, BOTH}
    for vector in prints.values():
        assert heard.vectors[DENOISED] @ vector / np.linalg.norm(vector) > 0.5


def test_each_kind_of_noise_is_heard_at_each_ratio(shared_speech):
    names = [one.name for one in treatments.conditions_of("choose", ["pink", "babble"], [20, 5])]
    assert names == ["clean", "pink 20 dB", "pink 5 dB", "babble 20 dB", "babble 5 dB"]


def test_what_is_chosen_on_is_not_reported_on(shared_speech):
    for files in (treatments.noises, treatments.babblers):
        choose, report = set(files("choose")), set(files("report"))
        assert choose
        assert report
        assert not choose & report
    held_back = (Path(shared_speech) / "heldback.txt").read_text().split()
    assert {f"noise/{file.name}" for file in treatments.noises("report")} <= set(held_back)

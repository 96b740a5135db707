from dataclasses import replace

import numpy as np
import pytest

from benchmarks import denoising
from benchmarks.accuracy.systems import Corpus
from benchmarks.accuracy.treatments import (
    BOTH,
    CHANGED,
    DENOISED,
    HEARD,
    TREATMENTS,
    Voiced,
    Worded,
)
from membrane.evaluation.asked import RIGHT
from membrane.evaluation.conditions import CLEAN
from membrane.evaluation.corpora.recordings import Recording
from membrane.evaluation.trials import enrol_and_probe

SPEAKERS = ("ada", "boris", "clara")


@pytest.fixture
def corpus(tmp_path):
    recordings = [
        Recording((tmp_path / name / f"{number}.wav",), name, "synthetic")
        for name in SPEAKERS
        for number in range(5)
    ]
    return Corpus("synthetic", "", enrol_and_probe(recordings), (), ())


def voices_of(corpus, treatments):
    """Return probes that are exactly their speaker's, but those of the treatments left out."""
    return [
        Voiced(
            *("clean", place, 30.0),
            {
                name: np.eye(3, dtype=np.float32)[SPEAKERS.index(probe.speaker)]
                for name in treatments
            },
        )
        for place, probe in enumerate(corpus.trials.probes)
    ]


def test_a_table_of_voices_has_a_line_for_each_kind_of_voiceprint(corpus):
    prints = {place: dict.fromkeys((HEARD, BOTH), np.eye(3)[place]) for place in range(3)}
    voiced = voices_of(corpus, TREATMENTS)
    worse = [
        replace(one, vectors={**one.vectors, DENOISED: np.ones(3) - one.vectors[DENOISED]})
        for one in voiced
    ]
    _, first, second = denoising.voice_table(corpus, prints, worse[::-1], [CLEAN])
    assert (HEARD in first, BOTH in second) == (True, True)
    assert first.split()[-5:-1] == ["0.00", "100.00", "0.00", "∞"]


def test_a_probe_without_a_voice_is_the_least_alike(corpus):
    voiced = voices_of(corpus, [HEARD])
    prints = [np.eye(3)[place] for place in range(3)]
    scores = denoising.scores_of(prints, voiced, DENOISED)
    assert scores.shape == (3, 6)
    assert np.isnan(scores).all()
    assert denoising.scores_of(prints, voiced, HEARD).max() == 1


def test_a_table_of_words_counts_the_wrong_decisions():
    judged = [
        Worded(
            *("clean", 30.0),
            {
                (HEARD, RIGHT): number < 5,
                (DENOISED, RIGHT): False,
                (HEARD, CHANGED): False,
                (DENOISED, CHANGED): number < 1,
            },
        )
        for number in range(10)
    ]
    head, line = denoising.words_table(judged, [CLEAN])
    assert head.index("refused, as heard") < head.index("changed, denoised")
    assert line.startswith("clean")
    assert [cell for cell in line.split() if "." in cell and "(" not in cell] == [
        *("50.0", "0.0", "0.0", "10.0")
    ]


def test_every_string_is_claimed_rightly_and_with_one_digit_changed(shared_speech):
    strings = denoising.strings_of("choose", 2)
    assert len(strings) == 6
    for said, claims in strings:
        right, changed = claims
        assert (right.kind, right.words) == (RIGHT, said.words)
        assert changed.kind == CHANGED
        differ = zip(said.words.split(), changed.words.split(), strict=True)
        assert sum(one != other for one, other in differ) == 1

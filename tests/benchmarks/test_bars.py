from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bars
from benchmarks.accuracy import corpora
from benchmarks.accuracy.plain import Plain
from benchmarks.accuracy.systems import Corpus
from benchmarks.accuracy.verdicts import Line
from membrane.evaluation.conditions import CLEAN, Condition
from membrane.evaluation.corpora.recordings import find_recordings
from membrane.evaluation.intervals import Estimate
from membrane.evaluation.trials import enrol_and_probe

RECORDINGS = Path(__file__).resolve().parents[1] / "recordings"


@pytest.fixture(scope="module")
def corpus():
    found = find_recordings([RECORDINGS]).recordings
    people = sorted({one.speaker for one in found})[:2]
    trials = enrol_and_probe([one for one in found if one.speaker in people])
    return Corpus("synthetic", "", trials, (), ())


@pytest.fixture(scope="module")
def lines(corpus, tmp_path_factory):
    options = bars.argparse.Namespace(cache=tmp_path_factory.mktemp("voices"), workers=1)
    systems = [Plain("resemblyzer", "always"), *2 * [Plain("resemblyzer", "never")]]
    scored = bars.scored_by_all(systems, [corpus], [CLEAN], options)
    return list(bars.lines_of_bars(scored))


def test_every_bar_of_a_condition_has_a_line(lines):
    assert [(line.what, line.where) for line in lines] == [
        ("clean, EER", "synthetic"),
        ("clean, minDCF", "synthetic"),
    ]
    for line in lines:
        assert line.to_denoised.value == pytest.approx(line.compared.value, nan_ok=True)


def test_an_encoder_gives_a_cosine_for_every_pair(corpus, tmp_path):
    short = Condition("1 s", "seconds", seconds=1.0)
    heard = Plain("resemblyzer", "never").similarities(
        corpus, [CLEAN, short], cache=tmp_path, workers=1
    )
    shape = (len(corpus.trials.enrolled), len(corpus.trials.probes))
    assert [one.shape for one in heard] == [shape, shape]
    enrolled, probes = corpus.trials.pairs[corpus.trials.same].T
    assert heard[0][enrolled, probes].min() > heard[0].mean()
    assert not np.array_equal(*heard)


def test_probes_that_are_short_already_are_not_cut(corpus):
    short = Condition("2 s", "seconds", seconds=2.0)
    words = replace(corpus, name="speech-commands")
    assert bars.is_for(short, corpus)
    assert not bars.is_for(short, words)
    assert bars.is_for(CLEAN, words)


@pytest.mark.parametrize(("ratio", "halved"), [(0.35, True), (0.36, False)])
def test_the_cost_may_be_double_only_if_mean_errors_are_half_of_the_bars(ratio, halved):
    average = Line("", "", ("", ""), Estimate(ratio), 0.7, average=True)
    worse_alone = Line("", "", ("", ""), Estimate(0.9), 0.7)
    assert bars.halved([average, worse_alone]) is halved
    assert not bars.halved([worse_alone])


def test_the_page_says_what_was_compared(lines):
    page = bars.as_markdown(lines, ["A note."], "new", "old")
    assert page.startswith("# Is new better than old?")
    assert "python -m benchmarks.bars --write" in page
    assert "[--encoder" not in page
    assert page.endswith("A note.\n")


def test_every_bar_is_of_a_condition_that_is_heard(shared_speech):
    heard = {one.name for one in corpora.conditions_of_bars()}
    assert {bar.condition for bar in bars.BARS} == heard
    assert set(bars.GROUPED_IN) <= heard


def test_every_held_back_speaker_is_in_a_group_of_either_kind(shared_speech):
    corpus = corpora.CORPORA[bars.GROUPED]()
    groups = bars.groups_of(corpus)
    assert (groups["f"] ^ groups["m"]).all()
    assert (groups["children"] ^ groups["adults"]).all()

from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy.systems import Corpus, Task, cosines
from membrane.evaluation.conditions import Condition
from membrane.evaluation.corpora.recordings import find_recordings
from membrane.evaluation.trials import enrol_and_probe
from membrane.evaluation.voices import Job, hear
from membrane.settings import Settings

RECORDINGS = Path(__file__).resolve().parents[2] / "recordings"


@pytest.fixture
def task():
    found = find_recordings([RECORDINGS]).recordings
    people = sorted({one.speaker for one in found})[:2]
    trials = enrol_and_probe([one for one in found if one.speaker in people])
    return Task(Corpus("", "", trials, (), ()), Condition("1 s", "seconds", seconds=1.0))


def test_every_system_hears_the_samples_that_membrane_hears(task, monkeypatch):
    heard = []
    apply = Condition.apply

    def listening(self, *arguments, **options):
        changed = apply(self, *arguments, **options)
        heard.append(changed.samples)
        return changed

    monkeypatch.setattr(Condition, "apply", listening)
    jobs = [Job(probe, task.condition) for probe in task.corpus.trials.probes]
    hear(jobs, Settings(), workers=1, gate=False)
    by_membrane = list(heard)
    assert len(by_membrane) == len(jobs)
    for one, other in zip(by_membrane, task.probes, strict=True):
        np.testing.assert_array_equal(one, other)


def test_cosines_do_not_depend_on_length():
    alike = cosines([np.array([2.0, 0.0])], np.array([[3.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    np.testing.assert_allclose(alike, [[1.0, 0.0, np.sqrt(0.5)]])

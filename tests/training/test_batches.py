import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from membrane.errors import EngineUnavailable, UsageError
from membrane.training import batches as module
from membrane.training.batches import Batches, shelve, unshelved
from membrane.training.recipe import AugmentationRecipe, Recipe
from tests.training.synthetic_material import material

RECIPE = Recipe(speakers=3, frames=160, augmentation=AugmentationRecipe(speed_share=0.0))
CHANGED = replace(RECIPE, augmentation=AugmentationRecipe(speed_share=0.5, speeds=(0.8, 1.3)))


def values(batch):
    return list(batch)


def assert_same(one, other):
    for first, second in zip(values(one), values(other), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_batch_has_two_stretches_of_each_of_its_speakers():
    batch = Batches(material(), RECIPE).at(0)
    assert batch.heard.shape == batch.wanted.shape == (6, 160, 40)
    assert batch.heard.dtype == batch.wanted.dtype == np.float32
    assert {part.dtype for part in values(batch)[2:]} == {np.dtype(np.int64)}
    assert (batch.speakers[0::2] == batch.speakers[1::2]).all()
    assert len(set(batch.speakers)) == 3
    assert set(batch.utterances) <= {0, 1, 2}
    assert (batch.lengths == 160).all()


def test_what_is_wanted_is_what_is_heard_without_noise():
    recipe = replace(RECIPE, augmentation=AugmentationRecipe(clean_share=1.0, speed_share=0.0))
    batch = Batches(material(), recipe).at(3)
    np.testing.assert_array_equal(batch.heard, batch.wanted)
    noisy = Batches(material(), RECIPE).at(3)
    assert not np.array_equal(noisy.heard, noisy.wanted)


def test_a_batch_depends_on_its_seed_and_step_alone():
    one, other = Batches(material(), RECIPE), Batches(material(), RECIPE)
    other.at(5)
    assert_same(one.at(2), other.at(2))
    for changed in (one.at(3), Batches(material(), replace(RECIPE, seed=1)).at(2)):
        assert not np.array_equal(changed.heard, one.at(2).heard)


def test_no_two_rows_and_not_the_batch_itself_share_their_chance(monkeypatch):
    batches = Batches(material(), RECIPE)
    seeds = []
    make = np.random.default_rng

    def noted(seed):
        chance = make(seed)
        seeds.append(int(make(seed).integers(2**63)))
        return chance

    monkeypatch.setattr(module.np.random, "default_rng", noted)
    batches.at(1)
    assert len(seeds) == len(set(seeds)) == 7


@pytest.mark.parametrize("rows", [slice(0, 2), slice(2, 6), slice(1, None, 2)])
def test_some_rows_are_those_of_the_whole_batch(rows):
    batches = Batches(material(), RECIPE)
    for part, whole in zip(values(batches.at(4, rows)), values(batches.at(4)), strict=True):
        np.testing.assert_array_equal(part, whole[rows])


def test_after_the_end_of_a_short_utterance_there_is_silence():
    recipe = replace(RECIPE, raw_share=0.0)
    batch = Batches(material(seconds=0.5, utterances=1), recipe).at(0)
    assert (batch.lengths == 51).all()
    assert not batch.heard[:, 51:].any()
    assert batch.heard[:, :51].any(axis=2).all()


def test_short_utterances_go_on_with_others_of_the_speaker():
    recipe = replace(RECIPE, raw_share=0.0, join_share=1.0)
    assert (Batches(material(seconds=0.5), recipe).at(0).lengths == 160).all()


def test_speakers_of_single_words_are_drawn_more_rarely():
    voices = material(6).voices + material(6, seconds=0.5).voices
    sounds = replace(material(0), voices=voices)
    batches = Batches(sounds, replace(RECIPE, short_share=0.2))
    drawn = np.concatenate([batches._speakers(step) for step in range(400)])
    assert 0.15 < np.mean(drawn >= 6) < 0.3


def test_a_voice_at_another_speed_is_another_speaker():
    batches = Batches(material(), CHANGED)
    seen = np.concatenate([batches._speakers(step) for step in range(50)])
    assert 0.35 < np.mean(seen >= 6) < 0.65
    assert set(seen // 6) == {0, 1, 2}
    assert (batches.at(0).lengths == 160).all()


def test_too_few_speakers_for_a_batch_are_refused():
    with pytest.raises(UsageError, match="a batch has 3 speakers, but there are 2"):
        Batches(material(2), RECIPE)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_made_ahead_are_the_same_in_the_same_order(workers):
    batches = Batches(material(), CHANGED)
    rows = slice(2, 4)
    made = list(batches.iterate(3, 8, workers=workers, rows=rows))
    assert len(made) == 5
    for step, batch in enumerate(made, 3):
        assert_same(batch, batches.at(step, rows))


def test_no_steps_need_no_processes():
    assert list(Batches(material(), RECIPE).iterate(4, 4)) == []


def alive(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def children():
    return [process.pid for process in module.multiprocessing.active_children()]


def test_whoever_stops_early_leaves_no_process_and_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    made = Batches(material(), RECIPE).iterate(0, 1000, workers=2)
    next(made)
    workers = children()
    assert len(workers) == 2
    assert [path for path in tmp_path.iterdir() if path.name.startswith("membrane-")] == []
    made.close()
    assert not any(map(alive, workers))


def test_the_death_of_a_process_is_one_clear_error():
    made = Batches(material(), RECIPE).iterate(0, 1000, workers=1)
    next(made)
    os.kill(children()[0], signal.SIGKILL)
    with pytest.raises(EngineUnavailable, match="use fewer workers"):
        list(made)


PROGRAM = """
import multiprocessing
from membrane.training.batches import Batches
from membrane.training.recipe import Recipe
from tests.training.synthetic_material import material

if __name__ == "__main__":
    made = Batches(material(), Recipe(speakers=3, frames=160)).iterate(0, 100000, workers=2)
    next(made)
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    for _ in made:
        pass
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_one_it_works_for(tmp_path, environment, end):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, str(path)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        assert len(program.stdout.readline().split()) == 2
        # Ctrl-C reaches all processes of a terminal.
        (os.killpg if end == signal.SIGINT else os.kill)(program.pid, end)
        # It ends when the last process that may write there has ended.
        _, said = program.communicate(timeout=120)
    assert said.count("Traceback") == (end == signal.SIGINT)


def test_a_shelf_gives_back_what_was_put_on_it(tmp_path):
    value = {
        "empty": np.zeros(0),
        "two": [np.arange(7, dtype=np.float16), "text"],
        "one": np.ones(3),
    }
    shelve(value, tmp_path / "shelf")
    found = unshelved(tmp_path / "shelf")
    np.testing.assert_array_equal(found["two"][0], value["two"][0])
    assert found["two"][1] == "text"
    assert found["empty"].shape == (0,)
    np.testing.assert_array_equal(found["one"], [1, 1, 1])
    with pytest.raises(ValueError, match="read-only"):
        found["one"][0] = 2

import json
from dataclasses import replace

import numpy as np
import pytest

from membrane.errors import InvalidName, UsageError
from membrane.store.voiceprint import (
    EnrolledUtterance,
    RecordedQuality,
    Voiceprint,
    mean_vector,
    utc_now,
)
from tests.weights import reweighted


def normalised(vector):
    return vector / np.linalg.norm(vector)


@pytest.fixture
def from_partials(utterance):
    def make(partials):
        mean = partials.mean(axis=0)
        norm = float(np.linalg.norm(mean))
        vector = (mean / norm).astype(np.float32)
        return replace(utterance(), vector=vector, norm=norm, partials=len(partials))

    return make


@pytest.fixture
def partials():
    random = np.random.default_rng(3)
    return [
        normalised_rows(random.normal(size=(count, 256)) + 0.5).astype(np.float32)
        for count in (2, 7, 4)
    ]


def normalised_rows(matrix):
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def test_the_voiceprint_is_the_mean_of_the_partials_of_all_utterances(partials, from_partials):
    voiceprint = Voiceprint.of("Anna", "resemblyzer", list(map(from_partials, partials)))
    expected = normalised(np.concatenate(partials).mean(axis=0))
    np.testing.assert_allclose(voiceprint.vector, expected, atol=1e-6)
    assert voiceprint.vector.dtype == np.float32


def test_adding_an_utterance_gives_what_enrolling_it_at_once_gives(partials, from_partials):
    first, second, third = map(from_partials, partials)
    together = Voiceprint.of("Anna", "resemblyzer", [first, second, third])
    added = Voiceprint.of("Anna", "resemblyzer", [first, second]).with_utterance(third)
    np.testing.assert_array_equal(added.vector, together.vector)
    assert added.utterances == together.utterances


def test_removing_an_utterance_leaves_what_enrolling_the_others_gives(partials, from_partials):
    first, second, third = map(from_partials, partials)
    left = Voiceprint.of("Anna", "resemblyzer", [first, second, third])
    left = left.reencoded("resemblyzer", [first, third])
    np.testing.assert_array_equal(
        left.vector, Voiceprint.of("Anna", "resemblyzer", [first, third]).vector
    )


def test_a_weight_of_zero_leaves_an_utterance_out_and_a_weight_of_two_counts_it_twice(
    partials, from_partials
):
    utterances = list(map(from_partials, partials))
    voiceprint = Voiceprint.of("Anna", "resemblyzer", utterances)
    np.testing.assert_array_equal(
        reweighted(voiceprint, 1, 0).vector,
        Voiceprint.of("Anna", "resemblyzer", [utterances[0], utterances[2]]).vector,
    )
    np.testing.assert_allclose(
        reweighted(voiceprint, 1, 2).vector,
        voiceprint.with_utterance(utterances[1]).vector,
        atol=1e-7,
    )


def test_a_change_leaves_the_old_voiceprint_and_the_date_of_enrolment(person, utterance):
    before = replace(person("Anna"), created_at="2020-01-01", updated_at="2020-01-01")
    after = before.with_utterance(utterance(5))
    assert len(before.utterances) == 1
    assert after.created_at == "2020-01-01"
    assert after.updated_at > "2026"


def test_another_encoder_makes_another_voiceprint_of_the_same_person(person, utterance):
    before = person("Anna", 1, utterances=3, passphrase="open up", consent_at="2026-01-01")
    after = before.reencoded("another", [utterance(5), utterance(6)])
    assert after.encoder == "another"
    assert len(after.utterances) == 2
    np.testing.assert_array_equal(after.vector, mean_vector(after.utterances))
    for stays in ("name", "passphrase", "consent_at", "created_at"):
        assert getattr(after, stays) == getattr(before, stays)
    assert after.updated_at >= before.updated_at


def test_the_last_utterance_that_counts_cannot_go(person):
    voiceprint = person("Anna")
    with pytest.raises(UsageError, match="delete the person"):
        voiceprint.reencoded("resemblyzer", [])
    with pytest.raises(UsageError, match="delete the person"):
        reweighted(voiceprint, 0, 0)


@pytest.mark.parametrize("weight", [-1, 1e308, float("inf"), float("nan")])
def test_an_impossible_weight_is_refused(person, weight):
    with pytest.raises(ValueError, match="weight"):
        reweighted(person("Anna"), 0, weight)


@pytest.mark.parametrize(
    "wrong",
    [
        {"vector": np.zeros(256, np.float32)},
        {"vector": np.full(256, np.nan, np.float32)},
        {"vector": np.full(256, 1 / 16, np.float64)},
        {"vector": np.ones(1, np.float32)},
        {"norm": 0.0},
        {"norm": 1.5},
        {"norm": float("nan")},
        {"partials": 0},
        {"partials": 10**400},
        {"weight": -1.0},
        {"weight": 1e308},
        {"weight": float("nan")},
    ],
    ids=str,
)
def test_an_utterance_of_impossible_numbers_cannot_be_made(utterance, wrong):
    with pytest.raises(ValueError, match=r"a vector|the mean|an utterance"):
        replace(utterance(), **wrong)


def test_a_quality_that_json_could_not_say_cannot_be_made():
    with pytest.raises(ValueError, match="not finite"):
        RecordedQuality(2.0, float("inf"), -20.0, 0.0)


def test_a_name_is_made_canonical_and_a_bad_one_refused(utterance):
    assert Voiceprint.of(" Zoe\u0308", "resemblyzer", [utterance()]).name == "Zoë"
    with pytest.raises(InvalidName):
        Voiceprint.of("a/b", "resemblyzer", [utterance()])


def test_the_export_is_json_and_holds_every_number_that_is_stored(person):
    voiceprint = person("Anna", utterances=2, passphrase="open up", consent_at=utc_now())
    export = json.loads(json.dumps(voiceprint.as_json(), allow_nan=False))
    assert export["passphrase"] == "open up"
    assert np.array_equal(np.float32(export["vector"]), voiceprint.vector)
    stored = set(EnrolledUtterance.__dataclass_fields__)
    for exported, utterance in zip(export["utterances"], voiceprint.utterances, strict=True):
        assert set(exported) == stored
        assert np.array_equal(np.float32(exported["vector"]), utterance.vector)
    assert set(export) == set(Voiceprint.__dataclass_fields__)


def test_dates_are_in_utc():
    assert utc_now().endswith("+00:00")

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrane.audio.files import save_recording
from membrane.errors import EngineUnavailable, NoSuchFile, UndecodableAudio, UsageError
from membrane.evaluation import word_checks
from membrane.evaluation.conditions import CLEAN, Condition, conditions
from membrane.evaluation.corpora.recordings import Recording
from membrane.evaluation.corpora.transcripts import Said
from membrane.evaluation.intervals import clopper_pearson
from membrane.evaluation.phrases import (
    CSV_HEADS,
    HEADS,
    INTERVAL_HEADS,
    evaluate_phrases,
)
from membrane.evaluation.word_checks import kept_decisions
from membrane.login.voices import words_of as words_of_settings
from membrane.phrase.matching import normalise
from membrane.phrase.prompts import prompt_words
from membrane.settings import Settings

PEOPLE = ("ada", "boris", "clara")


class Listener:
    """A recognizer that accepts what it is told to, else nothing, and knows what it was asked."""

    def __init__(self, accepts=lambda *_: False, unknown=()):
        self.accepts = accepts
        self.unknown = unknown
        self.asked = []

    def unknown_words(self, phrase):
        return [word for word in phrase.split() if word in self.unknown]

    def match(self, samples, expected, *, strict=False):
        self.asked.append((samples.tobytes(), expected, strict))
        return SimpleNamespace(accepted=self.accepts(expected, strict))


@pytest.fixture
def listener(monkeypatch):
    """Let a `Listener` stand for all recognizers."""

    def stand_in(**how):
        one = Listener(**how)
        monkeypatch.setattr("membrane.phrase.words.load_recognizer", lambda *_, **__: one)
        monkeypatch.setattr(word_checks, "_words", words_of_settings)
        return one

    return stand_in


@pytest.fixture
def said(recording, words_of):
    """Six digits in each of six recordings, of three people."""
    paths = [recording(person, "login", number) for person in PEOPLE for number in (0, 1)]
    return [Said(Recording((path,), path.parent.name), normalise(words_of(path))) for path in paths]


@pytest.fixture
def silent(tmp_path):
    path = tmp_path / "silent.wav"
    save_recording(path, np.zeros(48_000, np.float32))
    return Said(Recording((path,), "nobody"), "one two three four five six")


@pytest.fixture
def damaged(tmp_path):
    path = tmp_path / "damaged.wav"
    path.write_bytes(b"no sound")
    return Said(Recording((path,), "nobody"), "one two three four five six")


def evaluated(said, settings=None, **options):
    given = {"conditions": (CLEAN,), "recognizers": ["pocketsphinx"], "backend": "sequential"}
    return evaluate_phrases(said, settings or Settings(), **{**given, **options})


def error_counts(rates):
    return {kind: (error.errors, error.claims) for kind, error in rates.errors.items()}


def test_the_digits_that_were_said_pass_and_other_digits_do_not(said):
    overall = evaluated(said[::2]).rates[0]
    assert overall.counts["judged"] == 3
    assert error_counts(overall)["right"] == (0, 3)
    assert error_counts(overall)["other"] == (0, 3)
    assert set(overall.errors) == {"right", "other", "changed", "more", "fewer"}


def test_who_refuses_everything_errs_on_right_words_alone(said, listener):
    listener(accepts=lambda *_: False)
    counts = error_counts(evaluated(said).rates[0])
    assert counts.pop("right") == (6, 6)
    assert set(counts.values()) == {(0, 6)}


def test_who_accepts_everything_errs_on_every_false_claim(said, listener):
    listener(accepts=lambda *_: True)
    counts = error_counts(evaluated(said).rates[0])
    assert counts.pop("right") == (0, 6)
    assert set(counts.values()) == {(6, 6)}


def test_rates_stand_beside_their_exact_interval_and_that_of_speakers(said, listener):
    first = said[0].words
    listener(accepts=lambda claimed, _: claimed == first)
    error = evaluated(said).rates[0].errors["right"]
    assert (error.errors, error.claims, error.speakers) == (5, 6, 3)
    assert error.exact.value == error.resampled.value == 5 / 6
    assert (error.exact.low, error.exact.high) == clopper_pearson(5, 6)
    # Each resample holds only ada, who is refused once of twice, or not her at all.
    assert (error.resampled.low, error.resampled.high) == (0.5, 1.0)


def test_no_error_of_three_people_is_no_certainty(said, listener):
    listener(accepts=lambda *_: True)
    error = evaluated(said).rates[0].errors["right"]
    assert error.resampled.low == 0
    assert error.resampled.high == pytest.approx(1 - 0.05 ** (1 / 3))


def test_one_speaker_alone_has_no_interval_of_speakers(said, listener):
    listener(accepts=lambda *_: True)
    error = evaluated(said[:2]).rates[0].errors["right"]
    assert np.isnan([error.resampled.low, error.resampled.high]).all()
    assert error.exact.high == clopper_pearson(0, 2)[1]


def test_each_number_of_words_has_its_own_rates(said, listener):
    listener()
    short = [Said(one.recording, "open the door") for one in said[:2]]
    lengths = [(rates.words, rates.counts["utterances"]) for rates in evaluated(said + short).rates]
    assert lengths == [(None, 8), (3, 2), (6, 6)]


def test_a_recognizer_hears_what_the_condition_leaves(said, listener):
    one = listener()
    noisy = conditions(noise="white", snr=[20])
    evaluation = evaluated(said[:2], conditions=noisy)
    assert [rates.condition for rates in evaluation.rates if rates.words is None] == [
        "clean",
        "white noise 20 dB",
    ]
    assert len({samples for samples, _, _ in one.asked}) == 4


def test_every_recognizer_judges_the_same_claims(said, listener):
    one = listener()
    evaluated(said, recognizers=["pocketsphinx", "deepspeech"])
    asked = [(expected, samples) for samples, expected, _ in one.asked]
    assert asked[: len(asked) // 2] == asked[len(asked) // 2 :]


@pytest.mark.parametrize(("security", "strict"), [("balanced", False), ("strict", True)])
def test_words_are_judged_as_strictly_as_a_login_is(said, listener, security, strict):
    one = listener()
    evaluation = evaluated(said[:2], Settings(security=security))
    assert {each for *_, each in one.asked} == {strict}
    assert evaluation.strict is strict


def test_a_login_of_the_same_recording_is_given_the_same_samples(said, listener, utterance_of):
    from membrane.audio.preparation import prepare

    one = listener()
    evaluated(said[:2])
    heard = {samples for samples, _, _ in one.asked}
    assert prepare(utterance_of("ada", "login", 0)).samples.tobytes() in heard


def test_what_the_quality_gate_refuses_is_counted_and_not_judged(said, silent, listener):
    one = listener()
    overall = evaluated([*said, silent]).rates[0]
    assert overall.counts["refused"] == 1
    assert overall.counts["judged"] == 6
    assert len(one.asked) == 30


def test_what_cannot_be_read_is_counted_and_named(said, damaged, listener):
    listener()
    evaluation = evaluated([*said, damaged])
    assert evaluation.rates[0].counts["unreadable"] == 1
    assert any("damaged.wav" in note for note in evaluation.notes)


def test_the_first_file_that_cannot_be_read_stops_who_asks_for_it(said, damaged, listener):
    listener()
    with pytest.raises(UndecodableAudio):
        evaluated([*said, damaged], fail_fast=True)


def test_a_missing_file_stops_who_asks_for_it(said, tmp_path, listener):
    listener()
    missing = Said(Recording((tmp_path / "none.wav",), "nobody"), "one two")
    with pytest.raises(NoSuchFile):
        evaluated([*said, missing], fail_fast=True)


def test_an_utterance_with_an_unknown_word_is_left_out_and_counted(said, listener):
    listener(unknown=["xyzzyx"])
    evaluation = evaluated([*said, Said(said[0].recording, "open the xyzzyx")])
    assert evaluation.unknown == 1
    assert evaluation.rates[0].counts["utterances"] == 6
    assert any("xyzzyx" in note for note in evaluation.notes)


def test_no_claim_holds_a_word_that_the_recognizer_does_not_know(said, listener):
    unknown = set(prompt_words()[1:])
    one = listener(unknown=unknown)
    sentences = [Said(each.recording, "my voice is my key") for each in said]
    evaluated(sentences)
    assert not any(unknown & set(expected.split()) for _, expected, _ in one.asked)


def test_nothing_that_can_be_judged_is_said_to_be_so(silent, listener):
    listener()
    with pytest.raises(UsageError, match="no phrase could be judged"):
        evaluated([silent])


def test_nothing_said_is_an_error(listener):
    listener()
    with pytest.raises(UsageError, match="no phrase could be judged"):
        evaluated([])


def test_phrases_are_not_cut(said):
    with pytest.raises(UsageError, match="--seconds"):
        evaluated(said, conditions=(CLEAN, Condition("1 s", "seconds", seconds=1.0)))


def test_a_recognizer_that_does_not_exist_is_named(said):
    with pytest.raises(UsageError, match="no recognizer is called 'nobody'"):
        evaluated(said, recognizers=["nobody"])


def test_a_recognizer_that_cannot_run_says_so_itself(said, monkeypatch):
    def fail(*_, **__):
        raise EngineUnavailable("it is not here: fetch it")

    monkeypatch.setattr("membrane.phrase.words.load_recognizer", fail)
    monkeypatch.setattr(word_checks, "_words", words_of_settings)
    with pytest.raises(EngineUnavailable, match="not here"):
        evaluated(said)


def test_files_of_one_recognizer_are_not_given_to_another(said, tmp_path):
    settings = Settings(recognizer="deepspeech", model=tmp_path / "model.tflite")
    assert evaluated(said[:1], settings).rates[0].counts["judged"] == 1


def test_a_second_run_asks_no_recognizer(said, tmp_path, listener):
    kept = kept_decisions(tmp_path / "kept")
    one = listener()
    first = evaluated(said, kept=kept)
    asked = len(one.asked)
    assert evaluated(said, kept=kept) == first
    assert len(one.asked) == asked


@pytest.mark.parametrize(
    "changed",
    [
        {"settings": Settings(security="strict")},
        {"settings": Settings(denoise="never")},
        {"seed": 1},
        {"conditions": conditions(noise="pink", snr=[20])[1:]},
        {"recognizers": ["deepspeech"]},
    ],
    ids=["strictness", "denoising", "claims", "condition", "recognizer"],
)
def test_a_run_that_differs_asks_again(said, tmp_path, listener, changed):
    kept = kept_decisions(tmp_path / "kept")
    one = listener()
    evaluated(said[:2], kept=kept)
    asked = len(one.asked)
    evaluated(said[:2], kept=kept, **changed)
    assert len(one.asked) > asked


def test_other_sound_in_the_same_file_is_judged_again(said, tmp_path, listener, recording):
    path = tmp_path / "one.flac"
    kept = kept_decisions(tmp_path / "kept")
    one = listener()
    path.write_bytes(recording("ada", "login", 0).read_bytes())
    changing = Said(Recording((path,), "ada"), "one two three")
    evaluated([changing], kept=kept)
    asked = len(one.asked)
    path.write_bytes(recording("ada", "login", 1).read_bytes())
    evaluated([changing], kept=kept)
    assert len(one.asked) == 2 * asked


def test_what_was_judged_before_an_interruption_is_kept(said, tmp_path, listener):
    def interrupt(done, _):
        if done == 4:
            raise KeyboardInterrupt

    kept = kept_decisions(tmp_path / "kept")
    one = listener()
    with pytest.raises(KeyboardInterrupt):
        evaluated(said, kept=kept, progress=interrupt)
    one.asked.clear()
    evaluated(said, kept=kept)
    assert len(one.asked) == 2 * 5


def test_where_nothing_can_be_kept_the_run_says_so(said, tmp_path, listener):
    listener()
    (tmp_path / "file").touch()
    evaluation = evaluated(said[:2], kept=kept_decisions(tmp_path / "file"))
    assert any("cannot be kept" in note for note in evaluation.notes)


def test_decisions_are_kept_in_the_folder_of_all_that_is_kept(membrane_home):
    assert membrane_home in kept_decisions().folder.parents


def test_processes_find_what_one_finds(said):
    here, there = evaluated(said[:2]), evaluated(said[:2], backend="loky", workers=2)
    assert repr(there) == repr(here)  # not-a-number equals nothing


def test_progress_ends_with_everything_done(said, listener):
    listener()
    told = []
    evaluated(said, progress=lambda done, total: told.append((done, total)))
    assert told == [(number, 6) for number in range(1, 7)]


def test_the_same_seed_claims_the_same_and_another_does_not(said, listener):
    claimed = []
    for seed in (0, 0, 1):
        one = listener()
        evaluated(said, seed=seed)
        claimed.append([expected for _, expected, _ in one.asked])
    assert claimed[0] == claimed[1] != claimed[2]


def test_rows_fit_their_heads(said, silent, listener):
    listener()
    evaluation = evaluated([*said, silent])
    assert {len(row) for row in evaluation.rows()} == {len(HEADS)}
    assert {len(row) for row in evaluation.intervals()} == {len(INTERVAL_HEADS)}
    assert {len(row) for row in evaluation.csv_rows()} == {len(CSV_HEADS)}


def test_a_row_holds_the_rates_as_per_cent(said, listener):
    first = said[0].words
    listener(accepts=lambda claimed, _: claimed == first)
    row = dict(zip(HEADS, evaluated(said).rows()[0], strict=True))
    assert row["words"] == "all"
    assert row["said"] == "6"
    assert row["FRR"] == "83.3 %"
    assert row["changed"] == "0 %"


def test_a_kind_of_claim_that_cannot_be_made_is_a_dash(said, listener):
    listener()
    row = dict(zip(HEADS, evaluated(said[:1]).rows()[0], strict=True))
    assert row["FAR: other"] == "–"


def test_json_holds_only_plain_values(said, listener):
    listener()
    found = json.loads(json.dumps(evaluated(said[:2]).as_json(), allow_nan=False))
    overall = found["rates"][0]
    assert overall["words"] is None
    assert overall["errors"]["right"]["value"] == 1
    assert overall["errors"]["right"]["speakers_low"] is None
    assert overall["counts"]["utterances"] == 2


@settings(deadline=None)  # scipy is loaded once
@given(
    decided=st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), min_size=1, max_size=40)
)
def test_every_interval_holds_its_rate(decided):
    from membrane.evaluation.phrases import _error_rate

    error = _error_rate(decided, seed=0)
    assert error.errors == sum(wrong for _, wrong in decided)
    for estimate in (error.exact, error.resampled):
        if not np.isnan(estimate.low):
            assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1

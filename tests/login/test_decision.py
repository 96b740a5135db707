import json
import math

import pytest

from membrane.audio.quality import Quality
from membrane.login.decision import NOT_CHECKED, Candidate, Decision, reason_of
from membrane.phrase.recognizer import PhraseMatch
from membrane.voice.voice import VoiceMatch

QUALITY = Quality(speech_s=2.5, snr_db=30.0, level_dbfs=-24.0, clipped=0.0)
NEAR = VoiceMatch("cosine", 0.91, 0.91, 0.78, True, stretch=0.8, stretch_threshold=0.65)
FAR = VoiceMatch("cosine", 0.61, 0.61, 0.78, False, stretch=0.8, stretch_threshold=0.65)
MIXED = VoiceMatch("cosine", 0.91, 0.91, 0.78, False, stretch=0.6, stretch_threshold=0.65)
RIGHT = PhraseMatch("one two", "one two", True, 3.0, -30.0)
WRONG = PhraseMatch("one two", "two one", False, -99.0, -30.0, "other words")
NOISE = PhraseMatch("one two", "", False, -math.inf, -30.0, "not speech")


def decision(command="verify", voice=NEAR, **changes):
    accepted = changes.pop("accepted", voice is not None and voice.accepted)
    return Decision(command, accepted, "why", voice, QUALITY, **changes)


@pytest.mark.parametrize("accepted", [True, False])
def test_a_decision_is_no_truth_value(accepted):
    made = decision(accepted=accepted)
    with pytest.raises(TypeError, match=r"decision\.accepted"):
        bool(made)
    with pytest.raises(TypeError):
        assert not made


def test_a_decision_cannot_be_changed():
    with pytest.raises(AttributeError):
        decision().accepted = True


@pytest.mark.parametrize(
    ("voice", "words", "reason"),
    [
        (NEAR, RIGHT, "The voice is ada's. The words are right."),
        (FAR, RIGHT, "The voice is not close enough to ada's. The words are right."),
        (MIXED, RIGHT, "Part of the recording is not ada's voice. The words are right."),
        (NEAR, WRONG, "The voice is ada's. The words are not the ones asked for."),
        (
            NEAR,
            NOISE,
            "The voice is ada's. The words could not be made out: speak clearly, "
            "somewhere quieter.",
        ),
        (NEAR, None, "The voice is ada's. The words were not checked."),
    ],
)
def test_the_reason_of_a_login_is_in_plain_words(voice, words, reason):
    assert reason_of("verify", voice, words, replayed=False, whose="ada") == reason
    assert reason_of("verify", voice, words, replayed=True, whose="ada") == (
        f"This recording was heard before: speak, do not play one. {reason}"
    )


@pytest.mark.parametrize(
    ("command", "voice", "reason"),
    [
        ("identify", NEAR, "This is ada."),
        ("identify", FAR, "This is nobody I know."),
        ("identify", None, "Nobody is enrolled yet."),
        ("compare", NEAR, "They sound like one person."),
        ("compare", FAR, "They sound like two people."),
    ],
)
def test_the_reason_of_the_other_decisions_is_in_plain_words(command, voice, reason):
    assert reason_of(command, voice, None, replayed=False, whose="ada") == reason


@pytest.mark.parametrize("words", [None, RIGHT, WRONG, NOISE])
@pytest.mark.parametrize("voice", [None, NEAR, FAR])
def test_a_decision_as_json_is_plain_and_strict(voice, words):
    made = decision(
        voice=voice,
        words=words,
        candidates=(Candidate("ada", 0.91, encoder="one"), Candidate("boris", 0.5)),
        denoised_for=("words", "voice"),
        timings={"sound": 0.1, "words": 0.2, "voice": 0.3},
    )
    plain = made.as_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_json_says_everything_by_its_name():
    plain = decision(claimed="ada", person="ada", words=RIGHT, source="a.wav").as_json()
    assert plain["accepted"] is True
    assert (plain["claimed"], plain["person"], plain["source"]) == ("ada", "ada", "a.wav")
    assert plain["voice"] == {
        "metric": "cosine",
        "similarity": 0.91,
        "value": 0.91,
        "threshold": 0.78,
        "accepted": True,
        "stretch": 0.8,
        "stretch_threshold": 0.65,
        "score": None,
        "score_threshold": None,
    }
    assert plain["words"]["expected"] == "one two"
    assert plain["quality"]["speech_s"] == 2.5
    assert plain["llr"] is None
    assert (plain["denoised"], plain["denoised_for"]) == (False, [])


def test_json_says_what_was_taken_from_denoised_sound():
    plain = decision(denoised_for=("words",)).as_json()
    assert (plain["denoised"], plain["denoised_for"]) == (True, ["words"])


def test_a_calibrated_score_is_the_llr():
    near = VoiceMatch("cosine", 0.91, 0.91, None, True, 0.8, 0.65, score=7.7, score_threshold=6.9)
    plain = decision(voice=near).as_json()
    assert plain["llr"] == plain["voice"]["score"] == 7.7
    assert plain["voice"]["threshold"] is None


def test_unchecked_words_are_said_to_be_so():
    assert decision().as_json()["words"] == NOT_CHECKED == "not checked"


def test_words_that_nobody_found_have_no_score():
    assert decision(words=NOISE).as_json()["words"]["score"] is None
    assert decision(words=WRONG).as_json()["words"]["score"] == -99.0


# ---- What whoever logs in must not learn


@pytest.mark.parametrize("voice", [None, NEAR, FAR])
@pytest.mark.parametrize("words", [None, RIGHT, WRONG, NOISE])
def test_hidden_numbers_are_not_in_the_json_and_what_is_left_is_strict(voice, words):
    made = decision(
        voice=voice,
        words=words,
        encoder="resemblyzer",
        candidates=(Candidate("ada", 0.91),),
        numbers_hidden=True,
    )
    plain = made.as_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["voice"] == (voice and {"accepted": voice.accepted})
    assert not {"llr", "encoder", "candidates", "numbers_hidden"} & set(plain)
    if words is not None:
        said = {"expected", "heard", "accepted", "problem"}
        assert set(plain["words"]) == said
    for number in ("0.91", "0.61", "0.78", "0.65", "-99", "-30"):
        assert number not in json.dumps(plain)


def test_a_hidden_number_is_kept_for_whoever_keeps_the_results():
    assert decision(numbers_hidden=True).voice.similarity == 0.91


def test_numbers_that_are_not_hidden_are_all_there():
    plain = decision(words=RIGHT, encoder="resemblyzer").as_json()
    assert plain["words"]["score"] == 3.0
    assert plain["encoder"] == "resemblyzer"
    assert "numbers_hidden" not in plain


def test_json_says_whether_a_recording_was_heard_before():
    assert decision().as_json()["replayed"] is False
    assert decision(replayed=True).as_json()["replayed"] is True

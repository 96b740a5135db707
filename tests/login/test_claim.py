import collections
import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from membrane.errors import InvalidName
from membrane.login.claim import Claim, claim_of
from membrane.login.membrane import Membrane
from membrane.settings import Settings
from membrane.store.columns import Columns
from membrane.store.gallery import Gallery
from tests.conftest import UNGUARDED

MAKERS = runpy.run_path(str(Path(__file__).parents[1] / "store" / "writer.py"))
SECRET, ANOTHER = bytes(range(32)), bytes(32)
PASSPHRASE = "the river runs quietly past the old mill"
STRANGERS = [f"stranger {number}" for number in range(2_000)]


def gallery_of(people):
    return Gallery(Columns.of(people), Path("people"))


def crowd(count=200):
    """Return people, every third of whom has a passphrase, and every fourth another encoder."""
    return [
        replace(
            MAKERS["person"](f"person {number}", number),
            passphrase=PASSPHRASE if number % 3 == 0 else "",
            encoder="another" if number % 4 == 0 else "resemblyzer",
        )
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def gallery():
    return gallery_of(crowd())


def unknown(name, gallery, secret=SECRET):
    return claim_of(name, gallery, secret=secret)


def test_somebody_enrolled_is_who_they_claim_to_be(gallery):
    claim = unknown("PERSON 3", gallery)
    assert (claim.person.name, claim.model) == ("person 3", claim.person)
    assert (claim.encoder, claim.passphrase) == ("resemblyzer", PASSPHRASE)
    assert claim.name == "PERSON 3"


def test_an_unknown_name_is_nobody_and_led_like_somebody(gallery):
    claim = unknown("zoe", gallery)
    assert claim.person is None
    assert claim.model.name in set(gallery.names())
    assert claim.encoder == claim.model.encoder
    assert claim.passphrase == claim.model.passphrase


def test_unknown_names_have_encoders_and_passphrases_in_the_shares_of_the_database(gallery):
    claims = [unknown(name, gallery) for name in STRANGERS]
    counts = collections.Counter((one.encoder, bool(one.passphrase)) for one in claims)
    for (encoder, passphrase), share in {
        ("resemblyzer", False): 1 / 2,
        ("resemblyzer", True): 1 / 4,
        ("another", False): 1 / 6,
        ("another", True): 1 / 12,
    }.items():
        # Each person's part of the circle is of a random length: far wider than a binomial's.
        assert counts[encoder, passphrase] / len(claims) == pytest.approx(share, abs=0.1)


def test_many_people_stand_model_and_nobody_for_more_than_a_few(gallery):
    models = collections.Counter(unknown(name, gallery).model.name for name in STRANGERS)
    assert len(models) > 150
    assert max(models.values()) < len(STRANGERS) / 20


def test_a_name_is_led_alike_each_time_whatever_its_spelling(gallery):
    for name in STRANGERS[:50]:
        one, again = (unknown(each, gallery).model for each in (name, name.upper()))
        assert one.name == again.name


def test_who_else_is_enrolled_changes_hardly_any_claim():
    people = crowd(100)
    before, after = gallery_of(people), gallery_of([MAKERS["person"]("Eve", 7), *people[::-1]])
    changed = {
        unknown(name, after).model.name
        for name in STRANGERS
        if unknown(name, before).model.name != unknown(name, after).model.name
    }
    assert changed <= {"Eve"}


def test_whoever_is_deleted_leaves_the_claims_of_the_others_as_they_are():
    people = crowd(100)
    before, after = gallery_of(people), gallery_of(people[1:])
    for name in STRANGERS[:300]:
        model = unknown(name, before).model.name
        assert model in {"person 0", unknown(name, after).model.name}


def test_whoever_does_not_know_the_secret_cannot_foretell_a_model(gallery):
    pairs = [
        [unknown(name, gallery, secret).model.name for secret in (SECRET, ANOTHER)]
        for name in STRANGERS[:300]
    ]
    assert sum(one == other for one, other in pairs) < 15


def test_where_nobody_is_enrolled_any_encoder_may_judge_and_a_fresh_phrase_is_asked_for():
    claim = unknown("zoe", gallery_of([]))
    assert (claim.person, claim.model) == (None, None)
    assert (claim.encoder, claim.passphrase, claim.recordings) == ("", "", ())


def test_a_claim_is_told_by_the_name_as_it_was_claimed(gallery):
    assert unknown(" Zoe\u0308 ", gallery).name == "Zoë"
    with pytest.raises(InvalidName):
        unknown("a/b", gallery)


def test_only_recordings_that_have_a_fingerprint_are_known():
    person = MAKERS["person"]("ada", utterances=2)
    first, second = person.utterances
    spoken = (replace(first, fingerprint=b"heard"), second)
    assert Claim.to_be(replace(person, utterances=spoken)).recordings == (b"heard",)


# ---- What whoever logs in may find out by a recording of their own


@pytest.fixture(scope="module")
def clara(examiner, utterance_of, tmp_path_factory):
    """Return a Membrane that knows clara alone, with her passphrase: all names are led like her."""
    database = tmp_path_factory.mktemp("clara") / "voiceprints.joblib"
    settings = Settings(database=database, **{**UNGUARDED, "replay": "refuse"})
    membrane = Membrane(settings, processes=0)
    phrases = [examiner.examine(utterance_of("clara", "enrol", 0), enrolling=True)]
    membrane.enroll("clara", phrases, passphrase=PASSPHRASE)
    return membrane


def test_a_passphrase_of_ones_own_is_wrong_under_a_name_that_nobody_has(clara, utterance_of):
    own = clara.verify("clara", utterance_of("clara", "passphrase1"))
    assert own.accepted
    assert own.words.accepted
    unknown = clara.verify("zoe", utterance_of("clara", "passphrase1"))
    assert not unknown.accepted
    assert not unknown.words.accepted
    assert unknown.words.problem == "other words"
    assert unknown.reason == (
        "The voice is not close enough to zoe's. The words are not the ones asked for."
    )


def test_a_recording_of_ones_own_enrolment_is_not_told_under_a_name_that_nobody_has(
    clara, utterance_of
):
    enrolled = utterance_of("clara", "enrol", 0)
    assert clara.verify("clara", enrolled, expected="1 2 3").replayed
    unknown = clara.verify("zoe", enrolled, expected="1 2 3")
    assert not unknown.replayed
    assert "heard before" not in unknown.reason


def test_another_voice_is_told_the_same_of_a_passphrase_whether_there_is_one_or_not(
    clara, utterance_of
):
    known, unknown = (
        clara.verify(name, utterance_of("boris", "passphrase1")) for name in ("clara", "zoe")
    )
    assert not known.accepted
    assert known.words.accepted == unknown.words.accepted
    assert (known.words.expected, known.words.heard) == ("", "")
    assert (unknown.words.expected, unknown.words.heard) == ("", "")
    assert unknown.reason == known.reason.replace("clara", "zoe")
    hidden = [replace(one, numbers_hidden=True, timings={}) for one in (known, unknown)]
    one, other = (str(decision.as_json()) for decision in hidden)
    assert other == one.replace("'clara'", "'zoe'").replace("clara's", "zoe's")

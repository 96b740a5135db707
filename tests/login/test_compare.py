import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from membrane.errors import Disagreement, EncoderMismatch, UnknownName, UsageError
from membrane.login.examine import Examiner
from membrane.login.membrane import Membrane
from membrane.login.voices import Voices
from membrane.models import registry as models
from membrane.settings import Settings
from membrane.voice.encoder import ENCODERS
from membrane.voice.judge import Judge
from tests import second_encoder
from tests.second_encoder import NAME as TURNED
from tests.second_encoder import STRETCH, WORTH

PASSPHRASE = "the river runs quietly past the old mill"
GONE = "gone"


@pytest.fixture(scope="module", autouse=True)
def both(tmp_path_factory):
    """Ship a second encoder beside the first, for the tests of this file."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("shipped")
        with second_encoder.beside(patch, folder) as weights:
            yield weights


@pytest.fixture
def by(unguarded, tmp_path):
    """Return a Membrane of an encoder, all with one database: ``by("turned")``."""

    def make(encoder="resemblyzer", **settings):
        database = tmp_path / "voiceprints.joblib"
        options = {**unguarded, **settings}
        return Membrane(Settings(database=database, encoder=encoder, **options), processes=0)

    return make


@pytest.fixture(scope="module")
def phrases_by(both, utterance_of):
    """Return somebody's three phrases as an encoder heard them, once."""
    examiners = {
        name: Examiner(Voices(Settings(encoder=name)).own) for name in ("resemblyzer", TURNED)
    }

    @cache
    def examine(person, encoder):
        said = [utterance_of(person, "enrol", number) for number in range(3)]
        return [examiners[encoder].examine(one, enrolling=True) for one in said]

    return examine


@pytest.fixture
def enrol(by, phrases_by):
    def enrol(person, encoder="resemblyzer", *, name=None, **options):
        return by(encoder).enroll(name or person, phrases_by(person, encoder), **options)

    return enrol


@pytest.fixture
def mixed(enrol):
    """Enrol ada and boris with the default encoder, clara and edgar with the other."""
    for person, encoder in (
        ("ada", "resemblyzer"),
        ("clara", TURNED),
        ("boris", "resemblyzer"),
        ("edgar", TURNED),
    ):
        enrol(person, encoder)


@pytest.fixture
def heard(monkeypatch):
    """Return which encoder heard something, each time."""
    names = []
    for module, class_name in (ENCODERS["resemblyzer"], ENCODERS[TURNED]):
        kind = getattr(__import__(module, fromlist=[class_name]), class_name)
        if "embed" not in vars(kind):
            continue
        original = kind.embed

        def embed(self, samples, original=original):
            if type(self).__name__ == original.__qualname__.partition(".")[0]:
                names.append(self.name)
            return original(self, samples)

        monkeypatch.setattr(kind, "embed", embed)
    return names


def gone(membrane, name):
    """Pretend that somebody was enrolled with an encoder that no longer exists."""
    membrane.store.update(name, lambda voiceprint: replace(voiceprint, encoder=GONE))


# ---- One person


@pytest.mark.parametrize("default", ["resemblyzer", TURNED])
@pytest.mark.parametrize("encoder", ["resemblyzer", TURNED])
def test_somebody_is_let_in_by_the_encoder_they_were_enrolled_with(
    by, enrol, utterance_of, default, encoder
):
    enrol("ada", encoder)
    decision = by(default).verify("ada", utterance_of("ada", "login"))
    assert decision.accepted
    assert decision.encoder == decision.as_json()["encoder"] == encoder
    assert not by(default).verify("ada", utterance_of("boris", "login")).accepted


def test_the_encoder_that_heard_the_voice_also_says_what_it_is_worth(by, enrol, utterance_of):
    login = utterance_of("boris", "login")
    enrol("boris")
    enrol("boris", TURNED, name="again")
    one, other = (by().verify(name, login).voice for name in ("boris", "again"))
    assert other.similarity == pytest.approx(one.similarity, abs=1e-5)
    assert other.score == pytest.approx(one.score + WORTH, abs=1e-3)
    assert (one.stretch_threshold, other.stretch_threshold) == (0.67, STRETCH)
    assert one.score_threshold == pytest.approx(Judge("resemblyzer").threshold)


def test_only_the_encoder_that_is_needed_hears_a_login(by, enrol, utterance_of, heard):
    enrol("ada", TURNED)
    heard.clear()
    by().verify("ada", utterance_of("ada", "login"))
    assert heard == [TURNED]


def test_the_owner_is_told_why_by_the_encoder_of_the_voiceprint(by, enrol, utterance_of):
    login = utterance_of("ada", "login")
    enrol("ada")
    enrol("ada", TURNED, name="again")
    one, other = (by().explain(name, login) for name in ("ada", "again"))
    assert (one.encoder, other.encoder) == ("resemblyzer", TURNED)
    assert other.explanation.stretch_threshold == STRETCH
    assert other.explanation.alike == pytest.approx(one.explanation.alike, abs=1e-3)
    assert other.explanation.strangers.closest == pytest.approx(
        one.explanation.strangers.closest, abs=5e-3
    )


def test_a_threshold_of_ones_own_is_held_against_either_encoder(by, enrol, utterance_of):
    enrol("ada", TURNED)
    login = utterance_of("ada", "login")
    found = by().verify("ada", login).voice.similarity
    assert by(threshold=found - 0.001).verify("ada", login).accepted
    assert not by(threshold=found + 0.001).verify("ada", login).accepted


def test_an_unknown_name_is_judged_by_the_encoder_of_somebody_enrolled(
    by, enrol, utterance_of, heard
):
    enrol("ada", TURNED)
    enrol("boris", TURNED)
    heard.clear()
    known, unknown = (by().verify(name, utterance_of("edgar", "login")) for name in ("ada", "zoe"))
    assert heard == [TURNED, TURNED]
    assert not unknown.accepted
    assert unknown.encoder == known.encoder == TURNED
    assert unknown.voice.stretch_threshold == known.voice.stretch_threshold == STRETCH
    assert unknown.voice.similarity < 0.8


def test_unknown_names_are_judged_by_either_encoder_that_somebody_was_enrolled_with(by, mixed):
    names = [f"nobody {number}" for number in range(40)]
    for encoder in ("resemblyzer", TURNED):
        membrane = by(encoder)
        judging = {membrane.voices.of_claim(membrane.claim(name)).name for name in names}
        assert judging == {"resemblyzer", TURNED}


def test_where_nobody_is_enrolled_the_default_encoder_judges(by, utterance_of):
    for encoder in ("resemblyzer", TURNED):
        decision = by(encoder).verify("zoe", utterance_of("edgar", "login"))
        assert (decision.accepted, decision.encoder) == (False, encoder)


def test_phrases_are_added_by_the_encoder_of_the_voiceprint(by, enrol, utterance_of):
    stored = enrol("ada", TURNED).voiceprint
    membrane = by()
    more = [membrane.examine(utterance_of("ada", "login"), enrolling=True)]
    voiceprint = membrane.add_phrases("ADA", more).voiceprint
    assert voiceprint.encoder == TURNED
    assert len(voiceprint.utterances) == 4
    assert voiceprint.vector @ stored.vector > 0.95
    added = by(TURNED).examine(utterance_of("ada", "login"), enrolling=True)
    np.testing.assert_allclose(voiceprint.utterances[3].vector, added.embedding.vector, atol=1e-6)


def test_phrases_of_somebody_else_are_not_added_by_another_encoder(by, enrol, utterance_of):
    enrol("ada", TURNED)
    membrane = by()
    with pytest.raises(Disagreement, match="does not sound like ada"):
        membrane.add_phrases("ada", [membrane.examine(utterance_of("boris", "login"))])
    assert len(membrane.store.get("ada").utterances) == 3


# ---- Everybody


@pytest.mark.parametrize("person", ["ada", "boris", "clara", "edgar"])
@pytest.mark.parametrize("default", ["resemblyzer", TURNED])
def test_the_best_of_both_encoders_is_identified(by, mixed, utterance_of, default, person):
    decision = by(default).identify(utterance_of(person, "login", 1))
    assert decision.accepted
    assert decision.person == person
    assert len(decision.candidates) == 4
    scores = [candidate.score for candidate in decision.candidates]
    assert scores == sorted(scores, reverse=True)
    assert decision.voice.score == scores[0]
    assert decision.encoder == by().store.get(person).encoder
    for candidate in decision.candidates:
        assert candidate.encoder == by().store.get(candidate.name).encoder


def test_the_same_voice_by_two_encoders_is_whose_score_is_higher(by, enrol, utterance_of):
    enrol("ada")
    enrol("ada", TURNED, name="again")
    for encoder in ("resemblyzer", TURNED):
        found = by(encoder).identify(utterance_of("ada", "login")).candidates
        assert [one.name for one in found] == ["again", "ada"]
        assert found[0].score == pytest.approx(found[1].score + WORTH, abs=1e-3)


def test_with_a_threshold_of_ones_own_the_most_similar_is_identified(by, mixed, utterance_of):
    decision = by(threshold=0.8).identify(utterance_of("edgar", "login"))
    assert (decision.person, decision.encoder) == ("edgar", TURNED)
    alike = [candidate.similarity for candidate in decision.candidates]
    assert alike == sorted(alike, reverse=True)
    assert decision.voice.score is None


def test_a_stranger_is_nobody_by_either_encoder(by, mixed, utterance_of):
    decision = by().identify(utterance_of("farid", "login"), top_n=3)
    assert not decision.accepted
    assert decision.reason == "This is nobody I know."
    assert len(decision.candidates) == 3


def test_the_voice_is_heard_once_by_each_encoder_that_somebody_was_enrolled_with(
    by, enrol, utterance_of, heard
):
    for person, encoder, expected in (
        ("ada", TURNED, [TURNED]),
        ("boris", TURNED, [TURNED]),
        ("clara", "resemblyzer", ["resemblyzer", TURNED]),
    ):
        enrol(person, encoder)
        heard.clear()
        by().identify(utterance_of(person, "login"))
        assert sorted(heard) == expected


def test_one_product_ranks_the_people_of_an_encoder(by, mixed, utterance_of, monkeypatch):
    galleries = []
    centred = "membrane.voice.normalisation.Centred.similarities"
    original = second_encoder.normalisation.Centred.similarities

    def count(self, gallery, probe):
        galleries.append(len(gallery))
        return original(self, gallery, probe)

    monkeypatch.setattr(centred, count)
    by().identify(utterance_of("ada", "login"), top_n=1)
    assert galleries.count(4) == 2


def test_a_passphrase_finds_its_owner_of_either_encoder(by, enrol, utterance_of):
    enrol("boris")
    enrol("clara", TURNED, passphrase=PASSPHRASE)
    decision = by().verify_anyone(utterance_of("clara", "passphrase1"))
    assert decision.accepted
    assert (decision.person, decision.encoder) == ("clara", TURNED)
    assert decision.words.heard == ""


def test_of_two_owners_of_one_passphrase_the_score_decides_between_encoders(
    by, enrol, utterance_of
):
    enrol("boris", passphrase=PASSPHRASE)
    enrol("clara", TURNED, passphrase=PASSPHRASE)
    assert by().verify_anyone(utterance_of("clara", "passphrase1")).person == "clara"
    assert by().verify_anyone(utterance_of("boris", "login")).person == ""


def test_a_voice_that_is_enrolled_by_the_other_encoder_is_warned_of(by, enrol):
    enrol("ada", TURNED)
    assert enrol("ada", name="alias").also_known_as == "ada"
    assert enrol("boris").also_known_as == ""


def test_every_decision_of_both_is_plain_json(by, mixed, utterance_of):
    for decision in (
        by().verify("clara", utterance_of("clara", "login")),
        by().explain("clara", utterance_of("clara", "login")),
        by().identify(utterance_of("clara", "login")),
    ):
        plain = decision.as_json()
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain


# ---- An encoder that is not here


def test_an_encoder_that_is_not_here_is_refused_with_the_way_to_migrate(by, enrol, utterance_of):
    enrol("ada")
    enrol("boris")
    membrane = by()
    gone(membrane, "ada")
    login = utterance_of("ada", "login")
    for ask in (
        lambda: membrane.verify("ada", login),
        lambda: membrane.explain("ada", login),
        lambda: membrane.identify(login),
        lambda: membrane.voices.of_claim(membrane.claim("ada")),
        lambda: membrane.reencode("ada", [login]),
        lambda: membrane.add_phrases("ada", [membrane.examine(login)]),
    ):
        with pytest.raises(EncoderMismatch, match="ada was enrolled with the encoder gone") as told:
            ask()
        assert "membrane enroll -u ada --reencode -f RECORDING" in str(told.value)
        assert "--replace" in str(told.value)
        assert "\n" not in str(told.value)
        assert told.value.exit_code == 6
    assert membrane.verify("boris", utterance_of("boris", "login")).accepted


def test_an_encoder_whose_network_is_damaged_is_refused_in_the_same_way(
    by, enrol, utterance_of, both, tmp_path, monkeypatch
):
    enrol("ada")
    model = models.registry()["resemblyzer"]
    monkeypatch.setattr(models, "registry", lambda: {"resemblyzer": replace(model, size=1)})
    with pytest.raises(EncoderMismatch, match=r"cannot run here .*has 5695373 bytes"):
        by(TURNED).verify("ada", utterance_of("ada", "login"))


def test_nobody_is_kept_from_enrolling_by_an_encoder_that_is_not_here(by, enrol):
    enrol("ada")
    gone(by(), "ada")
    assert enrol("boris").also_known_as == ""


# ---- Taking another encoder


def test_a_voiceprint_is_made_anew_and_the_rest_stays(by, enrol, utterance_of):
    before = enrol("ada", passphrase=PASSPHRASE).voiceprint
    kept = [utterance_of("ada", "enrol", number) for number in range(3)]
    after = by(TURNED).reencode("ADA", kept).voiceprint
    assert after.encoder == TURNED
    for same in ("name", "passphrase", "consent_at", "created_at"):
        assert getattr(after, same) == getattr(before, same)
    assert [one.source for one in after.utterances] == [one.source for one in kept]
    stored = by().store.get("ada")
    np.testing.assert_array_equal(stored.vector, after.vector)
    np.testing.assert_allclose(after.vector, before.vector @ second_encoder.rotation(), atol=1e-5)
    assert by().verify("ada", utterance_of("ada", "login", 1), expected="x").encoder == TURNED


def test_recordings_of_somebody_else_change_nothing(by, enrol, utterance_of):
    enrol("ada")
    before = by().store.path.read_bytes()
    mine, theirs = utterance_of("ada", "enrol"), utterance_of("boris", "enrol")
    for recordings in ([theirs], [mine, theirs], [theirs, mine]):
        with pytest.raises(Disagreement, match=r"boris.* does not sound like ada") as told:
            by(TURNED).reencode("ada", recordings)
        assert theirs.source in str(told.value)
    assert by().store.path.read_bytes() == before


def test_a_voiceprint_of_this_encoder_is_left_alone(by, enrol, utterance_of):
    enrol("ada", TURNED)
    with pytest.raises(UsageError, match="encoder turned already: leave out --reencode"):
        by(TURNED).reencode("ada", [utterance_of("ada", "enrol")])
    with pytest.raises(UnknownName):
        by(TURNED).reencode("zoe", [utterance_of("ada", "enrol")])
    enrol("boris")
    with pytest.raises(UsageError, match="without a recording"):
        by(TURNED).reencode("boris", [])


def test_whoever_was_changed_meanwhile_is_not_made_anew(by, enrol, utterance_of, monkeypatch):
    enrol("ada")
    membrane = by(TURNED)
    original = Examiner.examine

    def meanwhile(examiner, utterance, **options):
        gone(by(), "ada")
        return original(examiner, utterance, **options)

    monkeypatch.setattr(Examiner, "examine", meanwhile)
    with pytest.raises(EncoderMismatch, match="meanwhile: try again"):
        membrane.reencode("ada", [utterance_of("ada", "enrol")])
    assert membrane.store.get("ada").encoder == GONE

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from membrane.audio import activity
from membrane.audio.files import save_recording
from membrane.audio.preparation import prepare
from membrane.audio.utterance import SAMPLE_RATE, Utterance
from membrane.errors import NoSuchFile, UsageError
from membrane.evaluation.codecs import CODECS
from membrane.evaluation.conditions import CLEAN, Condition, conditions

NAMES = ("pink", "white")


def hiss(seconds, level=0.05, seed=0):
    chance = np.random.default_rng(seed)
    return chance.normal(0, level, int(seconds * SAMPLE_RATE)).astype(np.float32)


def power(samples):
    return float(np.mean(np.square(samples, dtype=np.float64)))


def speech_of(samples):
    mask = activity.speech_mask(activity.probabilities(samples))
    return activity.spread(mask, len(samples))


def decibels(ratio):
    return 10 * np.log10(ratio)


@pytest.fixture(scope="module")
def voice(utterance_of):
    return utterance_of("ada", "login")


@pytest.fixture
def noises(tmp_path):
    """A folder with a noise shorter than any probe, a longer one, and a silent one."""
    folder = tmp_path / "noises"
    folder.mkdir()
    save_recording(folder / "short.wav", hiss(0.5))
    save_recording(folder / "long.flac", hiss(20, seed=1))
    save_recording(folder / "silent.wav", np.zeros(SAMPLE_RATE, np.float32))
    return folder


@pytest.fixture
def rooms(tmp_path):
    folder = tmp_path / "rooms"
    folder.mkdir()
    response = hiss(0.3) * np.geomspace(0.8, 1e-3, int(0.3 * SAMPLE_RATE)).astype(np.float32)
    response[800] = 0.9  # the direct sound, after 50 ms
    save_recording(folder / "room.wav", response)
    return folder


def names_of(found):
    return [condition.name for condition in found]


def only(found):
    """Return the one condition besides the clean one."""
    clean, condition = found
    assert clean == CLEAN
    return condition


def test_without_a_wish_the_recordings_stay_as_they_are(voice):
    assert conditions() == (CLEAN,)
    assert CLEAN.apply(voice, seed=1) is voice


def test_every_wish_is_a_condition_and_the_clean_one_is_first(noises, rooms, recordings):
    found = conditions(
        noise=str(noises),
        babble=recordings,
        snr=[10, 2.5],
        reverb=rooms,
        seconds=[3, 1],
        codec=["telephone"],
    )
    assert names_of(found) == [
        *("clean", "noise 10 dB", "noise 2.5 dB", "babble 10 dB", "babble 2.5 dB"),
        *("reverb", "3 s", "1 s", "telephone"),
    ]
    assert [one.kind for one in found] == [
        *("clean", "noise", "noise", "babble", "babble", "reverb", "seconds", "seconds", "codec")
    ]
    assert [one.snr_db for one in found[:3]] == [None, 10, 2.5]
    assert [one.seconds for one in found[-3:-1]] == [3, 1]


def test_noise_without_a_ratio_has_four():
    assert [one.snr_db for one in conditions(noise="pink")[1:]] == [20, 10, 5, 0]


def test_what_is_asked_for_twice_is_measured_once():
    assert names_of(conditions(noise="pink", snr=[10, 10.0])) == ["clean", "pink noise 10 dB"]


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"snr": [10]}, "needs a noise"),
        ({"noise": "pink", "snr": [float("nan")]}, "nan dB is no ratio: use -40 to 100"),
        ({"noise": "pink", "snr": [1000]}, "1000 dB is no ratio"),
        ({"seconds": [0]}, r"0 s of speech cannot be kept: use 0\.1 to 300"),
        ({"seconds": [float("inf")]}, "inf s of speech"),
        ({"codec": ["fax"]}, "codec 'fax' does not exist here: choose from telephone"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused_in_one_line(wish, message):
    with pytest.raises(UsageError, match=message) as refused:
        conditions(**wish)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("wish", ["noise", "babble", "reverb"])
def test_a_folder_without_sounds_is_refused(wish, tmp_path):
    (tmp_path / "empty").mkdir()
    given = str if wish == "noise" else Path
    with pytest.raises(NoSuchFile, match="nowhere"):
        conditions(**{wish: given(tmp_path / "nowhere")})
    with pytest.raises(UsageError, match="empty holds no recording"):
        conditions(**{wish: given(tmp_path / "empty")})


def test_a_folder_of_the_name_of_a_made_noise_is_taken(noises, monkeypatch, tmp_path):
    noises.rename(tmp_path / "pink")
    monkeypatch.chdir(tmp_path)
    assert len(only(conditions(noise="pink", snr=[5])).files) == 3
    with pytest.raises(NoSuchFile, match="no folder 'brown': give one with noises, or pink or wh"):
        conditions(noise="brown")


@pytest.mark.parametrize("snr_db", [20, 0])
@pytest.mark.parametrize("noise", ["files", *NAMES])
def test_speech_stands_above_the_noise_by_the_ratio(noise, snr_db, voice, noises):
    chosen = str(noises) if noise == "files" else noise
    quiet = Utterance(voice.samples / 4)
    noisy = only(conditions(noise=chosen, snr=[snr_db])).apply(quiet, seed=3)
    added = noisy.samples - quiet.samples
    ratio = power(quiet.samples[speech_of(quiet.samples)]) / power(added)
    assert decibels(ratio) == pytest.approx(snr_db, abs=0.01)
    assert len(noisy.ambient) == 2 * SAMPLE_RATE
    assert decibels(power(noisy.ambient) / power(added)) == pytest.approx(0, abs=1)
    assert noisy.samples.dtype == noisy.ambient.dtype == np.float32


def test_the_gate_measures_the_ratio_that_was_asked_for(voice):
    noisy = only(conditions(noise="white", snr=[12])).apply(voice, seed=0)
    assert prepare(noisy).quality.snr_db == pytest.approx(12, abs=2)


def test_what_would_be_clipped_is_made_quieter_with_its_room(voice):
    loud = Utterance(voice.samples / np.abs(voice.samples).max())
    noisy = only(conditions(noise="white", snr=[0])).apply(loud, seed=0)
    assert np.abs(noisy.samples).max() == pytest.approx(1)
    again = only(conditions(noise="white", snr=[0])).apply(Utterance(loud.samples / 4), seed=0)
    quieter = noisy.samples[1000] / again.samples[1000]
    assert quieter < 4
    np.testing.assert_allclose(noisy.ambient, again.ambient * quieter, rtol=1e-3)


@pytest.mark.parametrize(("noise", "slope_db"), [("pink", -3), ("white", 0)])
def test_made_noise_has_its_colour(noise, slope_db):
    made = only(conditions(noise=noise, snr=[0])).apply(Utterance(hiss(30)), seed=0).ambient
    spectrum = np.abs(np.fft.rfft(made)) ** 2
    hertz = np.fft.rfftfreq(len(made), 1 / SAMPLE_RATE)
    low, high = (spectrum[(hertz > edge) & (hertz < 2 * edge)].mean() for edge in (500, 2000))
    assert decibels(high / low) / 2 == pytest.approx(slope_db, abs=0.5)


def test_choices_depend_on_the_probe_and_the_condition_alone(voice, noises):
    light, heavy = conditions(noise=str(noises), snr=[10, 5])[1:]
    once = light.apply(voice, seed=7)
    np.testing.assert_array_equal(light.apply(voice, seed=7).samples, once.samples)
    np.testing.assert_array_equal(light.apply(voice, seed=7).ambient, once.ambient)
    assert (light.apply(voice, seed=8).ambient != once.ambient).any()
    other = heavy.apply(voice, seed=7).ambient
    assert abs(np.corrcoef(other, once.ambient)[0, 1]) < 0.5


def test_silent_and_unreadable_noises_are_passed_over(voice, noises):
    (noises / "broken.wav").write_bytes(b"no sound")
    (noises / "short.wav").unlink()
    condition = only(conditions(noise=str(noises), snr=[10]))
    assert len(condition.files) == 3
    for seed in range(6):
        assert power(condition.apply(voice, seed=seed).ambient) > 0


def test_a_folder_of_silent_noises_is_refused(voice, noises):
    (noises / "short.wav").unlink()
    (noises / "long.flac").unlink()
    condition = only(conditions(noise=str(noises), snr=[10]))
    with pytest.raises(UsageError, match=r"none of the 1 noises can be heard \(.*silent\.wav"):
        condition.apply(voice, seed=0)


def test_a_folder_of_unreadable_responses_is_refused(voice, rooms):
    (rooms / "room.wav").write_bytes(b"no sound")
    with pytest.raises(UsageError, match="none of the 1 room responses can be used"):
        only(conditions(reverb=rooms)).apply(voice, seed=0)


def test_babble_is_of_other_people(recordings, recording, voice, monkeypatch):
    heard = []
    monkeypatch.setattr(
        "membrane.evaluation.conditions.babble_from",
        lambda files, length, chance: heard.extend(files) or hiss(length / SAMPLE_RATE),
    )
    own = recording("ada", "login")
    only(conditions(babble=recordings, snr=[10])).apply(voice, seed=0, avoid=[own])
    assert {path.parent.name for path in heard} == {"boris", "clara", "edgar", "farid"}


def test_in_a_flat_folder_babble_leaves_out_the_probe_itself(recordings, voice, tmp_path):
    for path in sorted(recordings.glob("*/login*"))[:6]:
        (tmp_path / f"{path.parent.name}-{path.name}").symlink_to(path)
    condition = only(conditions(babble=tmp_path, snr=[10]))
    own = condition.files[0]
    with_own, without = (condition.apply(voice, seed=0, avoid=a) for a in ([], [own]))
    assert (with_own.samples != without.samples).any()
    with pytest.raises(UsageError, match=r"babble needs 5 recordings .* only 4 can be used"):
        condition.apply(voice, seed=0, avoid=condition.files[:2])


def test_babble_stands_below_the_speech_by_the_ratio(recordings, voice):
    quiet = Utterance(voice.samples / 4)
    noisy = only(conditions(babble=recordings, snr=[5])).apply(quiet, seed=0)
    ratio = power(quiet.samples[speech_of(quiet.samples)]) / power(noisy.samples - quiet.samples)
    assert decibels(ratio) == pytest.approx(5, abs=0.01)
    assert len(noisy.ambient) == 2 * SAMPLE_RATE


def test_recordings_without_speech_make_no_babble(noises, voice):
    with pytest.raises(UsageError, match="only 0 can be used"):
        only(conditions(babble=noises, snr=[10])).apply(voice, seed=0)


def test_a_room_echoes_without_delay_and_as_loud_as_before(rooms, voice):
    echoing = only(conditions(reverb=rooms)).apply(voice, seed=0)
    assert len(echoing.samples) == len(voice.samples)
    mask = speech_of(voice.samples)
    assert decibels(power(echoing.samples[mask]) / power(voice.samples[mask])) == pytest.approx(
        0, abs=0.05
    )
    delays = np.arange(-1000, 1000)
    matches = [
        np.dot(voice.samples[1000:-1000], np.roll(echoing.samples, -d)[1000:-1000]) for d in delays
    ]
    assert abs(delays[int(np.argmax(matches))]) <= 1
    assert np.corrcoef(echoing.samples, voice.samples)[0, 1] < 0.99


@pytest.mark.parametrize("seconds", [1, 1.5])
def test_a_cut_probe_holds_that_much_speech_from_its_first_word_on(seconds, voice):
    cut = only(conditions(seconds=[seconds])).apply(voice, seed=0)
    mask = activity.speech_mask(activity.probabilities(voice.samples))
    start = int(np.flatnonzero(mask)[0]) * activity.CHUNK
    np.testing.assert_array_equal(cut.samples, voice.samples[start : start + len(cut.samples)])
    kept = mask[start // activity.CHUNK :][: len(cut.samples) // activity.CHUNK]
    assert kept.sum() * activity.CHUNK / SAMPLE_RATE == pytest.approx(seconds, abs=0.016)
    assert kept[-1]


@pytest.mark.parametrize(("before", "kept"), [(0, False), (15, False), (16, True), (60, True)])
def test_the_room_before_the_first_word_stays_known_from_half_a_second_on(
    before, kept, monkeypatch
):
    sound = hiss(5)
    speech = (np.arange(len(sound) // activity.CHUNK) >= before).astype(np.float32)
    monkeypatch.setattr(activity, "probabilities", lambda samples: speech)
    heard = only(conditions(seconds=[1])).apply(Utterance(sound), seed=0)
    start = before * activity.CHUNK
    np.testing.assert_array_equal(heard.ambient, sound[: start if kept else 0])
    np.testing.assert_array_equal(heard.samples[:100], sound[start : start + 100])


def test_a_probe_of_less_speech_stays_as_it_is(voice):
    assert only(conditions(seconds=[60])).apply(voice, seed=0) is voice


@pytest.mark.parametrize("codec", CODECS)
def test_a_codec_changes_the_voice_and_not_its_time(codec, voice):
    heard = only(conditions(codec=[codec])).apply(voice, seed=0).samples
    assert len(heard) == len(voice.samples)
    assert heard.dtype == np.float32
    assert np.abs(heard).max() <= 1
    delays = np.arange(-40, 41)
    likeness = [np.corrcoef(np.roll(heard, -delay), voice.samples)[0, 1] for delay in delays]
    assert 0.8 < max(likeness) < 0.9999
    assert (
        abs(delays[int(np.argmax(likeness))]) <= 32
    )  # two milliseconds: what the filter of the band delays


@pytest.mark.parametrize(("hertz", "passes"), [(100, False), (1000, True), (3700, False)])
def test_a_telephone_passes_its_band_alone(hertz, passes):
    tone = 0.5 * np.sin(2 * np.pi * hertz * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    heard = only(conditions(codec=["telephone"])).apply(Utterance(tone.astype(np.float32)), seed=0)
    loss = decibels(power(tone) / power(heard.samples))
    assert loss < 1 if passes else loss > 15


def test_a_telephone_rounds_as_mu_law_does():
    # ITU-T G.711: a full-scale tone through 8-bit mu-law is 36 to 40 dB above its rounding.
    tone = 0.5 * np.sin(2 * np.pi * 1004 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    condition = only(conditions(codec=["telephone"]))
    heard = condition.apply(Utterance(tone.astype(np.float32)), seed=0).samples[4000:12000]
    waves = np.exp(2j * np.pi * 1004 * np.arange(len(heard)) / SAMPLE_RATE)
    fitted = 2 * np.real(np.mean(heard * waves.conj()) * waves)
    assert 34 < decibels(power(fitted) / power(heard - fitted)) < 42


def test_a_codec_that_libsndfile_lacks_is_not_offered(monkeypatch):
    from membrane.evaluation import codecs

    monkeypatch.setitem(CODECS, "opus", codecs.Codec("OGG", "GSM610", SAMPLE_RATE))
    codecs._works.cache_clear()
    with pytest.raises(UsageError, match=r"'opus' does not exist here: .*telephone, gsm, mp3$"):
        conditions(codec=["opus"])
    codecs._works.cache_clear()


EVERY = ("pink noise 0 dB", "reverb", "1 s", *CODECS)


@settings(max_examples=40, deadline=None)
@given(
    samples=arrays(
        np.float32, st.integers(1, 3000), elements=st.floats(-1, 1, width=32), fill=st.just(0.0)
    ),
    name=st.sampled_from(EVERY),
)
def test_whatever_sound_comes_in_sound_comes_out(samples, name, room_conditions):
    heard = room_conditions[name].apply(Utterance(samples), seed=0)
    assert len(heard.samples) == len(samples)
    assert np.isfinite(heard.samples).all()
    assert np.abs(heard.samples).max() <= 1


@pytest.fixture(scope="module")
def room_conditions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("room")
    save_recording(folder / "room.wav", hiss(0.1))
    found = conditions(noise="pink", snr=[0], reverb=folder, seconds=[1], codec=list(CODECS))
    return {one.name: one for one in found}


def test_the_hash_is_of_what_is_done_and_of_what_the_files_hold(noises, tmp_path):
    light, heavy = conditions(noise=str(noises), snr=[10, 5])[1:]
    assert light.content_hash() != heavy.content_hash() != CLEAN.content_hash()
    moved = noises.rename(tmp_path / "elsewhere")
    assert only(conditions(noise=str(moved), snr=[10])).content_hash() == light.content_hash()
    save_recording(moved / "new.wav", hiss(1, seed=4))
    assert only(conditions(noise=str(moved), snr=[10])).content_hash() != light.content_hash()


def test_the_hash_of_a_babble_is_of_those_that_are_left(recordings, recording):
    condition = only(conditions(babble=recordings, snr=[10]))
    ada, boris = (
        condition.content_hash(avoid=[recording(who, "login")]) for who in ("ada", "boris")
    )
    assert len({ada, boris, condition.content_hash()}) == 3
    assert condition.content_hash(avoid=[recording("ada", "enrol")]) == ada


def test_a_condition_travels_to_other_processes():
    import pickle

    condition = Condition("noise 5 dB", "noise", (Path("a.wav"),), snr_db=5.0)
    assert pickle.loads(pickle.dumps(condition)) == condition

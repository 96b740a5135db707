import shutil

import numpy as np
import pytest
import soundfile

from membrane.audio.files import read_utterance
from membrane.audio.preparation import at_voice_level, prepare
from membrane.errors import UsageError
from membrane.training import material as module
from membrane.training.material import Material, Sources, gather, kept_speech, split
from membrane.voice.frontends.trimming import raise_volume, trim_silences
from tests.training.synthetic_material import voice


@pytest.fixture
def home_made(tmp_path, recordings):
    """A small corpus of three synthetic voices, two recordings each."""
    for name in ("ada", "boris", "clara"):
        (tmp_path / "home" / name).mkdir(parents=True)
        for path in sorted((recordings / name).glob("*.flac"))[:2]:
            shutil.copy(path, tmp_path / "home" / name)
    return tmp_path / "home"


@pytest.fixture
def sounds(tmp_path):
    """Write sounds into a folder: ``sounds("noise", hiss=samples)``."""

    def write(folder, **files):
        (tmp_path / folder).mkdir(exist_ok=True)
        for name, samples in files.items():
            soundfile.write(tmp_path / folder / f"{name}.wav", samples, 16_000, "FLOAT")
        return tmp_path / folder

    return write


def gathered(speech, **sources):
    return gather(Sources((speech,), **sources), workers=1)


def same(one, other):
    return [
        (np.array_equal(a.whole, b.whole) and np.array_equal(a.speech, b.speech))
        for v, w in zip(one.voices, other.voices, strict=True)
        for a, b in zip(v.utterances, w.utterances, strict=True)
    ]


def test_speech_is_prepared_as_the_encoder_hears_it(home_made):
    found = gathered(home_made)
    assert [voice.speaker for voice in found.voices] == ["home/ada", "home/boris", "home/clara"]
    assert [len(voice.utterances) for voice in found.voices] == [2, 2, 2]
    whole = at_voice_level(
        prepare(read_utterance(sorted((home_made / "ada").iterdir())[0]), denoising="never").samples
    )
    spoken = found.voices[0].utterances[0]
    np.testing.assert_array_equal(spoken.whole, whole.astype(np.float16))
    speech = trim_silences(raise_volume(whole))
    np.testing.assert_array_equal(spoken.speech, speech.astype(np.float16))
    assert found.seconds == pytest.approx(
        sum(len(one.speech) for voice in found.voices for one in voice.utterances) / 16_000
    )
    assert found.notes == ()


def test_a_second_start_decodes_nothing_and_finds_the_same(home_made, monkeypatch):
    first = gathered(home_made)

    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(module, "_decoded", refuse)
    told = []
    again = gather(Sources((home_made,)), workers=1, progress=lambda *now: told.append(now))
    assert all(same(first, again))
    assert told == [(done, 6) for done in range(1, 7)]


def test_a_damaged_entry_is_decoded_again(home_made):
    first = gathered(home_made)
    kept = next(path for path in kept_speech().folder.rglob("*.speech"))
    kept.write_bytes(kept.read_bytes()[:-2])
    assert all(same(first, gathered(home_made)))


def test_where_nothing_can_be_kept_it_is_noted(home_made, membrane_home):
    membrane_home.mkdir()
    (membrane_home / "cache").touch()
    assert ["prepared speech cannot be kept" in n.lower() for n in gathered(home_made).notes] == [
        True
    ]


def test_short_and_unreadable_recordings_are_left_out_with_a_note(home_made):
    soundfile.write(home_made / "ada" / "short.wav", np.zeros(1_000), 16_000)
    (home_made / "boris" / "broken.wav").write_bytes(b"no sound")
    (home_made / "boris" / "gone.wav").symlink_to("nowhere")
    told = []
    found = gather(Sources((home_made,)), workers=1, progress=lambda *now: told.append(now))
    assert [len(voice.utterances) for voice in found.voices] == [2, 2, 2]
    assert told[-1] == (9, 9)
    unreadable, short = found.notes
    assert unreadable.startswith("Left out: 2 recordings that cannot be used, such as ")
    assert short == "Left out: 1 recording of less than 0.25 s of speech."


def test_one_speaker_is_too_few(tmp_path, recordings):
    shutil.copytree(recordings / "ada", tmp_path / "home" / "ada")
    with pytest.raises(UsageError, match="of 1 speaker only"):
        gathered(tmp_path / "home")


def test_recordings_that_hold_no_sound_end_in_one_line(sounds):
    folder = sounds("home", ada=np.zeros(16_000), boris=np.zeros(16_000))
    with pytest.raises(UsageError, match="of 0 speakers only"):
        gathered(folder)


def test_noises_and_rooms_are_found_and_levelled(home_made, sounds):
    hiss = np.random.default_rng(0).normal(0, 1e-3, 8_000)
    noise = sounds("noise", hiss=hiss, nothing=np.zeros(8_000))
    room = sounds("rir", hall=np.array([0.0, 0.2, -0.4, 0.1]))
    found = gathered(home_made, noises=(noise,), rooms=(room,))
    (heard,) = found.noises
    assert np.sqrt(np.mean(heard.astype(float) ** 2)) == pytest.approx(0.1, rel=1e-2)
    np.testing.assert_allclose(found.rooms[0], [1.0, -0.25], rtol=1e-6)
    (note,) = found.notes
    assert note.startswith("Left out: 1 noise that cannot be used, such as ")
    assert "nothing.wav is silent" in note


def test_listed_noises_are_left_out(home_made, sounds, tmp_path):
    hiss = np.random.default_rng(0).normal(0, 0.1, 8_000)
    noise = sounds("noise", hiss=hiss, hum=hiss)
    without = tmp_path / "without.txt"
    without.write_text("noise/hiss.wav\nada\n")
    found = gathered(home_made, noises=(noise,), without=without)
    assert len(found.noises) == 1
    assert len(found.voices) == 2
    without.write_text("noise/hiss.wav\nnoise/hum.wav\n")
    with pytest.raises(UsageError, match="leaves nothing of"):
        gathered(home_made, noises=(noise,), without=without)


def test_a_folder_without_noises_is_refused(home_made, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no recording"):
        gathered(home_made, noises=(tmp_path / "empty",))


def test_noises_of_which_none_is_heard_are_refused(home_made, sounds):
    with pytest.raises(UsageError, match=r"no noise can be used, such as .*is silent"):
        gathered(home_made, noises=(sounds("noise", nothing=np.zeros(100)),))


def many(*counts):
    voices = [voice(n, 0.1, 1, f"c{c}") for c, count in enumerate(counts) for n in range(count)]
    noises = tuple(np.full(4, n, np.float16) for n in range(10))
    return Material(tuple(voices), noises, (np.ones(1, np.float32),), ("a note",))


def test_a_split_takes_a_share_of_the_speakers_of_each_corpus_and_of_the_noises():
    whole = many(10, 50, 3, 1)
    training, validation = split(whole, 0, 0.2)
    apart = [one.corpus for one in validation.voices]
    assert [apart.count(f"c{number}") for number in range(4)] == [2, 10, 1, 0]
    names = [{one.speaker for one in part.voices} for part in (training, validation)]
    assert names[0].isdisjoint(names[1])
    assert len(names[0] | names[1]) == 64
    levels = [{float(noise[0]) for noise in part.noises} for part in (training, validation)]
    assert levels[0] | levels[1] == set(range(10))
    assert len(levels[1]) == 2
    assert len(training.rooms) == len(validation.rooms) == 1


def test_a_split_depends_on_its_seed_alone():
    def names(seed):
        return [one.speaker for one in split(many(20), seed, 0.5)[1].voices]

    assert names(1) == names(1)
    assert names(1) != names(2)


def test_nothing_may_be_held_back():
    training, validation = split(many(5), 0, 0.0)
    assert len(training.voices) == 5
    assert validation.voices == ()
    assert validation.noises == ()


def test_single_words_make_a_brief_voice():
    assert voice(0, seconds=0.6).brief
    assert not voice(0, seconds=1.4).brief

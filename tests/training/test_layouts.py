from pathlib import Path

import numpy as np
import pytest
import soundfile

from membrane.errors import NoSuchFile, UsageError
from membrane.training.layouts import find_speech


@pytest.fixture
def corpus(tmp_path):
    """Make a corpus of empty sounds: ``corpus("LibriSpeech", "dev/1/2/1-2-0000.flac", ...)``."""

    def made(name, *files):
        for number, file in enumerate(files):
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{name} {number}".encode())
        return tmp_path / name

    return made


def speakers(*folders, without=None, notes=None):
    found = find_speech(folders, without=without, notes=[] if notes is None else notes)
    return {recording.files[0].name: recording.speaker for recording in found}


def test_librispeech_is_known_by_its_file_names_whatever_lies_around(corpus):
    files = ["train-clean-100/103/1240/103-1240-0000.flac", "dev-other/103/1/103-1-0001.flac"]
    folder = corpus("LibriSpeech", *files, "dev-clean/84/7/84-7-0000.flac", "84-7-0001.flac")
    assert speakers(folder) == {
        "103-1240-0000.flac": "LibriSpeech/103",
        "103-1-0001.flac": "LibriSpeech/103",
        "84-7-0000.flac": "LibriSpeech/84",
        "84-7-0001.flac": "LibriSpeech/84",
    }


def test_voxceleb_is_known_by_its_identities(corpus):
    folder = corpus("vox", "dev/wav/id10270/5r0dWxy17C8/1.wav", "test/wav/id10271/x_-A/2.wav")
    assert speakers(folder) == {"1.wav": "vox/id10270", "2.wav": "vox/id10271"}


def test_speech_commands_is_known_by_its_hashes_and_its_noises_are_no_speech(corpus):
    names = ["bed/012c8314_nohash_0.wav", "cat/012c8314_nohash_1.wav", "cat/0135f3f2_nohash_0.wav"]
    notes = []
    found = speakers(corpus("words", *names, "_background_noise_/pink.wav"), notes=notes)
    assert found == {
        "012c8314_nohash_0.wav": "words/012c8314",
        "012c8314_nohash_1.wav": "words/012c8314",
        "0135f3f2_nohash_0.wav": "words/0135f3f2",
    }
    assert ["pink.wav" in note for note in notes] == [True]


@pytest.mark.parametrize("table", ["validated.tsv", "train.tsv"])
def test_common_voice_is_known_by_its_table_and_what_is_not_in_it_is_left_out(corpus, table):
    folder = corpus("cv", *(f"cv-21/fr/clips/common_voice_fr_{number}.mp3" for number in range(3)))
    (folder / "cv-21/fr" / table).write_text(
        'client_id\tpath\tsentence\nabc\tcommon_voice_fr_0.mp3\t"Oui\n'
        "def\tcommon_voice_fr_2.mp3\tNon\n"
    )
    notes = []
    assert speakers(folder, notes=notes) == {
        "common_voice_fr_0.mp3": "cv/abc",
        "common_voice_fr_2.mp3": "cv/def",
    }
    assert ["common_voice_fr_1.mp3" in note for note in notes] == [True]


def test_a_table_of_something_else_is_refused(corpus):
    folder = corpus("cv", "clips/1.mp3")
    (folder / "train.tsv").write_text("file\twho\n1.mp3\tann\n")
    with pytest.raises(UsageError, match="needs the columns client_id and path"):
        speakers(folder)


def test_a_folder_for_each_speaker_is_the_default(corpus):
    assert speakers(corpus("home", "ann/monday/1.wav", "bob/2.wav")) == {
        "1.wav": "home/ann",
        "2.wav": "home/bob",
    }


def test_folders_of_subsets_around_all_speakers_are_no_speakers(corpus):
    folder = corpus("vctk", "train/wav48/p225/a/1.flac", "test/wav48/p226/b/2.flac")
    assert speakers(folder) == {"1.flac": "vctk/p225", "2.flac": "vctk/p226"}


def test_a_speaker_called_like_a_subset_is_still_one(corpus):
    assert speakers(corpus("home", "dev/monday/1.wav", "ann/monday/2.wav")) == {
        "1.wav": "home/dev",
        "2.wav": "home/ann",
    }


def test_files_without_folders_are_of_a_speaker_each(corpus):
    assert speakers(corpus("flat", "ann.wav", "bob.wav")) == {
        "ann.wav": "flat/ann",
        "bob.wav": "flat/bob",
    }


def test_each_corpus_has_a_layout_of_its_own(corpus):
    libri, home = (
        corpus("libri", "x/1-2-0000.flac"),
        corpus("home", "ann/1-2-0000.wav", "bob/2.wav"),
    )
    assert speakers(libri, home) == {
        "1-2-0000.flac": "libri/1",
        "1-2-0000.wav": "home/ann",
        "2.wav": "home/bob",
    }


@pytest.mark.parametrize(
    "entry", ["103", "LibriSpeech/103", "LibriSpeech/a/103/", "LibriSpeech/a/103/1-1.flac"]
)
def test_what_is_listed_is_left_out_under_any_of_its_names(corpus, tmp_path, entry):
    listed = tmp_path / "heldback.txt"
    listed.write_text(f"# held back\n{entry.replace('1-1', '103-1-0000')}\n")
    folder = corpus("LibriSpeech", "a/103/103-1-0000.flac", "a/84/84-1-0000.flac")
    assert set(speakers(folder, without=listed).values()) == {"LibriSpeech/84"}


def test_a_list_that_names_nothing_is_noted(corpus, tmp_path):
    listed = tmp_path / "heldback.txt"
    listed.write_text("nobody\n")
    notes = []
    assert speakers(corpus("home", "ann/1.wav"), without=listed, notes=notes)
    assert ["leaves nothing out" in note for note in notes] == [True]


def test_a_list_that_names_everything_leaves_nothing_to_learn_from(corpus, tmp_path):
    listed = tmp_path / "heldback.txt"
    listed.write_text("ann\n")
    with pytest.raises(UsageError, match="no recording of a known speaker is left"):
        speakers(corpus("home", "ann/1.wav"), without=listed)


def test_a_missing_list_and_a_missing_folder_are_said_to_be_missing(corpus, tmp_path):
    with pytest.raises(NoSuchFile):
        speakers(corpus("home", "ann/1.wav"), without=tmp_path / "none.txt")
    with pytest.raises(NoSuchFile):
        speakers(Path("nowhere"))


def test_one_recording_of_two_speakers_is_noted(tmp_path):
    for name in ("ann", "bob"):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "1.wav", np.zeros(100), 16_000)
    notes = []
    speakers(tmp_path, notes=notes)
    assert ["under two speakers" in note for note in notes] == [True]


def test_nobody_who_is_held_back_is_found(shared_speech):
    without = shared_speech / "heldback.txt"
    folders = [shared_speech / name for name in ("librispeech-single", "speech-commands", "fsdd")]
    notes = []
    found = find_speech(folders, without=without, notes=notes)
    held = set(without.read_text().split())
    for recording in found:
        path = recording.files[0].relative_to(shared_speech)
        assert held.isdisjoint({path.as_posix(), path.parent.as_posix(), recording.speaker})
    assert len({recording.speaker for recording in found}) == 616
    assert notes == []

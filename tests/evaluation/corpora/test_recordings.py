import os
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from membrane.audio.files import read_utterance
from membrane.errors import MembraneError, NoSuchFile, UndecodableAudio, UsageError
from membrane.evaluation.corpora.recordings import Recording, duplicates, find_recordings

RATE = 16_000


@pytest.fixture
def corpus(tmp_path):
    """Make files of these names and lengths, no two alike: ``corpus("lab", {"ada/1.wav": 1})``."""
    made = iter(range(1, 1_000_000))

    def make(name, lengths):
        for below, seconds in lengths.items():
            path = tmp_path / name / below
            path.parent.mkdir(parents=True, exist_ok=True)
            sound(path, seconds, level=next(made))
        return tmp_path / name

    return make


@pytest.fixture
def written(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def sound(path, seconds, level=1):
    soundfile.write(
        os.fsencode(path),
        np.full(round(seconds * RATE), level / 32768, np.float32),
        RATE,
        format=path.suffix[1:],
    )


def two_speakers(corpus, name="lab"):
    return corpus(name, {"ada/1.wav": 1, "ada/2.flac": 1, "boris/1.wav": 1})


def names(recordings, folder):
    return [
        "+".join(file.relative_to(folder).as_posix() for file in one.files) for one in recordings
    ]


def speakers(recordings):
    return [one.speaker for one in recordings]


def labels_of(recordings):
    return [dict(one.labels) for one in recordings]


def error_of(*arguments, **options):
    with pytest.raises(MembraneError) as caught:
        find_recordings(*arguments, **options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    return caught.value


# One recording


def test_a_whole_file_is_read_as_it_is(recording):
    path = recording("ada", "login")
    read = Recording((path,), "ada").read()
    np.testing.assert_array_equal(read.samples, read_utterance(path).samples)


def test_a_stretch_of_joined_files_is_read_across_their_border(corpus):
    folder = corpus("lab", {"ada/1.wav": 1, "ada/2.wav": 1})
    files = (folder / "ada/1.wav", folder / "ada/2.wav")
    read = Recording(files, "ada", start_s=0.75, stop_s=1.5).read()
    expected = np.repeat(np.array([1, 2], np.float32) / 32768, [RATE // 4, RATE // 2])
    np.testing.assert_allclose(read.samples, expected)


def test_pieces_of_a_file_are_its_samples_without_gap_or_overlap(corpus):
    folder = corpus("lab", {})
    (folder / "ada").mkdir(parents=True)
    samples = np.random.default_rng(3).uniform(-0.5, 0.5, 10 * RATE + 7).astype(np.float32)
    soundfile.write(folder / "ada/long.wav", samples, RATE, subtype="FLOAT")
    pieces = find_recordings([folder], pieces_s=3.0).recordings
    assert len(pieces) == 3
    np.testing.assert_array_equal(np.concatenate([one.read().samples for one in pieces]), samples)


def test_a_stretch_behind_the_end_is_an_error_and_not_silence(corpus):
    folder = two_speakers(corpus)
    with pytest.raises(UndecodableAudio, match=r"1\.wav from 2\.0 s to its end holds no samples"):
        Recording((folder / "ada/1.wav",), "ada", start_s=2.0).read()


def test_a_name_tells_how_many_files_and_which_stretch(corpus):
    folder = two_speakers(corpus)
    files = (folder / "ada/1.wav", folder / "ada/2.flac")
    assert Recording(files[:1], "ada").name == str(files[0])
    assert Recording(files, "ada").name == f"{files[0]} and 1 more"
    cut = Recording(files[:1], "ada", start_s=0.5, stop_s=1.0)
    assert cut.name == f"{files[0]} from 0.5 s to 1.0 s"
    assert cut.read().source == cut.name


def test_the_hash_is_of_the_content_and_not_of_the_name(corpus, tmp_path):
    folder = two_speakers(corpus)
    copy = tmp_path / "copy.wav"
    copy.write_bytes((folder / "ada/1.wav").read_bytes())
    original = Recording((folder / "ada/1.wav",), "ada")
    assert original.content_hash() == Recording((copy,), "boris", "else").content_hash()
    assert len(original.content_hash()) == 64


def test_stretch_order_and_border_of_files_change_the_hash(tmp_path):
    for name, data in {"a": b"1", "bc": b"23", "ab": b"12", "c": b"3"}.items():
        (tmp_path / name).write_bytes(data)

    def hash_of(*files, **stretch):
        return Recording(tuple(tmp_path / file for file in files), "x", **stretch).content_hash()

    hashes = [
        hash_of("a", "bc"),
        hash_of("bc", "a"),
        hash_of("ab", "c"),
        hash_of("a", "bc", start_s=1.0),
        hash_of("a", "bc", stop_s=1.0),
    ]
    assert len(set(hashes)) == len(hashes)


def test_a_file_that_is_gone_cannot_be_hashed(tmp_path):
    with pytest.raises(NoSuchFile, match="cannot be read: No such file"):
        Recording((tmp_path / "gone.wav",), "ada").content_hash()


# Folders


def test_a_speaker_is_the_first_folder_however_deep_a_file_lies(corpus):
    folder = corpus("lab", {"id2/video/1.wav": 1, "id1/a/b/c/1.wav": 1, "id1/2.wav": 1})
    found = find_recordings([folder]).recordings
    assert names(found, folder) == ["id1/2.wav", "id1/a/b/c/1.wav", "id2/video/1.wav"]
    assert speakers(found) == ["id1", "id1", "id2"]
    assert {one.corpus for one in found} == {""}


def test_endings_count_in_any_case_and_other_or_hidden_files_do_not(corpus):
    folder = corpus("lab", {"ada/1.WAV": 1, "ada/2.Flac": 1, "ada/.hidden.wav": 1, ".git/1.wav": 1})
    (folder / "ada/notes.txt").write_text("no sound")
    assert names(find_recordings([folder]).recordings, folder) == ["ada/1.WAV", "ada/2.Flac"]


def test_in_a_folder_without_folders_each_file_is_a_stranger(corpus):
    folder = corpus("lab", {"103-1.wav": 1, "104-1.wav": 1, "twice.wav": 1, "twice.flac": 1})
    found = speakers(find_recordings([folder]).recordings)
    assert found == ["103-1", "104-1", "twice.flac", "twice.wav"]


def test_files_beside_the_speakers_folders_are_left_out_and_counted(corpus):
    folder = corpus("lab", {"ada/1.wav": 1, "noise.wav": 1})
    found = find_recordings([folder])
    assert speakers(found.recordings) == ["ada"]
    assert found.notes == (
        f"Left out: 1 recording beside the folders of the speakers, such as {folder}/noise.wav.",
    )


def test_speakers_of_several_folders_are_told_apart_by_the_folder(corpus):
    folders = [two_speakers(corpus, "a/lab"), two_speakers(corpus, "b/lab"), two_speakers(corpus)]
    found = find_recordings(folders[:2]).recordings
    assert sorted(set(speakers(found))) == ["lab-2/ada", "lab-2/boris", "lab/ada", "lab/boris"]
    assert sorted({one.corpus for one in found}) == ["lab", "lab-2"]


def test_a_folder_given_twice_is_an_error(corpus):
    folder = two_speakers(corpus)
    assert "given twice" in str(error_of([folder, folder / "ada" / ".."]))


@pytest.mark.parametrize("name", ["gone", "nul\0", "new\nline", "x" * 300, "lab/ada/1.wav"])
def test_what_is_no_folder_is_one_line_and_exit_code_2(corpus, tmp_path, name):
    two_speakers(corpus)
    error = error_of([tmp_path / name])
    assert isinstance(error, NoSuchFile)
    assert "cannot be read" in str(error)


def test_a_folder_without_sound_is_an_error_that_names_it(tmp_path):
    (tmp_path / "readme.txt").write_text("no sound")
    assert f"the folder {tmp_path} holds no recording" in str(error_of([tmp_path]))


def test_links_in_a_circle_end(corpus):
    folder = two_speakers(corpus)
    (folder / "ada/up").symlink_to(folder)
    (folder / "ada/self").symlink_to(folder / "ada")
    (folder / "boris/other").symlink_to(folder / "ada")
    (folder / "boris/knot").symlink_to(folder / "boris/knot")
    found = names(find_recordings([folder]).recordings, folder)
    ada, other = ["ada/1.wav", "ada/2.flac"], ["boris/other/1.wav", "boris/other/2.flac"]
    assert found == [*ada, "boris/1.wav", *other]


def test_a_pipe_is_no_recording_and_a_dead_link_is_left_to_the_reader(corpus):
    folder = two_speakers(corpus)
    os.mkfifo(folder / "ada/pipe.wav")
    (folder / "ada/dead.wav").symlink_to(folder / "nowhere.wav")
    found = find_recordings([folder], pieces_s=1.0).recordings
    assert names(found, folder) == ["ada/1.wav", "ada/2.flac", "ada/dead.wav", "boris/1.wav"]


def test_a_folder_that_may_not_be_read_is_noted(corpus, monkeypatch):
    folder = two_speakers(corpus)
    listed = Path.iterdir

    def iterdir(path):
        if path.name == "boris":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    found = find_recordings([folder])
    assert speakers(found.recordings) == ["ada", "ada"]
    assert found.notes == (
        f"{folder}/boris cannot be read: Permission denied. What lies in it is left out.",
    )
    with pytest.raises(NoSuchFile, match="boris cannot be read: Permission denied"):
        find_recordings([folder / "boris"])


def test_names_that_cannot_be_printed_are_escaped(corpus):
    folder = corpus("lab", {"a\x1b[31m/1.wav": 1, os.fsdecode(b"b\xff/1.wav"): 1})
    found = find_recordings([folder], pieces_s=0.4).recordings
    assert sorted(set(speakers(found))) == ["a\\x1b[31m", "b\\udcff"]
    assert all(one.name.isprintable() for one in found)
    assert [one.read().seconds for one in found] == [0.5] * 4


# Labels


def test_labels_of_speakers_reach_each_of_their_recordings(corpus, written):
    table = written("l.tsv", "speaker\tGender\tage\nada\tf\t30\nboris\tm\t\n")
    found = find_recordings([two_speakers(corpus)], labels=table).recordings
    ada = {"gender": "f", "age": "30"}
    assert labels_of(found) == [ada, ada, {"gender": "m"}]
    assert found[0].labels == (("age", "30"), ("gender", "f"))


@pytest.mark.parametrize("key", ["ada/2.flac", "lab/ada/2.flac", "./ada/2.flac", "2.flac"])
def test_a_file_is_labelled_by_path_or_name(corpus, written, key):
    table = written("l.csv", f'file,device\n{key},"telephone, old"\n')
    found = find_recordings([two_speakers(corpus)], labels=table)
    assert labels_of(found.recordings) == [{}, {"device": "telephone, old"}, {}]
    assert found.notes == (f"No labels in {table}: 2 of 3 recordings.",)


def test_a_path_is_labelled_before_a_name_and_a_name_before_a_speaker(corpus, written):
    table = written("l.csv", "file,is\nada/1.wav,path\n1.wav,name\nada,speaker\n")
    found = find_recordings([two_speakers(corpus)], labels=table).recordings
    assert labels_of(found) == [{"is": "path"}, {"is": "speaker"}, {"is": "name"}]


def test_a_column_can_say_who_speaks(corpus, written):
    folder = corpus("flat", {"1.wav": 1, "2.wav": 1, "3.wav": 1})
    table = written("l.csv", "file,speaker\n1,ada\n2.wav,ada\n")
    assert speakers(find_recordings([folder], labels=table).recordings) == ["ada", "ada", "3"]


def test_letters_are_the_same_composed_or_taken_apart(corpus, written):
    folder = corpus("lab", {"Zoe\u0308/1.wav": 1})
    table = written("l.csv", "speaker,gender\nZo\u00eb,f\n")
    assert labels_of(find_recordings([folder], labels=table).recordings) == [{"gender": "f"}]


def test_a_table_saved_by_a_spreadsheet_is_read(corpus, written):
    table = written("l.csv", '\ufeff"Speaker","speaker"\r\n"ada","Ada, the first"\r\n')
    found = find_recordings([two_speakers(corpus)], labels=table).recordings
    assert speakers(found) == ["Ada, the first", "Ada, the first", "boris"]


def test_many_ages_become_children_and_adults(corpus, written):
    folder = corpus("lab", {f"s{age}/1.wav": 1 for age in (6, 7, 17, 18, 19, 20, 61)})
    rows = "".join(f"s{age},{age},{age}\n" for age in (6, 7, 17, 18, 19, 20, 61))
    found = find_recordings([folder], labels=written("l.csv", "speaker,age,height\n" + rows))
    ages = {one.speaker: dict(one.labels)["age"] for one in found.recordings}
    assert {who for who, age in ages.items() if age == "under 18"} == {"s6", "s7", "s17"}
    assert set(ages.values()) == {"under 18", "18 or more"}
    assert len({dict(one.labels)["height"] for one in found.recordings}) == 7


@pytest.mark.parametrize("ages", [("6", "7"), ("6", "7", "8", "9", "10", "11", "old")])
def test_few_ages_and_words_for_ages_stay(corpus, written, ages):
    folder = corpus("lab", {f"s{age}/1.wav": 1 for age in ages})
    table = written("l.csv", "speaker,age\n" + "".join(f"s{age},{age}\n" for age in ages))
    found = find_recordings([folder], labels=table).recordings
    assert {dict(one.labels)["age"] for one in found} == set(ages)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no header"),
        ("speaker\nada\n", "has no header"),
        ("speaker,\nada,f\n", "has no header"),
        ("ada\tf\nboris\tm\n", "has no header"),
        ("speaker,a,A\nada,f,m\n", "two columns of one name"),
        ("speaker,gender\nada,f,30\n", "line 2 has 3 columns, the header 2"),
        ("speaker,gender\nada,f\n\nada,m\n", "line 4 says something else of 'ada'"),
        ("speaker,gender\nnobody,f\n", "labels none of the recordings"),
        ("speaker,gender\nad\0a,f\n", "is not a text file"),
        (b"speaker,gender\n\xff,f\n", "is not a text file"),
        ('speaker,gender\n"' + "x" * 200_000, "line 2 is not a row: field larger"),
    ],
)
def test_a_table_that_labels_nothing_is_one_line(corpus, written, text, message):
    error = error_of([two_speakers(corpus)], labels=written("l.csv", text))
    assert isinstance(error, UsageError)
    assert message in str(error)


def test_labels_that_are_a_folder_or_not_there_are_one_line(corpus, tmp_path):
    folder = two_speakers(corpus)
    assert "Is a directory" in str(error_of([folder], labels=folder))
    assert "No such file" in str(error_of([folder], labels=tmp_path / "gone.tsv"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.text(max_size=80), byte_order_mark=st.booleans())
def test_no_table_ends_in_anything_but_recordings_or_one_line(tmp_path, rows, byte_order_mark):
    (tmp_path / "lab/ada").mkdir(parents=True, exist_ok=True)
    (tmp_path / "lab/ada/1.wav").write_bytes(b"no sound")
    table = tmp_path / "l.csv"
    text = "\ufeff" * byte_order_mark + "speaker,gender\nada,f\n" + rows
    table.write_bytes(text.encode("utf-8", "surrogatepass"))
    said = []
    try:
        found = find_recordings([tmp_path / "lab"], labels=table)
        said += [value for one in found.recordings for _, value in one.labels]
    except UsageError as error:
        said.append(str(error))
    assert all(text.isprintable() for text in said)


# Lists of what to keep


@pytest.mark.parametrize("entry", ["ada", "lab/ada", "lab/ada/", "./ada"])
def test_a_speaker_is_left_out_by_name_with_or_without_the_folders(corpus, written, entry):
    folder = two_speakers(corpus)
    listed = written("list.txt", f"# held back\n\n{entry}\nother/carla\n")
    left = find_recordings([folder], without=listed)
    assert speakers(left.recordings) == ["boris"]
    assert speakers(find_recordings([folder], only=listed).recordings) == ["ada", "ada"]


def test_one_file_is_left_out_by_its_path(corpus, written):
    folder = two_speakers(corpus)
    listed = written("list.txt", "lab/ada/2.flac\r\n")
    left = find_recordings([folder], without=listed).recordings
    assert names(left, folder) == ["ada/1.wav", "boris/1.wav"]


def test_of_two_corpora_the_one_that_is_named_loses_its_speaker(corpus, written):
    folders = [two_speakers(corpus, "lab"), two_speakers(corpus, "hall")]
    left = find_recordings(folders, without=written("list.txt", "hall/ada\n")).recordings
    assert sorted(set(speakers(left))) == ["hall/boris", "lab/ada", "lab/boris"]


def test_a_list_that_leaves_nothing_is_an_error_and_one_of_nobody_is_noted(corpus, written):
    folder = two_speakers(corpus)
    everybody = written("all.txt", "ada\nboris\n")
    nobody = written("none.txt", "carla\n")
    assert "no recording is left" in str(error_of([folder], without=everybody))
    assert "no recording is left" in str(error_of([folder], only=nobody))
    assert "names none" in find_recordings([folder], without=nobody).notes[0]


# Pieces


def test_short_ones_are_joined_and_long_ones_cut_within_a_speaker(corpus):
    folder = corpus(
        "lab",
        {"ada/1.wav": 1, "ada/2.wav": 5, "ada/3.wav": 1.5, "ada/4.wav": 10, "ada/5.wav": 0.5}
        | {"boris/1.wav": 1.5, "boris/2.wav": 1.5},
    )
    found = find_recordings([folder], pieces_s=2.5)
    assert names(found.recordings, folder) == [
        "ada/2.wav",
        *["ada/4.wav"] * 4,
        "ada/1.wav+ada/3.wav",
        "boris/1.wav+boris/2.wav",
    ]
    cut = [(one.start_s, one.stop_s) for one in found.recordings[1:5]]
    assert cut == [(0.0, 2.5), (2.5, 5.0), (5.0, 7.5), (7.5, None)]
    assert found.notes == (
        "Left out: 1 recording shorter than 2.5 s even when joined with what else was left of "
        "the speaker.",
    )


def test_recordings_of_different_labels_are_never_joined(corpus, written):
    folder = corpus("lab", {"ada/1.wav": 1, "ada/2.wav": 1, "ada/3.wav": 1, "ada/4.wav": 1})
    table = written("l.csv", "file,device\n1,phone\n2,laptop\n3,phone\n4,laptop\n")
    found = find_recordings([folder], labels=table, pieces_s=2.0).recordings
    assert names(found, folder) == ["ada/1.wav+ada/3.wav", "ada/4.wav+ada/2.wav"]
    assert labels_of(found) == [{"device": "phone"}, {"device": "laptop"}]


def test_words_that_are_sorted_are_mixed_before_they_are_joined(corpus):
    folder = corpus(
        "digits", {f"ada/{word}_{take}.wav": 0.5 for word in range(5) for take in range(8)}
    )
    found = find_recordings([folder], pieces_s=2.0).recordings
    words = [{file.name[0] for file in one.files} for one in found]
    assert sum(len(each) > 1 for each in words) > len(words) / 2
    assert found == find_recordings([folder], pieces_s=2.0).recordings


def test_what_cannot_be_read_stays_whole_for_the_reader_to_report(corpus):
    folder = two_speakers(corpus)
    (folder / "ada/0.wav").write_bytes(b"RIFF no sound")
    (folder / "ada/empty.wav").write_bytes(b"")
    found = find_recordings([folder], pieces_s=0.7).recordings
    assert names(found, folder)[:4] == ["ada/0.wav", "ada/1.wav", "ada/2.flac", "ada/empty.wav"]
    assert {(one.start_s, one.stop_s) for one in found} == {(0.0, None)}


def test_a_file_that_is_too_long_to_be_read_is_reported_once_and_not_for_each_piece(corpus):
    folder = two_speakers(corpus)
    soundfile.write(folder / "ada/lecture.flac", np.zeros(301 * 8000, np.int16), 8000)
    found = find_recordings([folder], pieces_s=0.7).recordings
    assert names(found, folder) == ["ada/1.wav", "ada/2.flac", "ada/lecture.flac", "boris/1.wav"]


@pytest.mark.parametrize("pieces_s", [0.0, -1.0, float("nan"), float("inf"), 301.0])
def test_pieces_of_no_length_cannot_be_made(corpus, pieces_s):
    assert "cannot be made" in str(error_of([two_speakers(corpus)], pieces_s=pieces_s))


def test_pieces_longer_than_anybodys_recordings_are_an_error(corpus):
    assert "no speaker has 5 s" in str(error_of([two_speakers(corpus)], pieces_s=5.0))


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30
)
@given(lengths=st.lists(st.floats(0.01, 12.0), min_size=1, max_size=12))
def test_every_piece_is_about_as_long_as_asked_for(tmp_path, lengths):
    folder = tmp_path / "lab"
    (folder / "ada").mkdir(parents=True, exist_ok=True)
    for old in (folder / "ada").iterdir():
        old.unlink()
    for number, seconds in enumerate([*lengths, 3.0]):
        sound(folder / f"ada/{number}.wav", seconds)
    for one in find_recordings([folder], pieces_s=2.0).recordings:
        assert 1.6 <= one.read().seconds <= 4.0


# Duplicates


def test_the_same_bytes_under_two_speakers_are_named(corpus):
    folder = two_speakers(corpus)
    (folder / "boris/copy.wav").write_bytes((folder / "ada/1.wav").read_bytes())
    (folder / "ada/copy.flac").write_bytes((folder / "ada/2.flac").read_bytes())
    found = find_recordings([folder])
    pair = (f"{folder}/ada/1.wav", f"{folder}/boris/copy.wav")
    assert duplicates(found.recordings) == [pair]
    assert found.notes == (
        "The same recording lies under two speakers, which falsifies error rates: "
        f"{pair[0]} and {pair[1]}.",
    )


def test_files_that_differ_in_one_byte_or_hold_none_are_no_duplicates(corpus):
    folder = two_speakers(corpus)
    data = (folder / "ada/1.wav").read_bytes()
    (folder / "boris/almost.wav").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    for speaker in ("ada", "boris"):
        (folder / speaker / "empty.wav").write_bytes(b"")
    (folder / "boris/dead.wav").symlink_to(folder / "nowhere.wav")
    assert find_recordings([folder]).notes == ()


# Real speech


def test_five_thousand_files_of_real_speech_are_found_in_seconds(shared_speech):
    folders = ("speech-commands", "speechocean762", "fsdd", "librispeech", "librispeech-single")
    begin = time.monotonic()
    found = find_recordings([shared_speech / name for name in folders])
    assert len(found.recordings) > 4_000
    assert len(set(speakers(found.recordings))) == 733 + 125 + 6 + 10 + 170
    assert time.monotonic() - begin < 10


def test_the_list_of_those_held_back_splits_real_speakers_in_two(shared_speech):
    folder, listed = shared_speech / "speechocean762", shared_speech / "heldback.txt"
    labels = folder / "speakers.tsv"
    kept = find_recordings([folder], only=listed, labels=labels).recordings
    left = find_recordings([folder], without=listed, labels=labels).recordings
    assert len(set(speakers(kept))) == 45
    assert set(speakers(kept)).isdisjoint(speakers(left))
    assert len(kept) + len(left) == 125 * 7
    assert {dict(one.labels)["age"] for one in kept} == {"under 18", "18 or more"}

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from membrane.audio.files import save_recording
from membrane.audio.utterance import SAMPLE_RATE
from membrane.errors import MembraneError, NoSuchFile, UsageError
from membrane.evaluation.corpora.recordings import Recording, find_recordings
from membrane.evaluation.corpora.transcripts import digit_strings, read_transcripts
from membrane.phrase.matching import DIGIT_WORDS


@pytest.fixture
def recordings(tmp_path):
    """Two people with a file of one name each, and one of their own."""
    names = ("ada/1.wav", "ada/only-ada.wav", "boris/1.wav", "boris/only-boris.wav")
    return [Recording((tmp_path / name,), name.partition("/")[0]) for name in names]


@pytest.fixture
def read(tmp_path, recordings):
    """Read a transcript of this text: file name to words."""

    def from_text(text, name="words.tsv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return {
            "/".join(said.recording.files[0].parts[-2:]): said.words
            for said in read_transcripts(path, recordings)
        }

    return from_text


def test_words_after_a_tab_are_those_of_the_file_of_that_stem(read):
    assert read("only-ada\tOPEN the Door!\n") == {"ada/only-ada.wav": "open the door"}


def test_words_after_a_space_are_read_as_librispeech_writes_them(read):
    assert read("only-ada OPEN THE DOOR\n", "1.trans.txt") == {"ada/only-ada.wav": "open the door"}


def test_words_after_a_comma_are_read_from_csv(read):
    text = 'file,text\nonly-ada.wav,"Open, please"\n'
    assert read(text, "words.csv") == {"ada/only-ada.wav": "open please"}


def test_a_comma_between_words_is_nothing_but_that(read):
    assert read("only-ada open, please\n", "words.txt") == {"ada/only-ada.wav": "open please"}


def test_figures_are_digits_that_were_said(read):
    assert read("only-ada\t47\n") == {"ada/only-ada.wav": "four seven"}


def test_what_follows_a_second_tab_is_left_out(read):
    assert read("only-ada\topen\t0.9\n") == {"ada/only-ada.wav": "open"}


def test_a_folder_before_the_name_tells_files_of_one_name_apart(read):
    found = read("ada/1\topen\nboris/1.wav\tclose\n")
    assert found == {"ada/1.wav": "open", "boris/1.wav": "close"}


def test_a_name_without_folder_is_for_every_file_of_it_that_has_no_line_of_its_own(read):
    assert read("1\topen\nboris/1\tclose\n") == {"ada/1.wav": "open", "boris/1.wav": "close"}


def test_recordings_without_words_are_left_out(read):
    assert read("only-ada\topen\nonly-boris\t\n1\t...\n") == {"ada/only-ada.wav": "open"}


def test_empty_lines_and_windows_line_ends_and_a_byte_order_mark_do_no_harm(read):
    assert read("\ufeffonly-ada\topen\r\n\r\n") == {"ada/only-ada.wav": "open"}


def test_a_transcript_of_other_recordings_is_refused(read):
    with pytest.raises(UsageError, match="none of the recordings"):
        read("somebody\topen\n")


def test_two_things_said_in_one_recording_are_refused_with_their_line(read):
    with pytest.raises(UsageError, match="line 2 says something else of only-ada"):
        read("only-ada\topen\nonly-ada\tclose\n")


def test_the_same_thing_may_be_said_twice(read):
    assert read("only-ada\topen\nonly-ada\tOPEN.\n") == {"ada/only-ada.wav": "open"}


def test_a_missing_transcript_is_named(tmp_path, recordings):
    with pytest.raises(NoSuchFile, match=r"none\.tsv"):
        read_transcripts(tmp_path / "none.tsv", recordings)


def test_a_folder_stands_for_all_transcripts_in_it(tmp_path, recordings):
    for person in ("ada", "boris"):
        folder = tmp_path / "corpus" / person
        folder.mkdir(parents=True)
        (folder / f"{person}.trans.txt").write_text(f"only-{person} I AM {person.upper()}\n")
    said = read_transcripts(tmp_path / "corpus", recordings)
    assert [one.words for one in said] == ["i am ada", "i am boris"]


def test_words_of_a_file_are_not_those_of_a_piece_of_it(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text("a\topen\nb\tclose\n")
    a, b = tmp_path / "a.wav", tmp_path / "b.wav"
    pieces = [
        Recording((a,), "ada", start_s=1.0),
        Recording((a,), "ada", stop_s=1.0),
        Recording((a, b), "ada"),
        Recording((b,), "ada"),
    ]
    assert [said.recording for said in read_transcripts(path, pieces)] == pieces[3:]


def test_real_transcripts_name_every_recording(shared_speech):
    folder = shared_speech / "speechocean762"
    found = find_recordings([folder]).recordings
    said = read_transcripts(folder / "transcripts.tsv", found)
    assert len(said) == len(found)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary() | st.text().map(str.encode))
@example(content=b"1\x1f0")  # a line of the recording 1.wav
@pytest.mark.parametrize("ending", ["tsv", "csv", "txt"])
def test_any_content_is_read_or_refused_on_purpose(tmp_path, recordings, ending, content):
    path = tmp_path / f"words.{ending}"
    path.write_bytes(content)
    try:
        said = read_transcripts(path, recordings)
    except MembraneError:
        return
    assert said
    assert all(one.words for one in said)


TAKE_S = 0.3


@pytest.fixture
def takes(tmp_path):
    """Every digit three times, of two people; each digit is a level of its own."""
    found = []
    for person in ("ada", "boris"):
        (tmp_path / person).mkdir()
        for digit in range(10):
            level = np.full(int(TAKE_S * SAMPLE_RATE), 0.05 * (digit + 1), np.float32)
            for number in range(3):
                path = tmp_path / person / f"{digit}_{person}_{number}.wav"
                save_recording(path, level)
                found.append(Recording((path,), person, labels=(("gender", person[0]),)))
    return found


def test_every_take_is_used_once_until_too_few_are_left(takes):
    said = digit_strings(takes, 4)
    files = Counter(file for one in said for file in one.recording.files)
    assert len(said) == 2 * (30 // 4)
    assert set(files.values()) == {1}


def test_the_words_are_the_digits_of_the_files(takes):
    for one in digit_strings(takes, 6):
        digits = [int(file.name[0]) for file in one.recording.files]
        assert one.words.split() == [DIGIT_WORDS[digit] for digit in digits]


def test_a_string_is_of_one_speaker_with_their_labels(takes):
    for one in digit_strings(takes, 6):
        speaker = one.recording.speaker
        assert {file.parent.name for file in one.recording.files} == {speaker}
        assert one.recording.labels == (("gender", speaker[0]),)


def test_the_takes_are_heard_in_their_order_with_pauses_between(takes):
    one = digit_strings(takes, 5)[0]
    samples = one.recording.read().samples
    loud = np.abs(samples) > 0.02
    starts = np.flatnonzero(loud & ~np.roll(loud, 1))
    ends = np.flatnonzero(loud & ~np.roll(loud, -1)) + 1
    stretches = [samples[a:b] for a, b in zip(starts, ends, strict=True)]
    levels = [round(float(stretch.mean()) / 0.05) - 1 for stretch in stretches]
    assert [DIGIT_WORDS[level] for level in levels] == one.words.split()
    pauses = (starts[1:] - ends[:-1]) / SAMPLE_RATE
    assert pauses.min() >= 0.039
    assert pauses.max() <= 0.301


def test_no_pause_is_digitally_silent(takes):
    assert np.all(digit_strings(takes, 5)[0].recording.read().samples[:3000] != 0)


def test_a_string_is_read_the_same_each_time(takes):
    one = digit_strings(takes, 5)[0].recording
    assert np.array_equal(one.read().samples, one.read().samples)


def test_the_same_seed_makes_the_same_strings_and_another_does_not(takes):
    assert digit_strings(takes, 6, seed=3) == digit_strings(takes, 6, seed=3)
    assert digit_strings(takes, 6, seed=3) != digit_strings(takes, 6, seed=4)


def test_files_of_other_names_are_left_out(takes, tmp_path):
    others = [
        Recording((tmp_path / name,), "ada")
        for name in ("hello.wav", "12_ada_0.wav", "7_ada.wav", "7.wav")
    ]
    assert digit_strings([*takes, *others], 6) == digit_strings(takes, 6)


@pytest.mark.parametrize("length", [0, -1, 31])
def test_strings_that_nobody_has_the_digits_for_are_refused(takes, length):
    with pytest.raises(UsageError, match="no strings of"):
        digit_strings(takes, length)


def test_recordings_that_are_no_digits_are_refused_with_an_example(tmp_path):
    with pytest.raises(UsageError, match=r"7_ada_0\.wav"):
        digit_strings([Recording((tmp_path / "hello.wav",), "ada")], 6)

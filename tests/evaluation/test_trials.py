import itertools
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from membrane.errors import EncoderMismatch, MembraneError, NoSuchFile, UsageError
from membrane.evaluation import trials as module
from membrane.evaluation.corpora.recordings import Recording
from membrane.evaluation.trials import (
    against_database,
    all_pairs,
    enrol_and_probe,
    read_trial_list,
    side_by_side,
)
from membrane.store.joblib_store import JoblibStore
from tests.store.writer import person
from tests.weights import reweighted

LAB = {"ada": 5, "boris": 4, "carla": 2}


@pytest.fixture
def root(tmp_path):
    """A folder of three speakers' files, whose content only tells them apart."""
    for name in (
        "ada/1.wav",
        "ada/2.wav",
        "ada/3.wav",
        "boris/1.wav",
        "boris/2.wav",
        "carla/1.wav",
    ):
        path = tmp_path / "lab" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "lab"


@pytest.fixture
def read(tmp_path, root):
    def read(*lines, labels=None, root=root):
        path = tmp_path / "trials.txt"
        path.write_text("\n".join(lines))
        return read_trial_list(path, root, labels=labels)

    return read


@pytest.fixture
def flat(tmp_path):
    folder = tmp_path / "flat"
    folder.mkdir()
    for name in "abcdef":
        (folder / f"{name}.wav").write_text(name)
    return folder


@pytest.fixture
def gallery(tmp_path):
    return stored(tmp_path, person("ada", 1, 3), person("boris", 2, 3), person("clara", 3, 3))


def stored(folder, *people):
    store = JoblibStore(folder / "voiceprints.joblib")
    for one in people:
        store.add(one)
    return store.gallery()


def recorded(counts, corpus=""):
    """Return recordings, by how many each speaker has."""
    prefix = f"{corpus}/" if corpus else ""
    return [
        Recording((Path(f"{prefix}{name}/{number}.wav"),), f"{prefix}{name}", corpus)
        for name, count in counts.items()
        for number in range(count)
    ]


def compared(trials):
    """Return the trials as (names of the enrolled files, name of the probe, same)."""
    return [
        ("+".join(map(str, of(trials.enrolled[who].recordings))), str(probe.files[0]), same)
        for who, probe, same in (
            (who, trials.probes[probe], same)
            for (who, probe), same in zip(trials.pairs.tolist(), trials.same.tolist(), strict=True)
        )
    ]


def of(recordings):
    return [file for one in recordings for file in one.files]


def error_of(build, *arguments, **options):
    with pytest.raises(MembraneError) as caught:
        build(*arguments, **options)
    assert str(caught.value).isprintable()
    return caught.value


# Enrolment and probes


def test_the_first_utterances_are_enrolled_and_everybody_elses_rest_is_an_impostor():
    made = enrol_and_probe(recorded({"ada": 4, "boris": 5}), enroll=(3,))
    ada, boris = "ada/0.wav+ada/1.wav+ada/2.wav", "boris/0.wav+boris/1.wav+boris/2.wav"
    assert compared(made) == [
        (ada, "ada/3.wav", True),
        (ada, "boris/3.wav", False),
        (ada, "boris/4.wav", False),
        (boris, "ada/3.wav", False),
        (boris, "boris/3.wav", True),
        (boris, "boris/4.wav", True),
    ]
    assert made.pairs.dtype == np.int32
    assert made.same.dtype == np.bool_
    assert [who.name for who in made.enrolled] == ["ada", "boris"]
    assert made.notes == ()


def test_who_has_too_few_utterances_is_a_stranger_with_all_of_them():
    made = enrol_and_probe(recorded({**LAB, "dora": 3}), enroll=(3,))
    assert {who.speaker for who in made.enrolled} == {"ada", "boris"}
    probes = [probe.speaker for probe in made.probes]
    assert probes == ["ada"] * 2 + ["boris"] + ["carla"] * 2 + ["dora"] * 3
    assert made.notes == ("Strangers only: 2 speakers of no more than 3 utterances.",)


def test_several_sizes_of_enrolment_share_their_probes():
    made = enrol_and_probe(recorded({"ada": 5, "boris": 4}), enroll=(3, 1))
    assert [(who.name, len(who.recordings)) for who in made.enrolled] == [
        ("ada, 1 utterance", 1),
        ("ada, 3 utterances", 3),
        ("boris, 1 utterance", 1),
        ("boris, 3 utterances", 3),
    ]
    assert [str(probe.files[0]) for probe in made.probes] == [
        "ada/3.wav",
        "ada/4.wav",
        "boris/3.wav",
    ]
    assert len(made.pairs) == 4 * 3
    assert made.same.sum() == 2 * 2 + 2 * 1


def test_speakers_of_different_corpora_are_never_compared():
    recordings = recorded({"ada": 4, "boris": 4}, "lab") + recorded({"ada": 4, "carla": 5}, "hall")
    for made in (enrol_and_probe(recordings), all_pairs(recordings)):
        for who, probe in made.pairs.tolist():
            assert made.enrolled[who].recordings[0].corpus == made.probes[probe].corpus
    assert len(enrol_and_probe(recordings).pairs) == 2 * 2 + 2 * 3


@pytest.mark.parametrize(
    ("counts", "enroll", "message"),
    [
        ({"ada": 9}, (3,), "no trial is of two speakers"),
        ({"ada": 3, "boris": 2}, (3,), "no speaker has more than 3 utterances"),
        ({"ada": 4, "boris": 9}, (1, 12), "no speaker has more than 12 utterances"),
        ({"ada": 1, "boris": 1}, (1,), "no speaker has more than 1 utterance,"),
        ({}, (3,), "no speaker has more than 3 utterances"),
        ({"ada": 4, "boris": 4}, (), "made of 1 utterance or more"),
        ({"ada": 4, "boris": 4}, (0,), "made of 1 utterance or more"),
    ],
)
def test_what_leaves_one_kind_of_trial_out_is_refused(counts, enroll, message):
    error = error_of(enrol_and_probe, recorded(counts), enroll=enroll)
    assert isinstance(error, UsageError)
    assert message in str(error)


# All pairs


def test_every_unordered_pair_is_compared_once():
    made = all_pairs(recorded({"ada": 2, "boris": 2, "carla": 1}))
    files = ["ada/0.wav", "ada/1.wav", "boris/0.wav", "boris/1.wav", "carla/0.wav"]
    assert [trial[:2] for trial in compared(made)] == list(itertools.combinations(files, 2))
    genuine = [trial[:2] for trial in compared(made) if trial[2]]
    assert genuine == [("ada/0.wav", "ada/1.wav"), ("boris/0.wav", "boris/1.wav")]
    assert made.notes == ("Strangers only: 1 speaker of no more than 1 utterance.",)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"ada": 4}, "no trial is of two speakers"),
        ({"ada": 1, "boris": 1}, "no trial is of one speaker"),
        ({"ada": 1}, "no trial is of one speaker"),
        ({}, "no trial is of one speaker"),
    ],
)
def test_pairs_of_one_kind_only_are_refused(counts, message):
    assert message in str(error_of(all_pairs, recorded(counts)))


def test_more_trials_than_fit_are_refused_before_they_are_made(monkeypatch):
    monkeypatch.setattr(module, "MOST_TRIALS", 54)
    assert "55 trials are too many" in str(error_of(all_pairs, recorded(LAB)))
    monkeypatch.setattr(module, "MOST_TRIALS", 9)
    assert "10 trials are too many" in str(error_of(enrol_and_probe, recorded(LAB)))


# Trial lists


def test_a_list_in_voxcelebs_form_is_read_as_it_stands(read, root):
    made = read(
        "1 ada/1.wav ada/2.wav",
        "# comment",
        "",
        "0 ada/1.wav boris/1.wav\r",
        "0\tboris/1.wav ada/2.wav",
    )
    assert compared(made) == [
        (f"{root}/ada/1.wav", f"{root}/ada/2.wav", True),
        (f"{root}/ada/1.wav", f"{root}/boris/1.wav", False),
        (f"{root}/boris/1.wav", f"{root}/ada/2.wav", False),
    ]
    assert [who.speaker for who in made.enrolled] == ["ada", "boris"]
    assert [probe.speaker for probe in made.probes] == ["ada", "boris"]
    assert made.pairs.dtype == np.int32
    assert made.notes == ()


def test_a_list_in_kaldis_form_may_leave_the_endings_out(read):
    made = read("ada/1 ada/2 target", "ada/1.wav boris/1 nontarget")
    assert made.same.tolist() == [True, False]
    assert made.probes[1].files[0].name == "1.wav"


def test_a_first_file_may_be_called_one_in_kaldis_form(read, root):
    (root / "1").write_text("one")
    made = read("1 ada/1.wav target", "1 boris/1.wav nontarget")
    assert made.same.tolist() == [True, False]
    assert [len(made.enrolled), len(made.probes)] == [1, 2]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1 ada/1.wav"], "line 1 is not a trial"),
        (["2 ada/1.wav ada/2.wav"], "line 1 is not a trial"),
        (["1 ada/1.wav ada/2.wav", "", "0 ada/1.wav boris/1.wav x"], "line 3 is not a trial"),
        (["1 ada/1.wav ada/2.wav", "ada/1 boris/1 nontarget"], "line 2 is not a trial"),
        (["ada/1 ada/2 target", "0 ada/1.wav boris/1.wav"], "line 2 is not a trial"),
        (["ada/1 ada/2 targets"], "line 1 is not a trial"),
        (["1 ada/1.wav \x1b[31m x"], "line 1 is not a trial: '1 ada/1.wav \\"),
        (["", "# nothing"], "holds no trial"),
        (["1 a\0 b"], "is not a text file"),
        (["1 ada/1.wav ada/2.wav"], "no trial is of two speakers"),
        (["0 ada/1.wav boris/2.wav"], "no trial is of one speaker"),
    ],
)
def test_a_list_of_another_form_is_one_line_with_its_number(read, lines, message):
    error = error_of(read, *lines)
    assert isinstance(error, UsageError)
    assert message in str(error)


def test_missing_files_are_counted_and_three_are_named(read):
    error = error_of(read, *(f"1 gone/{n}.wav ada/1.wav" for n in range(5)), "0 ada ada/2.wav")
    assert isinstance(error, NoSuchFile)
    assert "names 6 files not to be found" in str(error)
    assert str(error).endswith(": gone/0.wav, gone/1.wav, gone/2.wav …")


@pytest.mark.parametrize("name", ["x" * 5_000, "../" * 3_000, "ada", "/", ".", "ada/1.wav/x"])
def test_names_that_are_no_files_are_one_line(read, name):
    error = error_of(read, f"1 {name} ada/1.wav", "0 ada/1.wav boris/1.wav")
    assert "names 1 file not to be found" in str(error)
    assert len(str(error)) < 400


def test_a_list_or_root_that_is_not_there_is_one_line(read, root, tmp_path):
    assert "Is a directory" in str(error_of(read_trial_list, root, root))
    assert "No such file" in str(error_of(read_trial_list, tmp_path / "gone\n.txt", root))
    assert "not to be found" in str(error_of(read, "1 ada/1.wav ada/2.wav", root=tmp_path / "gone"))


def test_speakers_come_from_the_first_folder_that_differs(read, root):
    made = read(
        "1 lab/ada/1.wav lab/ada/2.wav", "0 lab/ada/1.wav lab/boris/1.wav", root=root.parent
    )
    assert [probe.speaker for probe in made.probes] == ["ada", "boris"]


def test_without_folders_speakers_are_what_target_trials_join(read, flat):
    made = read(
        *("1 b.wav a.wav", "1 c.wav b.wav", "1 d.wav e.wav"),
        *("0 a.wav d.wav", "0 a.wav f.wav"),
        root=flat,
    )
    found = {one.files[0].stem: one.speaker for one in made.probes}
    found |= {who.recordings[0].files[0].stem: who.speaker for who in made.enrolled}
    assert found["a"] == found["b"] == found["c"]
    assert found["d"] == found["e"]
    assert len({found["a"], found["d"], found["f"]}) == 3
    assert made.notes == ()


def test_folders_that_contradict_most_trials_are_no_speakers(read, root):
    for name in ("enrol/ada.wav", "enrol/boris.wav", "test/1.wav", "test/2.wav"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(name)
    made = read(
        *("1 enrol/ada.wav test/1.wav", "0 enrol/ada.wav test/2.wav"),
        *("1 enrol/boris.wav test/2.wav", "0 enrol/boris.wav test/1.wav"),
    )
    assert [who.speaker for who in made.enrolled] == [probe.speaker for probe in made.probes]
    assert made.enrolled[0].speaker != made.enrolled[1].speaker
    assert made.notes == ()


def test_labels_say_who_speaks_and_what_they_are(read, flat, tmp_path):
    table = tmp_path / "labels.tsv"
    table.write_text("file\tspeaker\tgender\na\tada\tf\nb.wav\tada\tf\nc\tboris\tm\n")
    made = read("1 a.wav b.wav", "0 a.wav c.wav", "0 a.wav d.wav", root=flat, labels=table)
    assert [probe.speaker for probe in made.probes] == ["ada", "boris", "d.wav"]
    assert made.probes[1].labels == (("gender", "m"),)
    assert made.notes == (f"No labels in {table}: 1 of 4 recordings.",)
    assert made.enrolled[0].recordings[0].labels == (("gender", "f"),)


def test_one_labelled_file_names_all_that_target_trials_join_with_it(read, flat, tmp_path):
    table = tmp_path / "labels.tsv"
    table.write_text("file\tspeaker\nc\tada\n")
    made = read("1 a.wav b.wav", "1 b.wav c.wav", "0 a.wav d.wav", root=flat, labels=table)
    assert [who.speaker for who in made.enrolled] == ["ada", "ada"]
    assert [probe.speaker for probe in made.probes] == ["ada", "ada", "d.wav"]


def test_trials_that_contradict_the_speakers_are_counted(read):
    made = read(
        *("1 ada/1.wav ada/2.wav", "1 ada/1.wav ada/3.wav", "1 ada/1.wav boris/1.wav"),
        *("0 ada/1.wav boris/2.wav", "0 ada/2.wav boris/2.wav", "0 boris/1.wav boris/2.wav"),
        "1 carla/1.wav carla/1.wav",
    )
    assert made.notes == (
        "Error rates are falsified by 1 trial listed as one speaker's, of files of two, "
        "such as ada/1.wav and boris/1.wav.",
        "Error rates are falsified by 1 trial listed as two speakers', of files of one, "
        "such as boris/1.wav and boris/2.wav.",
        "Error rates are falsified by 1 trial of a recording with itself, "
        "such as carla/1.wav and carla/1.wav.",
    )
    assert made.same.tolist() == [True, True, True, False, False, False, True]


def test_the_same_bytes_under_two_speakers_of_a_list_are_noted(read, root):
    (root / "boris/1.wav").write_text((root / "ada/1.wav").read_text())
    made = read("1 ada/1.wav ada/2.wav", "0 ada/1.wav boris/1.wav")
    assert "The same recording lies under two speakers" in made.notes[0]


def test_half_a_million_trials_are_read_in_seconds(tmp_path):
    names = [f"id{speaker}/{file}.wav" for speaker in range(100) for file in range(8)]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    pairs = list(itertools.islice(itertools.permutations(names, 2), 550_000))
    text = "".join(f"{int(a.split('/')[0] == b.split('/')[0])} {a} {b}\n" for a, b in pairs)
    path = tmp_path / "trials.txt"
    path.write_text(text)
    begin = time.monotonic()
    made = read_trial_list(path, tmp_path)
    assert time.monotonic() - begin < 15
    assert len(made.pairs) == 550_000
    assert made.same.sum() == text.count("\n1 ") + text.startswith("1 ")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(lines=st.lists(st.text(max_size=30) | st.sampled_from(["1 a.wav b.wav", "0 a.wav c.wav"])))
def test_no_list_ends_in_anything_but_trials_or_one_line(flat, tmp_path, lines):
    path = tmp_path / "trials.txt"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    said = []
    try:
        said += read_trial_list(path, flat).notes
    except UsageError as error:
        said.append(str(error))
    assert all(text.isprintable() for text in said)


# The database


def probes_of(*speakers, corpus=""):
    return [Recording((Path(f"{name}.wav"),), name, corpus) for name in speakers]


def test_everybody_enrolled_is_compared_with_every_probe(gallery):
    made = against_database(gallery, probes_of("ada", "edgar", "clara"), encoder="resemblyzer")
    assert [who.name for who in made.enrolled] == ["ada", "boris", "clara"]
    assert made.pairs.tolist() == [[who, probe] for who in range(3) for probe in range(3)]
    assert made.same.tolist() == [True, False, False, False, False, False, False, False, True]


def test_a_stored_voiceprint_comes_with_the_speech_that_it_is_made_of(tmp_path):
    anna = reweighted(person("anna", utterances=3), 1, 0.0)
    gallery = stored(tmp_path, anna, person("boris", 7))
    made = against_database(gallery, probes_of("anna"), encoder="resemblyzer").enrolled[0]
    np.testing.assert_array_equal(made.stored.vector, anna.vector)
    assert made.recordings == ()
    counted = (anna.utterances[0], anna.utterances[2])
    assert made.stored.speech_s == pytest.approx(sum(one.quality.speech_s for one in counted))
    assert made.stored.speech_s > 0


def test_people_of_another_encoder_are_left_out_and_counted(tmp_path):
    gallery = stored(
        tmp_path, person("anna", 1, encoder="other"), person("boris", 2), person("clara", 3)
    )
    made = against_database(gallery, probes_of("boris", "anna"), encoder="resemblyzer")
    assert [who.name for who in made.enrolled] == ["boris", "clara"]
    assert made.notes == ("Left out: 1 voiceprint of another encoder.",)


def test_names_are_compared_as_those_of_the_enrolled_are(gallery):
    probes = [*probes_of("lab/ADA", corpus="lab"), *probes_of("hall/Boris", corpus="hall")]
    made = against_database(gallery, probes, encoder="resemblyzer")
    assert [probe.speaker for probe in made.probes] == ["ada", "boris"]
    assert made.same.tolist() == [True, False, False, True, False, False]


def test_probes_of_nobody_enrolled_are_refused(gallery):
    for probes in (probes_of("edgar"), []):
        error = error_of(against_database, gallery, probes, encoder="resemblyzer")
        assert isinstance(error, UsageError)
        assert "no recording is of anybody enrolled" in str(error)


def test_an_empty_database_is_refused(tmp_path):
    gallery = JoblibStore(tmp_path / "nobody.joblib").gallery()
    error = error_of(against_database, gallery, probes_of("ada"), encoder="resemblyzer")
    assert "nobody is enrolled" in str(error)


def test_voiceprints_of_another_encoder_are_never_compared(gallery):
    error = error_of(against_database, gallery, probes_of("ada"), encoder="other")
    assert isinstance(error, EncoderMismatch)
    assert error.exit_code == 6
    assert "come from resemblyzer, not from other" in str(error)
    assert "--encoder" in str(error)
    assert "membrane enroll --reencode" in str(error)


def test_sets_side_by_side_are_not_compared_with_each_other():
    few, more = (
        enrol_and_probe(
            [Recording((Path(f"{name}{n}.wav"),), name) for name in names for n in range(4)]
        )
        for names in ("ab", "cde")
    )
    both = side_by_side([few, more])
    assert len(both.enrolled) == 5
    assert len(both.pairs) == len(few.pairs) + len(more.pairs)
    for (who, probe), same in zip(both.pairs, both.same, strict=True):
        speakers = both.enrolled[who].speaker, both.probes[probe].speaker
        assert (speakers[0] == speakers[1]) == same
        assert (speakers[0] in "ab") == (speakers[1] in "ab")

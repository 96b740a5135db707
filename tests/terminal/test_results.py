import csv
import multiprocessing
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from membrane.audio.quality import Quality
from membrane.errors import OutputUnwritable
from membrane.login.decision import Candidate, Decision
from membrane.terminal.results import COLUMNS, append_decision
from membrane.voice.voice import VoiceMatch

QUALITY = Quality(speech_s=2.5, snr_db=30.0, level_dbfs=-24.0, clipped=0.0)
NEAR = VoiceMatch("cosine", 0.9123456, 0.9123456, 0.78, True, stretch=0.8, stretch_threshold=0.65)


def decision(command="verify", voice=NEAR, **changes):
    accepted = voice is not None and voice.accepted
    return Decision(command, accepted, "why", voice, QUALITY, **changes)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.csv"


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_columns_are_the_promised_ones(path):
    append_decision(path, decision())
    heading = path.read_text().splitlines()[0]
    promised = "time,command,claimed,best,metric,similarity,score,threshold,decision,file"
    assert heading == promised == ",".join(COLUMNS)


def test_a_line_says_what_was_decided(path):
    append_decision(path, decision(claimed="ada", source="a.wav"))
    (row,) = rows(path)
    assert datetime.now(UTC) - datetime.fromisoformat(row.pop("time")) < timedelta(minutes=1)
    assert row == {
        "command": "verify",
        "claimed": "ada",
        "best": "ada",
        "metric": "cosine",
        "similarity": "0.912346",
        "score": "",
        "threshold": "0.780000",
        "decision": "accepted",
        "file": "a.wav",
    }


def test_an_identification_names_the_best_and_claims_nobody(path):
    far = VoiceMatch("euclidean", 0.5, 1.0, 0.66, False, stretch=0.8, stretch_threshold=0.65)
    candidates = (Candidate("boris", 0.5), Candidate("ada", 0.4))
    append_decision(path, decision("identify", far, candidates=candidates))
    (row,) = rows(path)
    assert (row["claimed"], row["best"], row["decision"]) == ("", "boris", "rejected")
    assert (row["metric"], row["similarity"], row["threshold"]) == (
        "euclidean",
        "1.000000",
        "0.660000",
    )


def test_where_nobody_was_compared_the_numbers_stay_empty(path):
    append_decision(path, decision("identify", None))
    (row,) = rows(path)
    assert (row["metric"], row["similarity"], row["threshold"]) == ("", "", "")
    assert row["decision"] == "rejected"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_only_the_owner_may_read_a_new_file_whatever_the_umask(path):
    before = os.umask(0)
    try:
        append_decision(path, decision())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_lines_are_appended_under_one_heading(path):
    for name in ("ada", "boris", "clara"):
        append_decision(path, decision(claimed=name))
    assert [row["claimed"] for row in rows(path)] == ["ada", "boris", "clara"]
    assert path.read_text().count("time,") == 1


@pytest.mark.parametrize("name", ["=1+1", "+1+1", "@SUM(A1)", "-1+1", "=cmd|' /C calc'!A0"])
def test_a_name_that_is_a_formula_is_made_harmless(path, name):
    append_decision(path, decision(claimed=name, source=name))
    (row,) = rows(path)
    assert row["claimed"] == row["file"] == f"'{name}"


@pytest.mark.parametrize("name", ["Zoë", "Ada, Countess", 'the "best"', "o'hara", "-5"])
def test_any_other_name_comes_back_as_it_was(path, name):
    append_decision(path, decision(claimed=name))
    assert rows(path)[0]["claimed"] == name


def test_a_negative_similarity_stays_a_number(path):
    append_decision(
        path,
        decision(
            voice=VoiceMatch("cosine", -0.2, -0.2, 0.78, False, stretch=0.8, stretch_threshold=0.65)
        ),
    )
    assert float(rows(path)[0]["similarity"]) == -0.2


def test_a_file_whose_name_is_no_text_can_be_written_down(path):
    append_decision(path, decision(source="caf\udce9.wav"))
    assert rows(path)[0]["file"] == "caf\\udce9.wav"


def test_several_processes_mix_no_lines(path):
    append_decision(path, decision(claimed="first"))
    fork = multiprocessing.get_context("spawn")
    crowd = [fork.Process(target=append_many, args=(path, str(i))) for i in range(3)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join()
    written = rows(path)
    assert len(written) == 1 + 3 * 50
    assert all(row["decision"] == "accepted" for row in written)


def append_many(path, name):
    for _ in range(50):
        append_decision(path, decision(claimed=name * 500))


def test_what_cannot_be_written_is_said_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "missing" / "r.csv", tmp_path / "file" / "r.csv"):
        with pytest.raises(OutputUnwritable, match="results cannot be written") as refused:
            append_decision(path, decision())
        assert refused.value.exit_code == 7
        assert "\n" not in str(refused.value)
        assert "None" not in str(refused.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_noticed():
    with pytest.raises(OutputUnwritable, match="No space left"):
        append_decision(Path("/dev/full"), decision())


def test_a_file_name_that_a_terminal_would_obey_is_escaped(path):
    append_decision(path, decision(source="odd\x1b[2J\n\u202e.flac"))
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2
    assert rows(path)[0]["file"] == r"odd\u001b[2J\u000a\u202e.flac"

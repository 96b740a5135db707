import csv
import io
import json
import os
import shutil
import signal
import subprocess
import time
import tomllib

import pytest

from membrane.__main__ import run
from membrane.settings import Settings
from membrane.voice.judge import Judge
from tests import second_encoder
from tests.conftest import MEMBRANE
from tests.processes import assert_group_ends

QUICK = ("--backend", "sequential", "--resamples", "20", "-q")


@pytest.fixture
def ask(capsys):
    """Run a command in this process and return exit code, standard output and standard error."""

    def run_for(*arguments):
        code = run([str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    return run_for


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home that all tests here share, so that each recording is heard once."""
    return tmp_path_factory.mktemp("evaluations")


@pytest.fixture(autouse=True)
def _cached(home, monkeypatch):
    monkeypatch.setenv("MEMBRANE_HOME", str(home))


@pytest.fixture
def evaluated(ask, recordings):
    """Evaluate the synthetic voices and return the answer as plain values."""

    def run_for(*options):
        code, out, _ = ask("evaluate", recordings, *QUICK, "--json", *options)
        assert code == 0
        return json.loads(out)

    return run_for


def test_a_folder_of_speakers_gives_error_rates(evaluated):
    (outcome,) = evaluated()["outcomes"]
    assert outcome["counts"]["speakers"] == 5
    assert outcome["counts"]["genuine"] + outcome["counts"]["refused"] == 20
    assert outcome["measures"]["eer"]["value"] < 0.2
    assert outcome["measures"]["rank_1"]["value"] > 0.8


def test_the_second_run_hears_nothing_again(evaluated, monkeypatch):
    first = evaluated()
    monkeypatch.setattr(
        "membrane.login.examine.Examiner.examine", lambda *_, **__: pytest.fail("heard again")
    )
    assert evaluated()["outcomes"] == first["outcomes"]


def test_several_numbers_may_follow_one_option(evaluated):
    outcomes = evaluated("--noise", "pink", "--snr", "20", "0", "--seconds", "2")["outcomes"]
    conditions = [outcome["condition"] for outcome in outcomes]
    assert conditions == ["clean", "pink noise 20 dB", "pink noise 0 dB", "2 s"]


def test_what_the_gate_refuses_is_counted_or_scored(evaluated):
    loud = ("--noise", "pink", "--snr", "0")
    refused = evaluated(*loud)["outcomes"][1]
    scored = evaluated(*loud, "--no-gate")["outcomes"][1]
    assert refused["counts"]["refused"] == refused["counts"]["probes"]
    assert refused["measures"] == {}
    assert scored["counts"]["refused"] == 0
    assert scored["measures"]["eer"]["value"] > 0


def test_the_answer_says_what_it_rests_on(evaluated, recordings):
    provenance = evaluated()["provenance"]
    assert provenance["folders"] == [recordings.name]
    assert provenance["speakers"] == 5
    assert len(provenance["recordings_sha256"]) == 64
    assert provenance["versions"]["membrane"]


def test_a_stricter_level_refuses_more(evaluated):
    loose, strict = (
        evaluated("--security", level)["outcomes"][0]["measures"]["fnmr"]["value"]
        for level in ("convenient", "strict")
    )
    assert strict >= loose


def test_a_threshold_of_ones_own_scores_raw_cosines(evaluated):
    found = evaluated("--threshold", "0.7")
    assert (found["unit"], found["threshold"]) == ("similarity", 0.7)


def test_labels_are_reported_apart(evaluated, tmp_path):
    labels = tmp_path / "people.tsv"
    labels.write_text(
        "speaker\tgender\nada\tf\nclara\tf\nboris\tm\nedgar\tm\nfarid\tm\n", encoding="utf-8"
    )
    outcomes = evaluated("--labels", labels, "--by", "gender")["outcomes"]
    assert [outcome["group"] for outcome in outcomes] == [None, "gender=f", "gender=m"]


def test_every_pair_can_be_compared(evaluated):
    (outcome,) = evaluated("--pairs")["outcomes"]
    assert outcome["counts"]["genuine"] + outcome["counts"]["impostor"] <= 35 * 34 // 2
    assert outcome["counts"]["genuine"] > 50


def test_a_list_of_trials_can_be_given(ask, recordings, tmp_path):
    trials = tmp_path / "trials.txt"
    names = {name: sorted(path.name for path in (recordings / name).iterdir()) for name in
             ("ada", "boris")}  # fmt: skip
    trials.write_text(
        f"1 ada/{names['ada'][0]} ada/{names['ada'][3]}\n"
        f"1 boris/{names['boris'][0]} boris/{names['boris'][3]}\n"
        f"0 ada/{names['ada'][0]} boris/{names['boris'][3]}\n",
        encoding="utf-8",
    )
    code, out, _ = ask("evaluate", "--trials", trials, "--root", recordings, *QUICK, "--json")
    assert code == 0
    assert json.loads(out)["outcomes"][0]["counts"]["genuine"] == 2


def test_the_enrolled_can_be_compared_with_recordings(ask, recordings, three_enrolled, tmp_path):
    for name in ("ada", "boris", "farid"):
        (tmp_path / name).mkdir()
        for path in (recordings / name).glob("login*"):
            shutil.copy(path, tmp_path / name)
    code, out, _ = ask(
        "evaluate", tmp_path, "--enrolled", "--database", three_enrolled, *QUICK, "--json"
    )
    assert code == 0
    counts = json.loads(out)["outcomes"][0]["counts"]
    assert counts["enrolled"] == 3
    assert counts["genuine"] == 4


def test_a_spreadsheet_gets_a_line_for_each_measure(ask, recordings):
    code, out, _ = ask("evaluate", recordings, *QUICK, "--csv")
    assert code == 0
    lines = list(csv.DictReader(io.StringIO(out)))
    assert {"eer", "fnmr", "cllr", "speakers"} <= {line["measure"] for line in lines}
    assert all(line["condition"] == "clean" for line in lines)


def test_a_terminal_gets_tables_that_fit(terminal, recordings, home):
    with_home = {"MEMBRANE_HOME": str(home)}
    shown = terminal(
        *("evaluate", str(recordings), "--backend", "sequential", "--resamples", "20"),
        *("--noise", "pink", "--snr", "20"),
        columns=60,
        also=with_home,
    )
    assert shown.finish(60) == 0
    progress, _, tables = shown.text.partition("\n")
    assert "Listening" in progress
    assert "/s" in progress
    assert "equal error rate" in tables
    assert "pink noise 20 dB" in tables
    assert all(len(line) <= 60 for line in tables.splitlines())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups")
def test_who_is_told_to_end_leaves_no_worker(recordings, environment, tmp_path):
    command = [*MEMBRANE, "evaluate", str(recordings), "--noise", "pink", "-q"]
    with subprocess.Popen(
        command,
        env={**environment, "MEMBRANE_HOME": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        end = time.monotonic() + 60
        while not list(tmp_path.rglob("*.voice")) and time.monotonic() < end:
            time.sleep(0.05)
        program.terminate()
        _, errors = program.communicate(timeout=60)
    assert (program.returncode, errors) == (128 + signal.SIGTERM, "")
    assert_group_ends(program.pid)


def test_plots_and_a_page_are_written(ask, recordings, tmp_path):
    report = tmp_path / "report.html"
    code, _, _ = ask(
        "evaluate", recordings, *QUICK, "--plots", tmp_path / "plots", "--report", report
    )
    assert code == 0
    assert "<html" in report.read_text(encoding="utf-8")
    drawn = {path.suffix for path in (tmp_path / "plots").iterdir()}
    assert drawn == {".png", ".svg"}


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((), 2, "name a folder"),
        (("nowhere",), 2, "nowhere"),
        ((".", "--pairs", "--enrolled"), 2, "exclude each other"),
        ((".", "--snr", "10"), 2, "give --noise"),
        ((".", "--codec", "carrier-pigeon"), 2, "carrier-pigeon"),
        ((".", "--backend", "abacus"), 2, "abacus"),
        ((".", "--report", "nowhere/report.html"), 7, "there is no folder"),
        ((".", "--pairs", "--enroll", "2"), 2, "--enroll goes with neither"),
        ((".", "--by", "age"), 2, "give a file with --labels"),
        ((".", "--scheduler", "tcp://here:1"), 2, "goes with --backend dask"),
        ((".", "--digits", "6"), 2, "--digits goes with --phrases"),
        ((".", "--phrases", "--digits", "6", "--plots", "p"), 2, "--plots does not go with"),
        ((".", "--json", "--csv"), 2, "exclude each other"),
        (("--trials", "list", "--only", "some"), 2, "go with folders"),
    ],
)
def test_a_wrong_request_is_one_clear_line(ask, recordings, monkeypatch, options, code, said):
    monkeypatch.chdir(recordings)
    ended, _, told = ask("evaluate", *options)
    assert ended == code
    assert said in told
    assert len(told.strip().splitlines()) == 1


def test_one_speaker_is_not_enough(ask, recordings, tmp_path):
    shutil.copytree(recordings / "ada", tmp_path / "people" / "ada")
    code, _, told = ask("evaluate", tmp_path / "people", *QUICK)
    assert code == 2
    assert len(told.strip().splitlines()) == 1


def test_damaged_files_are_counted_and_named_and_stop_nothing(ask, recordings, tmp_path):
    people = tmp_path / "people"
    shutil.copytree(recordings, people)
    (people / "ada" / "zzz.wav").write_text("this is no sound")
    code, out, told = ask("evaluate", people, *QUICK, "--json")
    assert code == 0
    assert json.loads(out)["outcomes"][0]["counts"]["unreadable"] == 1
    assert "zzz.wav" in told


def test_the_first_damaged_file_can_stop_it(ask, recordings, tmp_path):
    people = tmp_path / "people"
    shutil.copytree(recordings, people)
    (people / "ada" / "zzz.wav").write_text("this is no sound")
    code, _, told = ask("evaluate", people, *QUICK, "--fail-fast")
    assert code == 3
    assert "zzz.wav" in told


def test_the_same_recording_of_two_people_is_reported(ask, recordings, tmp_path):
    people = tmp_path / "people"
    shutil.copytree(recordings, people)
    taken = sorted((people / "ada").iterdir())[3]
    shutil.copy(taken, people / "boris" / "mine.flac")
    code, _, told = ask("evaluate", people, *QUICK, "--json")
    assert code == 0
    assert "mine.flac" in told
    assert taken.name in told


# ---- Calibration


@pytest.fixture
def calibrated(ask, recordings):
    """Calibrate with the synthetic voices, which only a rate of 50 % suits."""

    def run_for(*options):
        return ask("calibrate", recordings, *QUICK, "--fmr", "0.3", *options)

    return run_for


def test_a_calibration_is_written_and_used(calibrated, evaluated, home):
    before = evaluated()["threshold"]
    code, out, _ = calibrated("--json")
    try:
        assert code == 0
        found = json.loads(out)["thresholds"]["balanced"]
        assert found["fmr"] == 0.3
        assert evaluated()["threshold"] == pytest.approx(found["llr"])
        assert found["llr"] < before
    finally:
        (home / "calibration.toml").unlink()


def test_a_dry_run_changes_nothing(calibrated, home):
    code, out, _ = calibrated("--dry-run")
    assert code == 0
    assert "equal error rate" in out
    assert not (home / "calibration.toml").exists()


def test_a_rate_that_five_speakers_cannot_show_is_refused(ask, recordings, home):
    code, _, told = ask("calibrate", recordings, *QUICK)
    assert code == 2
    assert "10 pairs of speakers" in told
    assert "2,995 pairs" in told
    assert not (home / "calibration.toml").exists()


def test_who_is_held_back_is_listed_once(calibrated, tmp_path):
    listed = tmp_path / "some.txt"
    listed.write_text("ada\n")
    code, _, told = calibrated("--held-back", listed, "--without", listed)
    assert code == 2
    assert "--held-back goes with neither" in told


def test_strangers_of_ones_own_are_kept_beside_the_calibration(calibrated, recordings, tmp_path):
    output = tmp_path / "mine.toml"
    code, _, _ = calibrated("--cohort", recordings, "--normalise", "centre", "--output", output)
    assert code == 0
    assert "cohort_sha256" in output.read_text(encoding="utf-8")
    assert (tmp_path / f"{Settings.encoder}.cohort.npz").exists()


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_heard(
    calibrated, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        "membrane.evaluation.runs.Evaluations.listen", lambda *_: pytest.fail("heard")
    )
    code, out, told = calibrated("--output", tmp_path)
    assert (code, out) == (7, "")
    assert len(told.strip().splitlines()) == 1


@pytest.fixture
def turned(monkeypatch, tmp_path):
    """Ship a second encoder, called turned; return the option and the shipped files."""
    with second_encoder.beside(monkeypatch, tmp_path) as weights:
        yield ("--encoder", second_encoder.NAME), weights


def test_error_rates_are_those_of_the_encoder_that_was_chosen(evaluated, turned):
    option, _ = turned
    one, other = evaluated("--encoder", "resemblyzer"), evaluated(*option)
    assert other["provenance"]["encoder"] == "turned"
    assert one["provenance"]["encoder"] == "resemblyzer"
    first, second = (found["outcomes"][0]["measures"] for found in (one, other))
    assert second["eer"]["value"] == pytest.approx(first["eer"]["value"])
    assert second["cllr"]["value"] != pytest.approx(first["cllr"]["value"], rel=0.01)


def test_each_encoder_has_a_calibration_of_its_own_in_one_file(calibrated, turned, home):
    option, _ = turned
    file = home / "calibration.toml"
    try:
        assert calibrated("--encoder", "resemblyzer")[0] == 0
        assert calibrated(*option)[0] == 0
        text = file.read_text(encoding="utf-8")
        for encoder in ("resemblyzer", "turned"):
            assert text.count(f"[{encoder}.centre.thresholds.balanced]") == 1
    finally:
        file.unlink()
        file.with_name("calibration.toml.previous").unlink(missing_ok=True)


def test_an_encoder_that_nothing_is_shipped_for_yet_can_be_calibrated(
    calibrated, turned, recordings, tmp_path
):
    option, weights = turned
    for file in weights.glob("turned.c*"):
        file.unlink()
    output = weights / "turned.calibration.toml"
    strangers = ("--cohort", recordings, "--output", output)
    for normalisation, compared in (("none", "bare similarity"), ("centre", "")):
        second_encoder.forget()
        chosen = ("--normalise", normalisation)
        code, _, told = calibrated(*option, *strangers, *chosen)
        assert code == 0, told
        assert compared in told
    assert set(tomllib.loads(output.read_text(encoding="utf-8"))["turned"]) == {"none", "centre"}
    second_encoder.forget()
    assert Judge("turned").calibration.normalisation == "centre"
    assert len(Judge("turned").strangers.vectors) == 5


@pytest.mark.parametrize("own", ["damaged", f"[{Settings.encoder}.centre]", "lacking"])
def test_a_calibration_that_is_no_use_can_be_made_again(calibrated, home, own):
    file = home / "calibration.toml"
    try:
        if own == "lacking":
            assert calibrated("--security", "convenient")[0] == 0
        else:
            file.write_text(own)
        code, _, told = calibrated()
        assert code == 0
        assert f"[{Settings.encoder}.centre.thresholds.balanced]" in file.read_text()
        assert "Traceback" not in told
    finally:
        file.unlink()
        file.with_name("calibration.toml.previous").unlink(missing_ok=True)

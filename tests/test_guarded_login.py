"""Logins through the command: what whoever tries them is told, and what is kept of it."""

import csv
import json
import re

import numpy as np
import pytest
import soundfile
import soxr

from membrane.__main__ import run
from membrane.audio.utterance import SAMPLE_RATE
from membrane.login.membrane import Membrane
from membrane.settings import Settings
from membrane.store import sqlite_file

PASSPHRASE = "the river runs quietly past the old mill"
HEARD_BEFORE = "This recording was heard before: speak, do not play one."
NUMBERS = ("similarity", "distance", "likel", "alike", "threshold", "needed", "0.")


@pytest.fixture
def verify(capsys):
    """Run a login; return exit code, answer and notes: ``verify("ada", file, "--json")``."""

    def log_in(name, file, *options):
        code = run(["verify", "-u", name, "-f", str(file), *map(str, options)])
        return code, *capsys.readouterr()

    return log_in


@pytest.fixture
def attempts(enrolled):
    """The failures and recordings of the test's database."""
    return Membrane(Settings()).guard.attempts


def failures(attempts, name):
    return len(attempts.state_of(name)["failures"])


# ---- A name that nobody has


def without_time(text):
    return re.sub(r"time: \d+\.\d\d s", "time", text)


@pytest.mark.parametrize("options", [(), ("--expect", "8 6 0 3 1 5")], ids=["voice", "words"])
def test_an_unknown_name_is_refused_in_the_words_of_a_wrong_voice(
    enrolled, verify, recording, options
):
    login = recording("boris", "login")
    known, unknown = (verify(name, login, *options) for name in ("ada", "zoe"))
    assert known[0] == unknown[0] == 1
    assert without_time(unknown[1].replace("zoe", "ada")) == without_time(known[1])
    assert known[2] == unknown[2] == ""


def test_json_about_an_unknown_name_says_the_same_as_about_a_wrong_voice(
    enrolled, verify, recording
):
    told = []
    for name in ("ada", "zoe"):
        code, out, error = verify(name, recording("boris", "login"), "--json")
        assert (code, error) == (1, "")
        plain = json.loads(out)
        assert set(plain["timings"]) == {"sound", "words", "voice"}
        del plain["timings"]
        assert plain["claimed"] == name
        told.append(json.dumps(plain).replace(f'"{name}"', '"N"').replace(f"{name}'s", "N's"))
    assert told[0] == told[1]


def test_as_much_is_read_and_written_for_an_unknown_name(enrolled, verify, recording, monkeypatch):
    statements = []
    configure = sqlite_file._configure
    monkeypatch.setattr(
        sqlite_file,
        "_configure",
        lambda connection: (
            configure(connection),
            connection.set_trace_callback(statements.append),
        ),
    )
    told = []
    for name in ("ada", "zoe", "ada", "zoe"):
        verify(name, recording("boris", "login"))
        told.append([one.partition(" ")[0] for one in statements])
        statements.clear()
    assert told[2] == told[3]
    assert "COMMIT" in told[2]


def test_after_five_failures_both_are_told_to_wait_in_the_same_words(
    enrolled, verify, recording, attempts
):
    told = []
    for name in ("ada", "zoe"):
        for _ in range(4):
            attempts.begin(name)
        assert verify(name, recording("boris", "login"))[0] == 1
        code, out, error = verify(name, recording("ada", "login"))
        assert (code, out) == (1, "")
        told.append(re.sub(r"\d+ s", "30 s", error.replace(name, "N")))
    assert told[0] == told[1] == "Error: too many failed logins as N: try again in 30 s\n"
    (code, _, error) = verify("ADA", recording("ada", "login"))
    assert code == 1
    assert "too many failed logins as ADA" in error
    assert verify("clara", recording("clara", "login"))[0] == 0


def test_what_cannot_be_judged_costs_nobody_a_try(enrolled, verify, attempts, tmp_path):
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.random.default_rng(0).normal(0, 1e-3, 48_000), SAMPLE_RATE)
    assert verify("ada", silence)[0] == 3
    assert verify("ada", tmp_path / "missing.wav")[0] == 2
    assert failures(attempts, "ada") == 0


def test_failures_are_counted_until_somebody_is_let_in(
    enrolled, verify, recording, words_of, attempts
):
    login = recording("ada", "login")
    assert verify("ada", login, "--expect", "1 1 1 1 1 1")[0] == 1
    assert failures(attempts, "ada") == 1
    assert verify("ada", login, "--expect", words_of(login))[0] == 0
    assert failures(attempts, "ada") == 0


# ---- Numbers that whoever logs in could learn from


def test_no_number_of_the_voice_is_told_by_default(enrolled, verify, recording):
    for person in ("ada", "boris"):
        out = verify("ada", recording(person, "login"))[1]
        about_the_voice = re.sub(r"(time|sound): .*", "", out)
        assert not any(number in about_the_voice for number in NUMBERS), out


def test_no_number_stands_in_the_json_by_default(enrolled, verify, recording, words_of):
    login = recording("boris", "login", 1)
    plain = json.loads(verify("ada", login, "--json", "--expect", words_of(login))[1])
    assert plain["voice"] == {"accepted": False}
    hidden = {"llr", "encoder", "candidates", "similarity", "threshold", "stretch", "score"}
    assert not hidden & {*plain, *plain["voice"], *plain["words"]}
    assert plain["words"]["accepted"]
    assert plain["explanation"] is None


@pytest.mark.parametrize("how", ["option", "environment", "file", "explain"])
def test_numbers_are_told_where_the_owner_wants_it(enrolled, verify, recording, monkeypatch, how):
    options = {"option": ["--show-scores"], "explain": ["--explain"]}.get(how, [])
    if how == "environment":
        monkeypatch.setenv("MEMBRANE_SCORES", "show")
    if how == "file":
        (enrolled / "settings.toml").write_text('scores = "show"')
    login = recording("boris", "login")
    plain = json.loads(verify("ada", login, "--json", *options)[1])
    assert plain["voice"]["similarity"] < 0.8
    assert plain["llr"] < plain["voice"]["score_threshold"]
    assert plain["encoder"] == Settings.encoder
    assert "similarity 0." in verify("ada", login, *options)[1]


def test_what_the_owner_asks_is_answered_in_full(enrolled, recording, plain):
    login = recording("ada", "login")
    for command in (
        ("identify", "-f", login),
        ("compare", login, recording("ada", "login", 1)),
        ("explain", "ada", login),
    ):
        decision = plain(*command)[1]
        assert decision["voice"]["similarity"] > 0.8
        assert decision["llr"] is not None
        assert decision["encoder"] == Settings.encoder
        assert "candidates" in decision


def test_the_results_keep_every_number(enrolled, verify, recording, tmp_path):
    results = tmp_path / "results.csv"
    assert verify("ada", recording("boris", "login"), "--results", results)[0] == 1
    with results.open() as file:
        (row,) = csv.DictReader(file)
    assert 0 < float(row["similarity"]) < 0.8
    assert float(row["score"]) < 5


# ---- A recording that was heard before


@pytest.fixture
def copies(recording, tmp_path):
    """Return ada's login again: quieter, later, and at another rate."""
    samples, rate = soundfile.read(recording("ada", "login"), dtype="float32")
    made = {
        "quieter": (samples * 0.5, rate),
        "later": (np.concatenate([np.zeros(rate * 37 // 100, np.float32), samples]), rate),
        "resampled": (soxr.resample(samples, rate, 44_100), 44_100),
    }
    for name, (copy, its_rate) in made.items():
        soundfile.write(tmp_path / f"{name}.wav", copy, its_rate)
    return [tmp_path / f"{name}.wav" for name in made]


def test_a_login_that_is_played_again_is_refused_however_it_was_changed(
    enrolled, verify, recording, copies, attempts
):
    login = recording("ada", "login")
    assert verify("ada", login)[0] == 0
    for number, played in enumerate([login, *copies], start=1):
        code, out, error = verify("ada", played)
        assert (code, error) == (1, ""), played
        assert out.startswith(f"Refused. {HEARD_BEFORE}"), played
        assert failures(attempts, "ada") == number
    assert verify("ada", recording("ada", "login", 1))[0] == 0


def test_a_replay_is_told_in_the_json_and_in_the_log(enrolled, verify, recording, plain):
    login = recording("ada", "login")
    verify("ada", login)
    played = json.loads(verify("ada", login, "--json")[1])
    assert (played["accepted"], played["replayed"], played["person"]) == (False, True, "")
    assert [one["refused_by"] for one in plain("log", "show")[1]] == [[], ["replay"]]


def test_a_recording_of_the_enrolment_is_refused(enrolled, verify, recording):
    code, out, _ = verify("ada", recording("ada", "enrol", 1))
    assert code == 1
    assert HEARD_BEFORE in out
    assert "The voice is ada's." in out


@pytest.mark.parametrize("how", ["environment", "file"])
def test_replays_are_let_in_where_the_owner_wants_it(enrolled, verify, recording, monkeypatch, how):
    if how == "environment":
        monkeypatch.setenv("MEMBRANE_REPLAY", "allow")
    else:
        (enrolled / "settings.toml").write_text('replay = "allow"')
    login = recording("ada", "login")
    assert [verify("ada", login)[0] for _ in range(2)] == [0, 0]


# ---- What is kept


@pytest.fixture
def edgar(membrane_home, recording):
    """Enrol edgar with a passphrase of his own."""
    said = recording("edgar", "passphrase", 0)
    words = said.stem.split("-", 1)[1].replace("-", " ")
    options = ["-u", "Edgar", "--consent", "--phrase", words]
    assert run(["enroll", *options, "-f", str(said)]) == 0
    return membrane_home, words


def test_the_log_holds_no_name_no_words_no_file_and_no_voice(edgar, recording, capsys):
    home, words = edgar
    said, login = recording("edgar", "passphrase", 1), recording("boris", "login")
    vector = Membrane(Settings()).store.get("edgar").vector
    codes = [
        run(["verify", "-u", "edgar", "-f", str(said)]),
        run(["verify", "-u", "Zacharias", "-f", str(login)]),
        run(["verify", "--anyone", "-f", str(login)]),
        run(["identify", "-f", str(recording("edgar", "login"))]),
        run(["unlock", "Zacharias"]),
        run(["delete", "edgar", "--yes"]),
    ]
    assert codes == [0, 1, 1, 0, 0, 0]
    kept = (home / "voiceprints.joblib.log").read_bytes().lower()
    secrets = ["edgar", "zacharias", *words.split(), said.name, login.name, "boris", ".flac"]
    for secret in secrets:
        assert not re.search(rf"(?<![a-z]){re.escape(secret)}(?![a-z])".encode(), kept), secret
    numbers = [f"{value:.4f}".encode() for value in vector.tolist()]
    assert not any(number in kept for number in numbers)
    events = [json.loads(line)["event"] for line in kept.splitlines()]
    assert events == [
        *("enrolled", "verify", "verify", "verify", "identify", "unlocked", "deleted"),
    ]
    assert run(["log", "verify"]) == 0


def test_nothing_is_kept_beside_the_database_where_everything_is_off(
    enrolled, evaluating, verify, recording
):
    for person in ("ada", "boris"):
        verify("ada", recording(person, "login"))
    run(["identify", "-f", str(recording("clara", "login"))])
    assert sorted(path.name for path in enrolled.iterdir()) == ["voiceprints.joblib"]


def test_whom_a_stranger_is_most_like_is_not_written_down_as_the_stranger(
    enrolled, recording, answer
):
    for person in ("farid", "clara"):
        answer("identify", "-f", recording(person, "login"))
    membrane = Membrane(Settings())
    people = {membrane.store.get(name).id: name for name in ("ada", "boris", "clara")}
    told = [(one["accepted"], people.get(one["who"])) for one in membrane.guard.log.entries()]
    assert told == [(False, None), (True, "clara")]

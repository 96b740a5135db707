import csv
import importlib.util
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from membrane.__main__ import run
from tests.conftest import MEMBRANE, RECORDINGS

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="training needs torch"
)
pytestmark = needs_torch

RECIPE = """
steps = 10
blends = 1
whitening_batches = 2
learning_rate = 1e-5
speakers = 2
frames = 160
front_steps = 0
validate_every = 5
validation_share = 0.4
precision = "float32"

[augmentation]
codec_share = 0.0
"""

PATIENCE_S = 300


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home of this module's trainings, in which the speech is decoded once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def train(home, recipe, monkeypatch, capsys):
    """Train in this process; return exit code, standard output and standard error."""
    monkeypatch.setenv("MEMBRANE_HOME", str(home))

    def run_for(output, *options, speech=RECORDINGS):
        options = ["--recipe", recipe, *options, "--output", output]
        code = run([str(part) for part in ("train", speech, *options)])
        return (code, *capsys.readouterr())

    return run_for


@pytest.fixture
def start(environment, home, recipe):
    """Start a training as a process of its own, in a group that Ctrl-C reaches."""
    started = []

    def start_for(output, *options, launcher=MEMBRANE):
        parts = (*launcher, "train", RECORDINGS, "--recipe", recipe, "--output", output, *options)
        process = subprocess.Popen(
            [str(part) for part in parts],
            env={**environment, "MEMBRANE_HOME": str(home)},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start_for
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def whole(home, recipe, tmp_path_factory):
    """The folder of a training that nothing disturbed, and the network that it exported."""
    output = tmp_path_factory.mktemp("whole")
    before = dict(os.environ)
    os.environ["MEMBRANE_HOME"] = str(home)
    try:
        options = ["--recipe", recipe, "--output", output / "run", "--quiet"]
        assert run([str(part) for part in ("train", RECORDINGS, *options)]) == 0
    finally:
        os.environ.clear()
        os.environ.update(before)
    return output / "run"


def curve(run_folder, name="log.csv"):
    """Return a table without the seconds, which no two trainings share."""
    with (run_folder / name).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(v) for n, v in row.items() if n != "seconds"] for row in rows])


def assert_same_training(one, other):
    assert np.array_equal(curve(one), curve(other))
    assert np.array_equal(curve(one, "validation.csv"), curve(other, "validation.csv"))


def wait_for_checkpoint(process, output):
    end = time.monotonic() + PATIENCE_S
    while not (output / "last.pt").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.01)


# ---- What a training leaves


def test_a_training_is_finished_when_it_ends(whole):
    from membrane.training import run_folder  # it needs torch

    assert run_folder.load_checkpoint(whole / "best.pt")["teacher_share"] in {0.0, 0.5}


def test_a_training_leaves_its_recipe_its_tables_and_two_checkpoints(whole):
    assert {path.name for path in whole.iterdir()} == {
        "recipe.toml",
        "log.csv",
        "validation.csv",
        "last.pt",
        "best.pt",
    }
    assert curve(whole)[:, 0].tolist() == [10]
    assert curve(whole, "validation.csv")[:, 0].tolist() == [0, 5, 10]


def test_the_recipe_that_is_kept_trains_the_same_again(whole, train, tmp_path, monkeypatch):
    code, _, said = train(tmp_path / "again", "--recipe", whole / "recipe.toml", "-q")
    assert (code, said) == (0, "")
    assert_same_training(whole, tmp_path / "again")


def test_the_end_is_a_table_against_the_teacher_and_a_network_that_hears(
    whole, train, tmp_path, utterance_of
):
    from membrane.voice.encoders.membrane import RobustEncoder

    model = tmp_path / "own.onnx"
    code, answer, said = train(whole, "--resume", "--export", model, "--weights", "float16")
    assert code == 0
    assert "Written:" in said
    clean = answer.splitlines()[0].split("\t")
    assert clean[:2] == ["recordings", "clean"]
    assert len(clean) == 4
    vector = RobustEncoder(model).embed(utterance_of("ada", "login").samples).vector
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_another_seed_is_another_training(whole, train, tmp_path):
    assert train(tmp_path / "run", "--seed", 1, "-q")[0] == 0
    assert "seed = 1" in (tmp_path / "run" / "recipe.toml").read_text()
    assert curve(tmp_path / "run")[0, 1] != curve(whole)[0, 1]


def test_a_training_begins_with_the_network_of_a_checkpoint(whole, train, tmp_path):
    options = ("--steps", 1, "--initial", whole / "best.pt", "-q")
    assert train(tmp_path / "run", *options)[0] == 0


# ---- Going on


def test_a_training_that_was_killed_goes_on_as_if_nothing_had_happened(
    whole, start, train, tmp_path
):
    output = tmp_path / "run"
    process = start(output)
    wait_for_checkpoint(process, output)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert curve(output, "validation.csv")[-1, 0] == 5
    assert train(output, "--resume", "-q")[0] == 0
    assert_same_training(whole, output)


def test_ctrl_c_keeps_the_training_and_says_how_to_go_on(whole, start, train, tmp_path):
    output = tmp_path / "run"
    process = start(output, "-q")
    wait_for_checkpoint(process, output)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    (line,) = said.splitlines()
    assert "--resume" in line
    assert train(output, "--resume", "-q")[0] == 0
    assert_same_training(whole, output)


def test_two_processes_learn_the_same_as_one(whole, start, tmp_path):
    output = tmp_path / "run"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    process = start(output, "-q", launcher=[*launcher, "-m", "membrane"])
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    assert np.allclose(curve(output), curve(whole), rtol=1e-3)


def test_processes_that_cannot_share_a_batch_say_so(start, tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "3"]
    process = start(tmp_path / "run", launcher=[*launcher, "-m", "membrane"])
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0
    assert said.count("cannot be shared equally by 3 processes") == 1


# ---- What is refused


def refused(answer, code, *words):
    """Fail unless a command ended with a code and one line that has the words."""
    assert answer[0] == code
    line = answer[2].splitlines()[-1]
    assert all(word in line for word in words), line
    assert "Traceback" not in answer[2]


def test_another_recipe_does_not_go_on_with_a_checkpoint(whole, train):
    refused(train(whole, "--resume", "--steps", 30), 2, "another recipe", "recipe.toml")


def test_other_speech_does_not_go_on_with_a_checkpoint(whole, train, tmp_path):
    for name in ("ada", "boris", "clara", "edgar"):
        (tmp_path / "speech" / "recordings" / name).mkdir(parents=True)
        for file in sorted((RECORDINGS / name).glob("*.flac"))[:2]:
            (tmp_path / "speech" / "recordings" / name / file.name).hardlink_to(file)
    answer = train(whole, "--resume", speech=tmp_path / "speech" / "recordings")
    refused(answer, 2, "other speakers")


def test_a_damaged_checkpoint_is_refused(whole, train, tmp_path):
    output = tmp_path / "run"
    output.mkdir()
    data = bytearray((whole / "last.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (output / "last.pt").write_bytes(data)
    refused(train(output, "--resume"), 2, "last.pt is damaged")


def test_there_must_be_something_to_go_on_with(train, tmp_path):
    refused(train(tmp_path / "run", "--resume"), 2, "last.pt cannot be read", "without --resume")


def test_a_folder_that_holds_a_training_is_not_overwritten(whole, train):
    before = (whole / "last.pt").read_bytes()
    refused(train(whole), 2, "holds a training already", "--resume")
    assert (whole / "last.pt").read_bytes() == before


def test_a_network_of_another_kind_is_refused(whole, train, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(RECIPE + "[network]\nfront = false\nside = false\n")
    answer = train(tmp_path / "run", "--recipe", other, "--initial", whole / "best.pt")
    refused(answer, 2, "another kind of network")


def test_a_full_disk_ends_in_one_line(train, tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    refused(train(tmp_path / "run", "--steps", 2), 7, "No space left on device")


def test_an_output_below_a_file_is_refused(train, tmp_path):
    (tmp_path / "file").touch()
    refused(train(tmp_path / "file" / "run"), 7, "cannot be written")


def test_without_torch_it_says_what_to_install(train, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    answer = train(tmp_path / "run")
    refused(answer, 6, "training needs torch: pip install 'membrane-voice-login[train]'")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--output", "run"], "give folders"),
        ([RECORDINGS], "--output"),
        ([RECORDINGS, "--output", "run", "--resume", "--initial", "x.pt"], "exclude each other"),
    ],
)
def test_what_is_missing_or_contradicts_is_said(options, words, capsys):
    assert run(["train", *map(str, options)]) == 2
    assert words in capsys.readouterr().err


# ---- What is shown


def test_a_terminal_of_sixty_columns_gets_a_bar(terminal, home, recipe, tmp_path):
    options = ("--recipe", str(recipe), "--output", str(tmp_path / "run"))
    also = {"MEMBRANE_HOME": str(home), "NO_COLOR": "1"}.items()
    screen = terminal("train", str(RECORDINGS), *options, columns=60, also=also)
    screen.wait_for(r"Training .* \d+/10 loss \d\.\d+ EER \d+\.\d %", PATIENCE_S)
    screen.wait_for("teacher's", PATIENCE_S)
    assert "\x1b[3" not in screen.raw.decode(errors="replace")


def test_help_and_registration_import_no_torch_and_no_numpy(environment):
    code = "import sys, membrane.training.commands; print({'torch', 'numpy'} & set(sys.modules))"
    heavy = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert heavy.stdout == "set()\n"

import csv
import io
import sys
from types import ModuleType

import pytest
from rich.console import Console

from membrane.errors import EngineUnavailable, OutputUnwritable
from membrane.terminal.console import View

pytest.importorskip("torch")

from membrane.training.progress import (
    LINE_EVERY,
    Table,
    TensorBoard,
    following,
)


@pytest.fixture
def told():
    """Run a training of 200 steps and return what a person sees of it."""

    def run(*, quiet=False, first=0, **console):
        screen = io.StringIO()
        view = View(notes=Console(file=screen, **console), quiet=quiet)
        with following(view, first=first, last=200) as progress:
            for step in range(first + 1, 201):
                progress.step(step, loss=1 / step)
                if step == 150:
                    progress.validated(12.34)
                    view.note("Validation")
        return screen.getvalue()

    return run


def test_a_pipe_gets_a_line_every_hundred_steps(told):
    lines = told().splitlines()
    assert len(lines) == 200 // LINE_EVERY + 1
    assert lines[0].startswith("Step 100 of 200: loss 0.0519, 0:00:0")
    assert lines[0].endswith(" left")
    assert ", EER 12.3 %, 0:00:00 left" in lines[2]


def test_what_was_done_before_counts_as_done(told):
    assert told(first=120).splitlines()[-1].startswith("Step 200 of 200: loss 0.0064, EER")


def test_a_terminal_gets_a_bar_with_loss_error_and_time_left(told):
    screen = told(force_terminal=True, width=60, color_system=None)
    last = screen.splitlines()[-2]
    assert "200/200" in last
    assert "loss 0.005" in last
    assert "EER 12.3 %" in last
    assert "0:00:00" in last


def test_the_bar_fits_in_sixty_columns(told):
    import re

    screen = told(force_terminal=True, width=60, color_system=None)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    assert max(len(line) for line in re.split(r"[\r\n]", plain)) <= 60


def test_quiet_shows_nothing(told):
    assert told(quiet=True) == ""


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_a_row_has_a_value_for_each_column_or_nothing(tmp_path):
    table = Table(tmp_path / "log.csv", ["loss", "librispeech: noise, 10 dB"])
    table.add(10, {"loss": 0.1234567, "unknown": 1.0})
    table.add(20, {"librispeech: noise, 10 dB": 12.5})
    assert rows_of(table.path) == [
        ["step", "loss", "librispeech: noise, 10 dB"],
        ["10", "0.123457", ""],
        ["20", "", "12.5"],
    ]


def test_going_on_drops_the_rows_of_steps_that_are_done_again(tmp_path):
    path = tmp_path / "log.csv"
    before = Table(path, ["loss"])
    for step in (10, 20, 30):
        before.add(step, {"loss": step / 10})
    with path.open("a") as file:
        file.write("1")  # the process was killed within a row
    Table(path, ["loss"], after=20).add(30, {"loss": 9.0})
    assert rows_of(path) == [["step", "loss"], ["10", "1"], ["20", "2"], ["30", "9"]]


def test_a_new_training_begins_a_new_table(tmp_path):
    path = tmp_path / "log.csv"
    Table(path, ["loss"]).add(10, {"loss": 1.0})
    Table(path, ["loss"])
    assert rows_of(path) == [["step", "loss"]]


def test_a_folder_that_is_gone_is_an_output_that_cannot_be_written(tmp_path):
    (tmp_path / "run").mkdir()
    table = Table(tmp_path / "run" / "log.csv", ["loss"])
    table.path.unlink()
    table.path.parent.rmdir()
    with pytest.raises(OutputUnwritable, match=r"log\.csv cannot be written"):
        table.add(10, {"loss": 1.0})


def test_tensorboard_gets_a_point_for_each_figure(tmp_path, monkeypatch):
    drawn = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            drawn.append((folder, purge_step))

        def add_scalar(self, *point):
            drawn.append(point)

        def close(self):
            drawn.append("closed")

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    charts = TensorBoard(tmp_path, after=20)
    charts.add(30, {"loss": 0.5, "rate": 0.1})
    charts.close()
    assert drawn == [(str(tmp_path), 21), ("loss", 0.5, 30), ("rate", 0.1, 30), "closed"]


def test_tensorboard_that_is_not_installed_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(EngineUnavailable, match="pip install tensorboard"):
        TensorBoard(tmp_path)

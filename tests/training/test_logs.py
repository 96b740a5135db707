import csv
import sys
from types import ModuleType

import pytest

from membrane.errors import EngineUnavailable, OutputUnwritable

pytest.importorskip("torch")

from membrane.training.logs import Table, TensorBoard


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
